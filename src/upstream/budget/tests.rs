//! Who goes first and how often, by a paused clock.

mod parts;
mod refusals;

use std::sync::Arc;

use futures_util::future::{join, join_all};

use super::*;
use crate::config::Rate;

fn per_second(requests: u32) -> Budget {
    Budget::new(&[per(requests, 1)])
}

fn per(requests: u32, seconds: u64) -> Limit {
    let per = Duration::from_secs(seconds);
    Rate { requests, per }.into()
}

fn read(priority: Priority) -> Ask {
    let what = Use::Read;
    Ask { priority, what }
}

fn write(priority: Priority) -> Ask {
    let what = Use::Write;
    Ask { priority, what }
}

fn within(seconds: u64) -> Instant {
    clock::now() + Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn an_app_gets_leave_before_a_backfill_that_came_earlier() {
    // Whose lane was empty was not passed over, however many went.
    let budget = per_second(40);
    taken(&budget, read(Priority::App), 0).await;
    let order = Mutex::new(Vec::new());
    let one = |priority| {
        let (budget, order) = (&budget, &order);
        async move {
            budget.leave(read(priority), within(60)).await.unwrap();
            order.lock().unwrap().push(priority);
        }
    };
    use Priority::*;
    join_all([one(Backfill), one(Refetch), one(App), one(App)]).await;
    assert_eq!(*order.lock().unwrap(), [App, App, Refetch, Backfill]);
}

#[tokio::test(start_paused = true)]
async fn a_backfill_is_not_starved_by_busy_apps() {
    let budget = Arc::new(per_second(100));
    let apps = (0..400).map(|_| budget.leave(read(Priority::App), within(60)));
    let backfill = async {
        let began = clock::now();
        budget.leave(read(Priority::Backfill), within(60)).await.unwrap();
        clock::now() - began
    };
    let (_, waited) = tokio::join!(join_all(apps), backfill);
    assert!(waited < Duration::from_secs(1), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_backfill_that_is_to_wait_for_long_holds_up_no_app() {
    let budget = per_second(10);
    budget.refused(Some(Duration::from_secs(20)), Yields::Own, 0.0);
    let backfill = async { budget.leave(read(Priority::Backfill), within(60)).await.is_ok() };
    let (waited, apps) = tokio::join!(backfill, taken(&budget, read(Priority::App), 8));
    assert!(waited && apps >= 60, "{apps}");
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_as_a_place_is_free_does_not_go_before_those_who_waited() {
    let budget = Budget::new(&[per(1, 10)]);
    taken(&budget, read(Priority::App), 0).await;
    let first = budget.leave(read(Priority::App), within(1)).await.unwrap_err();
    let free = clock::now() + first;
    let order = Mutex::new(Vec::new());
    let late = async {
        tokio::time::sleep_until(free).await;
        let _leave = budget.leave(read(Priority::App), within(60)).await.unwrap();
        order.lock().unwrap().push("late");
    };
    let waits = async {
        let _leave = budget.leave(read(Priority::App), within(60)).await.unwrap();
        order.lock().unwrap().push("waited");
    };
    join(late, waits).await;
    assert_eq!(*order.lock().unwrap(), ["waited", "late"]);
}

#[tokio::test(start_paused = true)]
async fn a_walk_whose_request_is_held_up_on_its_way_keeps_to_the_limit() {
    let budget = per_second(5);
    let mut arrived = Vec::new();
    for n in 0..30 {
        let leave = budget.leave(read(Priority::Backfill), within(60)).await.unwrap();
        if n % 7 == 0 {
            tokio::time::sleep(Duration::from_millis(120)).await;
        }
        arrived.push(clock::now());
        drop(leave);
    }
    for six in arrived.windows(6) {
        assert!(six[5] - six[0] >= Duration::from_secs(1), "{six:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_app_that_cannot_go_in_time_is_told_how_long_to_wait() {
    let budget = Budget::new(&[per(1, 30)]);
    budget.leave(read(Priority::App), within(8)).await.unwrap();
    let refused = budget.leave(read(Priority::App), within(8)).await.unwrap_err();
    assert!(
        refused > Duration::from_secs(29) && refused < Duration::from_secs(32),
        "{refused:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_others_is_told_when_there_is_a_place_at_all() {
    let budget = Budget::new(&[per(1, 60)]);
    taken(&budget, read(Priority::App), 0).await;
    let before = budget.leave(read(Priority::App), within(120));
    let behind = budget.leave(read(Priority::Refetch), within(2));
    let (before, behind) = tokio::join!(before, behind);
    let told = behind.unwrap_err();
    assert!(before.is_ok() && told > Duration::from_secs(50), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn nearly_all_who_come_back_when_told_find_a_place() {
    let budget = Budget::new(&[per(20, 10)]);
    let one = || async {
        let mut refused = 0;
        // Told in whole seconds, rounded up.
        while let Err(first) = budget.leave(read(Priority::App), within(4)).await {
            refused += 1;
            let wait = budget.tell(read(Priority::App), first);
            tokio::time::sleep(Duration::from_secs(wait.as_secs() + 1)).await;
        }
        refused
    };
    let refused: Vec<u32> = join_all((0..60).map(|_| one())).await;
    // Places do not come evenly, and some of those who were told wait for the next in vain.
    let again = refused.iter().filter(|times| **times > 1).count();
    assert!(refused.contains(&1) && again <= 6, "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn every_limit_counts_and_none_is_charged_in_vain() {
    let budget = Budget::new(&[per(1, 1), per(3, 60)]);
    let began = clock::now();
    let mut times = Vec::new();
    while clock::now() - began < Duration::from_secs(130) {
        budget.leave(read(Priority::Backfill), within(600)).await.unwrap();
        times.push(clock::now() - began);
    }
    let in_first = |secs| times.iter().filter(|at| at.as_secs_f64() < secs).count();
    assert!(in_first(60.0) <= 3 && in_first(120.0) >= 4, "{times:?}");
}

/// Takes whatever is given for so many seconds and counts it.
async fn taken(budget: &Budget, ask: Ask, seconds: u64) -> usize {
    let (end, mut taken) = (within(seconds), 0);
    while budget.leave(ask, end).await.is_ok() {
        taken += 1;
    }
    taken
}

#[tokio::test(start_paused = true)]
async fn strangers_share_a_fifth_and_hold_up_nobody() {
    let budget = per_second(100);
    let (strangers, apps, backfill) = tokio::join!(
        taken(&budget, read(Priority::Stranger), 60),
        taken(&budget, read(Priority::App), 60),
        taken(&budget, read(Priority::Backfill), 60),
    );
    assert!((250..=1_220).contains(&strangers), "{strangers}");
    assert!(
        strangers + apps + backfill >= 5_500,
        "{strangers} + {apps} + {backfill}"
    );
    assert!(apps > 4_000, "{apps}");
    let alone = per_second(100);
    let strangers = taken(&alone, read(Priority::Stranger), 60).await;
    assert!((1_000..=1_220).contains(&strangers), "{strangers}");
}

#[tokio::test(start_paused = true)]
async fn reads_and_writes_that_are_counted_apart_do_not_wait_for_each_other() {
    let of = |of, limit: Limit| Limit {
        of: Some(of),
        ..limit
    };
    let budget = Budget::new(&[of(Use::Read, per(100, 1)), of(Use::Write, per(10, 1))]);
    let (reads, writes, walked) = tokio::join!(
        taken(&budget, read(Priority::App), 30),
        taken(&budget, write(Priority::App), 30),
        taken(&budget, read(Priority::Backfill), 30),
    );
    assert!((255..=310).contains(&writes), "{writes}");
    assert!((2_700..=3_030).contains(&(reads + walked)), "{reads} + {walked}");
    assert!(walked > 100, "{walked}");
    // A limit for writes alone leaves reads to the pace that adapts.
    let budget = Budget::new(&[of(Use::Write, per(1, 600))]);
    assert!(budget.pace().is_some());
    assert!(budget.leave(read(Priority::App), within(1)).await.is_ok());
    assert!(budget.leave(write(Priority::App), within(1)).await.is_ok());
    assert!(budget.leave(write(Priority::App), within(1)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_was_never_sent_counts_for_nothing() {
    let (requests, per) = (1, Duration::from_secs(60));
    let budget = Budget::new(&[Rate { requests, per }.into()]);
    budget
        .leave(read(Priority::App), within(0))
        .await
        .unwrap()
        .give_back();
    assert!(budget.leave(read(Priority::App), within(0)).await.is_ok());
    assert!(budget.leave(read(Priority::App), within(0)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_place_of_what_was_never_sent_is_given_to_who_waits() {
    let budget = Budget::new(&[per(1, 60)]);
    let began = clock::now();
    let unsent = budget.leave(read(Priority::App), within(0)).await.unwrap();
    let gives_back = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        unsent.give_back();
    };
    let (next, ()) = tokio::join!(budget.leave(read(Priority::App), within(120)), gives_back);
    assert!(next.is_ok());
    assert_eq!((clock::now() - began).as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_wanted_is_told_to_other_processes() {
    let budget = per_second(10);
    for _ in 0..2 {
        budget.leave(read(Priority::App), within(1)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let wants = budget.wants();
    // Two of ten, and as many again twice, by chance.
    assert!((0.4..0.5).contains(&wants.apps) && wants.own == 0.0, "{wants:?}");
    // Who has given up wants nothing any more.
    taken(&budget, read(Priority::Backfill), 0).await;
    assert_eq!(budget.wants().own, 1.0);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(budget.wants().own < 0.1);
}

#[tokio::test(start_paused = true)]
async fn a_walk_that_has_to_wait_for_its_own_pace_holds_up_no_app() {
    let budget = Budget::new(&[per(100, 100)]);
    taken(&budget, read(Priority::Backfill), 0).await;
    let began = clock::now();
    let apps = async {
        for _ in 0..40 {
            budget.leave(read(Priority::App), within(60)).await.unwrap();
        }
        clock::now() - began
    };
    let walk = async {
        budget.leave(read(Priority::Backfill), within(60)).await.unwrap();
        clock::now() - began
    };
    let (walk, apps) = tokio::join!(walk, apps);
    assert_eq!(apps, Duration::ZERO);
    assert!(walk > Duration::ZERO && walk < Duration::from_secs(2), "{walk:?}");
}

#[tokio::test(start_paused = true)]
async fn no_published_limit_is_too_small_to_be_kept() {
    for (requests, days) in [(1, 1), (10, 1), (500, 30), (1, 3_650), (u32::MAX, 1)] {
        let budget = Budget::new(&[per(requests, days * 24 * 3_600)]);
        budget.hold(0.0, clock::now());
        assert!(budget.leave(read(Priority::App), within(8)).await.is_err());
        budget.hold(1.0, clock::now());
        assert!(taken(&budget, read(Priority::Backfill), 1).await <= requests as usize);
    }
}
