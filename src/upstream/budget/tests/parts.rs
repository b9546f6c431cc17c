//! What several processes have of one limit, each a part that moves.

use super::*;
use crate::upstream::share::{fair, next};

#[tokio::test(start_paused = true)]
async fn a_part_that_comes_and_goes_gives_nothing_twice() {
    for ask in [read(Priority::App), read(Priority::Backfill)] {
        let budget = Budget::new(&[per(100, 10)]);
        let mut all = 0;
        for second in 0..40 {
            budget.hold(if second % 2 == 0 { 0.5 } else { 0.4 }, clock::now());
            let ends = within(1);
            all += taken(&budget, ask, 1).await;
            tokio::time::sleep_until(ends).await;
        }
        // Of 45 in ten seconds, and what may go at once: no more, and not much less.
        assert!((130..=4 * 45 + 50).contains(&all), "{ask:?}: {all}");
    }
}

/// Those that share a limit, and what they were given.
struct Shared {
    parts: Vec<Budget>,
    began: Instant,
    ends: Instant,
    went: Mutex<Vec<Duration>>,
}

impl Shared {
    fn of(limit: Limit, many: usize, seconds: u64) -> Shared {
        let began = clock::now();
        let parts: Vec<Budget> = (0..many).map(|_| Budget::new(&[limit])).collect();
        parts.iter().for_each(Budget::hold_nothing);
        Shared {
            parts,
            began,
            ends: began + Duration::from_secs(seconds),
            went: Mutex::default(),
        }
    }

    async fn takes(&self, at: usize, priority: Priority, deadline: Instant) -> bool {
        let takes = self.parts[at]
            .leave(read(priority), deadline.min(self.ends))
            .await
            .is_ok();
        if takes {
            self.went.lock().unwrap().push(clock::now() - self.began);
        }
        takes
    }

    fn of_others(&self, at: usize) -> f64 {
        let others = self.parts.iter().enumerate().filter(|(other, _)| *other != at);
        others.map(|(_, part)| part.share()).sum()
    }

    /// At the most in a period, and all together.
    fn used(self, period: u64) -> (usize, usize) {
        let mut went = self.went.into_inner().unwrap();
        went.sort();
        let period = Duration::from_secs(period);
        let in_a_period = |at: usize| went[at..].partition_point(|other| *other < went[at] + period);
        let most = (0..went.len()).map(in_a_period).max();
        (most.unwrap_or_default(), went.len())
    }
}

/// From 0 to 1.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / f64::from(1u32 << 31)
    }

    fn up_to(&mut self, seconds: f64) -> Duration {
        Duration::from_secs_f64(self.roll() * seconds)
    }
}

/// `others_stay` as far as is known: else what they had may be spent.
async fn two_take_all(requests: u32, every: u64, others_stay: bool) {
    const SECONDS: u64 = 200;
    let shared = Shared::of(per(requests, 10), 2, SECONDS);
    let takes = async |at: usize| while shared.takes(at, Priority::App, shared.ends).await {};
    let moves = async {
        let mut dice = Dice(1);
        while clock::now() < shared.ends {
            let wanted = 0.2 + 0.6 * dice.roll();
            for (at, wanted) in [(0, wanted), (1, 1.0 - wanted)] {
                let since = if others_stay { shared.began } else { clock::now() };
                shared.parts[at].hold(wanted.min(1.0 - shared.of_others(at)), since);
            }
            tokio::time::sleep(Duration::from_millis(every)).await;
        }
    };
    tokio::join!(takes(0), takes(1), moves);
    let (most, used) = shared.used(10);
    let all = SECONDS as usize / 10 * requests as usize;
    let least = if others_stay { all * 3 / 4 } else { all / 2 };
    assert!(most <= requests as usize, "{most} of {requests}");
    assert!(used >= least, "{used} of {all}, {others_stay}");
}

#[tokio::test(start_paused = true)]
async fn however_parts_move_the_limit_is_kept_and_most_of_it_used() {
    for (requests, every) in [(100, 1_000), (20, 700), (1_000, 1_300), (7, 3_000)] {
        two_take_all(requests, every, true).await;
        two_take_all(requests, every, false).await;
    }
}

/// Some take all they get for a while, some a little, as apps or as walks, and then nothing; parts come and go. A part
/// of less than a request is one all the same, so of more than two such none is given here.
#[tokio::test(start_paused = true)]
async fn whoever_asks_while_parts_move_no_period_sees_more_than_the_limit() {
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let requests = [3, 5, 7, 8, 12, 16, 20, 33, 40, 60, 100, 300][(dice.roll() * 12.0) as usize];
        let many = 2 + (dice.roll() * f64::from(requests.min(9) - 2)) as usize;
        let shared = Shared::of(per(requests, 10), many, 60);
        let takes = async |at: usize| {
            let mut dice = Dice(seed * 31 + at as u64);
            while clock::now() < shared.ends {
                let walks = dice.roll() < 0.3;
                let priority = if walks { Priority::Backfill } else { Priority::App };
                let pause = if dice.roll() < 0.5 {
                    dice.up_to(1.0)
                } else {
                    Duration::ZERO
                };
                let until = clock::now() + dice.up_to(12.0);
                while clock::now() < until && shared.takes(at, priority, until).await {
                    tokio::time::sleep(pause).await;
                }
                tokio::time::sleep(dice.up_to(14.0)).await;
            }
        };
        let moves = async {
            while clock::now() < shared.ends {
                let at = (dice.roll() * many as f64) as usize;
                let part = dice.roll() * dice.roll() * 1.2;
                let part = part.min((1.0 - shared.of_others(at)).max(0.0));
                let is_one = many == 2 || part * f64::from(requests) >= 1.0;
                shared.parts[at].hold(if is_one { part } else { 0.0 }, shared.began);
                tokio::time::sleep(dice.up_to(2.0)).await;
            }
        };
        tokio::join!(join_all((0..many).map(takes)), moves);
        let (most, _) = shared.used(10);
        assert!(
            most <= requests as usize,
            "{most} of {requests}, {many}, seed {seed}"
        );
    }
}

/// What went evenly counts too: whoever takes over a part may spend all of it at once.
#[tokio::test(start_paused = true)]
async fn what_was_spent_evenly_of_a_larger_part_is_left_to_it_too() {
    for (requests, parts, left) in [(40, 5, 0.25), (100, 13, 0.1), (60, 8, 0.135), (22, 3, 0.427)] {
        let shared = Shared::of(per(requests, 10), parts, 30);
        let others = (1.0 - left) / (parts - 1) as f64;
        shared.parts[0].hold(0.8, shared.began);
        (1..parts).for_each(|at| shared.parts[at].hold(0.2 / (parts - 1) as f64, shared.began));
        // No faster than what is spread evenly.
        let pace = Duration::from_secs_f64(10.5 / (0.8 * 0.25 * f64::from(requests)));
        while clock::now() < shared.began + Duration::from_secs(15) {
            assert!(shared.takes(0, Priority::App, shared.ends).await);
            tokio::time::sleep(pace).await;
        }
        shared.parts[0].hold(left, shared.began);
        let takes = async |at: usize| {
            let all = (1.0 - shared.of_others(at)).max(0.0);
            shared.parts[at].hold(if at == 0 { left } else { others.min(all) }, shared.began);
            while shared.takes(at, Priority::App, shared.ends).await {}
        };
        join_all((0..parts).map(takes)).await;
        let (most, _) = shared.used(10);
        assert!(most <= requests as usize, "{most} of {requests}, {parts}");
    }
}

/// Where much was spent of a larger part that still counts.
#[tokio::test(start_paused = true)]
async fn whose_part_has_become_small_goes_on_at_its_pace() {
    let budget = Budget::new(&[per(60, 600)]);
    for _ in 0..12 {
        budget.leave(read(Priority::App), within(0)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(45)).await;
    }
    budget.hold(0.125, clock::now());
    let kept = budget.share();
    let began = clock::now();
    let mut went = Vec::new();
    while budget
        .leave(read(Priority::App), began + Duration::from_secs(500))
        .await
        .is_ok()
    {
        went.push((clock::now() - began).as_secs());
    }
    // Seven or eight in ten minutes, and no more than others leave meanwhile.
    assert!(went[0] < 60 && (5..=8).contains(&went.len()), "{went:?}");
    assert!((0.2..0.24).contains(&kept) && budget.share() < 0.2, "{kept}");
}

/// Apps ask one process for three tenths of the limit, by chance, and the other walks.
#[tokio::test(start_paused = true)]
async fn a_walk_has_what_apps_elsewhere_leave_and_they_hardly_wait() {
    for (requests, period, least) in [(100, 10, 0.78), (1_000, 10, 0.9), (1_000, 60, 0.9)] {
        const SECONDS: u64 = 300;
        let shared = Shared::of(per(requests, period), 2, SECONDS);
        let a_second = f64::from(requests) / period as f64;
        let walk = async { while shared.takes(1, Priority::Backfill, shared.ends).await {} };
        let mut dice = Dice(7);
        let due = std::iter::successors(Some(0.0), |due| {
            Some(due - (1.0 - dice.roll()).ln() / (0.3 * a_second))
        });
        let asks = async |due: f64| {
            let due = shared.began + Duration::from_secs_f64(due);
            tokio::time::sleep_until(due).await;
            assert!(shared.takes(0, Priority::App, due + Duration::from_secs(5)).await);
            clock::now() - due
        };
        let apps = join_all(due.take_while(|due| *due < SECONDS as f64 - 5.0).map(asks));
        let told = Mutex::new([Wants::default(); 2]);
        let beats = async |at: usize| {
            tokio::time::sleep(Duration::from_millis(300 * at as u64)).await;
            while clock::now() < shared.ends {
                let wants = {
                    let mut told = told.lock().unwrap();
                    told[at] = shared.parts[at].wants();
                    *told
                };
                let fair = fair(wants[at], &[wants[1 - at]]);
                let next = next(shared.parts[at].share(), fair, shared.of_others(at));
                shared.parts[at].hold(next, shared.began);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let (mut waited, ..) = tokio::join!(apps, walk, beats(0), beats(1));
        waited.sort();
        let waited = waited[waited.len() * 9 / 10];
        let (most, used) = shared.used(period);
        let used = used as f64 / (SECONDS as f64 * a_second);
        assert!(most <= requests as usize, "{most} of {requests}");
        assert!(
            used >= least && waited < Duration::from_millis(100),
            "{used} of {requests}, {waited:?}"
        );
    }
}

/// A process that is gone may have spent what it had, one that stays does not leave what it has spent.
#[tokio::test(start_paused = true)]
async fn what_somebody_left_who_is_gone_is_taken_for_spent() {
    for (gone, least, most) in [(false, 60, 70), (true, 1, 20)] {
        let budget = Budget::new(&[per(100, 10)]);
        let began = clock::now();
        budget.hold(0.25, began);
        tokio::time::advance(Duration::from_secs(20)).await;
        let since = if gone { clock::now() } else { began };
        budget.hold(0.9, since);
        let at_once = taken(&budget, read(Priority::App), 0).await;
        assert!((least..=most).contains(&at_once), "{gone}: {at_once}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_holds_no_part_waits_for_one() {
    use Priority::*;
    for priority in [App, Stranger, Refetch, Backfill] {
        let budget = per_second(100);
        budget.hold(0.0, clock::now());
        let began = clock::now();
        let waiting = budget.leave(read(priority), within(30));
        let growing = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            budget.hold(0.5, clock::now());
        };
        let (leave, ()) = tokio::join!(waiting, growing);
        leave.unwrap();
        let waited = clock::now() - began;
        assert!(
            (Duration::from_secs(3)..Duration::from_secs(4)).contains(&waited),
            "{priority:?}: {waited:?}"
        );
        budget.hold(0.0, clock::now());
        let refused = budget.leave(read(priority), within(0)).await;
        assert!(refused.unwrap_err() <= Duration::from_secs(1), "{priority:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn processes_share_the_limit_and_none_is_given_twice() {
    let budget = per_second(100);
    taken(&budget, read(Priority::App), 1).await;
    budget.hold(0.25, clock::now());
    let quarter = taken(&budget, read(Priority::App), 10).await;
    assert!((220..=250).contains(&quarter), "{quarter}");
}

#[tokio::test(start_paused = true)]
async fn a_part_that_grows_is_used_by_who_waits() {
    let budget = Budget::new(&[per(10, 10)]);
    budget.hold(0.1, clock::now());
    taken(&budget, read(Priority::App), 0).await;
    let began = clock::now();
    let grows = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        budget.hold(1.0, clock::now());
    };
    let (next, ()) = tokio::join!(budget.leave(read(Priority::App), within(60)), grows);
    assert!(next.is_ok() && clock::now() - began < Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn what_was_spent_of_a_larger_part_is_left_to_it_for_a_period() {
    let budget = Budget::new(&[per(20, 10)]);
    taken(&budget, read(Priority::App), 0).await;
    budget.hold(0.1, clock::now());
    assert!(budget.share() > 0.5, "{}", budget.share());
    tokio::time::advance(Duration::from_secs(12)).await;
    assert_eq!(budget.share(), 0.1);
}

/// However few that was, nobody whose process has just begun waits for a minute; what it asked itself before is
/// spread evenly.
#[tokio::test(start_paused = true)]
async fn who_has_just_begun_has_a_place_at_once_and_no_more() {
    let budget = Budget::new(&[per(60, 600)]);
    budget.leave(read(Priority::Refetch), within(0)).await.unwrap();
    budget.hold_nothing();
    assert_eq!(budget.share(), 0.0);
    tokio::time::advance(Duration::from_millis(100)).await;
    budget.hold(1.0, clock::now());
    assert_eq!(taken(&budget, read(Priority::App), 0).await, 1);
}

/// Others did not know of it, and are gone: what it held meanwhile they may have spent.
#[tokio::test(start_paused = true)]
async fn who_was_away_has_what_others_may_have_spent_at_an_even_pace() {
    let budget = Budget::new(&[per(60, 60)]);
    tokio::time::advance(Duration::from_secs(600)).await;
    budget.hold_nothing();
    budget.hold(1.0, clock::now());
    assert_eq!(taken(&budget, read(Priority::App), 0).await, 1);
    tokio::time::advance(Duration::from_secs(30)).await;
    // What is spread evenly is not saved up.
    let half = taken(&budget, read(Priority::App), 0).await;
    assert!((20..=30).contains(&half), "{half}");
}
