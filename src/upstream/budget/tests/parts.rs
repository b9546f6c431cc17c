//! What several processes have of one limit, each a part that moves.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_part_that_comes_and_goes_gives_nothing_twice() {
    for ask in [read(Priority::App), read(Priority::Backfill)] {
        let budget = Budget::new(&[per(100, 10)]);
        let mut all = 0;
        for second in 0..40 {
            budget.hold(if second % 2 == 0 { 0.5 } else { 0.4 });
            let ends = within(1);
            all += taken(&budget, ask, 1).await;
            tokio::time::sleep_until(ends).await;
        }
        // Of 45 in ten seconds, and what may go at once: no more, and not much less.
        assert!((130..=4 * 45 + 50).contains(&all), "{ask:?}: {all}");
    }
}

#[tokio::test(start_paused = true)]
async fn however_parts_move_the_limit_is_kept_and_most_of_it_used() {
    const SECONDS: u64 = 200;
    for (requests, every) in [(100, 1_000), (20, 700), (1_000, 1_300), (7, 3_000)] {
        let began = clock::now();
        let parts = [(); 2].map(|()| Budget::new(&[per(requests, 10)]));
        parts.iter().for_each(|part| part.hold(0.0));
        let went = Mutex::new(Vec::new());
        let takes = async |part: &Budget| {
            while part
                .leave(read(Priority::App), began + Duration::from_secs(SECONDS))
                .await
                .is_ok()
            {
                went.lock().unwrap().push(clock::now() - began);
            }
        };
        let moves = async {
            let mut dice: u64 = 1;
            while clock::now() - began < Duration::from_secs(SECONDS) {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let wanted = 0.2 + 0.6 * ((dice >> 33) as f64 / f64::from(1u32 << 31));
                for (at, wanted) in [(0, wanted), (1, 1.0 - wanted)] {
                    let left = 1.0 - parts[1 - at].share();
                    parts[at].hold(wanted.min(left));
                }
                tokio::time::sleep(Duration::from_millis(every)).await;
            }
        };
        tokio::join!(takes(&parts[0]), takes(&parts[1]), moves);
        let went = went.into_inner().unwrap();
        let in_a_period =
            |at: usize| went[at..].partition_point(|other| *other < went[at] + Duration::from_secs(10));
        let most = (0..went.len()).map(in_a_period).max();
        assert!(most <= Some(requests as usize), "{most:?} of {requests}");
        let all = SECONDS as usize / 10 * requests as usize;
        assert!(went.len() * 2 >= all, "{} of {all}", went.len());
    }
}

#[tokio::test(start_paused = true)]
async fn who_holds_no_part_waits_for_one() {
    use Priority::*;
    for priority in [App, Stranger, Refetch, Backfill] {
        let budget = per_second(100);
        budget.hold(0.0);
        let began = clock::now();
        let waiting = budget.leave(read(priority), within(30));
        let growing = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            budget.hold(0.5);
        };
        let (leave, ()) = tokio::join!(waiting, growing);
        leave.unwrap();
        let waited = clock::now() - began;
        assert!(
            (Duration::from_secs(3)..Duration::from_secs(4)).contains(&waited),
            "{priority:?}: {waited:?}"
        );
        budget.hold(0.0);
        let refused = budget.leave(read(priority), within(0)).await;
        assert!(refused.unwrap_err() <= Duration::from_secs(1), "{priority:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn processes_share_the_limit_and_none_is_given_twice() {
    let budget = per_second(100);
    taken(&budget, read(Priority::App), 1).await;
    budget.hold(0.25);
    let quarter = taken(&budget, read(Priority::App), 10).await;
    assert!((220..=250).contains(&quarter), "{quarter}");
}

#[tokio::test(start_paused = true)]
async fn a_part_that_grows_is_used_by_who_waits() {
    let budget = Budget::new(&[per(10, 10)]);
    budget.hold(0.1);
    taken(&budget, read(Priority::App), 0).await;
    let began = clock::now();
    let grows = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        budget.hold(1.0);
    };
    let (next, ()) = tokio::join!(budget.leave(read(Priority::App), within(60)), grows);
    assert!(next.is_ok() && clock::now() - began < Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn what_was_spent_of_a_larger_part_is_left_to_it_for_a_period() {
    let budget = Budget::new(&[per(20, 10)]);
    taken(&budget, read(Priority::App), 0).await;
    budget.hold(0.1);
    assert!(budget.share() > 0.5, "{}", budget.share());
    tokio::time::advance(Duration::from_secs(12)).await;
    assert_eq!(budget.share(), 0.1);
}

/// However few that was, nobody whose process has just begun waits for a minute.
#[tokio::test(start_paused = true)]
async fn who_has_just_begun_has_a_place_at_once_and_no_more() {
    let budget = Budget::new(&[per(60, 600)]);
    budget.hold(0.0);
    tokio::time::advance(Duration::from_millis(100)).await;
    budget.hold(1.0);
    assert_eq!(taken(&budget, read(Priority::App), 0).await, 1);
}
