//! What the provider refuses: who waits for it, how long, and what is learned of it.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_refusal_holds_back_own_requests_as_long_as_it_says_and_apps_only_with_the_own_key() {
    let budget = Budget::new(&[]);
    let began = clock::now();
    budget.refused(Some(Duration::from_secs(20)), Yields::Own, 0.0);
    budget.leave(read(Priority::App), within(8)).await.unwrap();
    assert_eq!(clock::now(), began);
    assert!(budget.leave(read(Priority::Refetch), within(8)).await.is_err());
    assert_eq!(clock::now(), began, "it is told at once");
    budget.leave(read(Priority::Backfill), within(60)).await.unwrap();
    assert!(clock::now() - began >= Duration::from_secs(20));
    budget.refused(Some(Duration::from_secs(5)), Yields::Everyone, 0.0);
    let before = clock::now();
    budget.leave(read(Priority::App), within(8)).await.unwrap();
    assert!(clock::now() - before >= Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_turns_out_lower_is_kept_lower_and_crept_back_to() {
    let budget = per_second(100);
    budget.refused(Some(Duration::ZERO), Yields::Everyone, 0.0);
    let lower = taken(&budget, read(Priority::App), 10).await;
    assert!((690..=760).contains(&lower), "{lower}");
    taken(&budget, read(Priority::App), 120).await;
    let again = taken(&budget, read(Priority::App), 10).await;
    assert!(again >= 930, "{again}");
    assert_eq!(budget.learned(), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_behind_others_through_a_pause_is_told_when_it_ends() {
    let budget = Budget::new(&[]);
    budget.refused(Some(Duration::from_secs(20)), Yields::Everyone, 0.0);
    let head = budget.leave(read(Priority::App), within(60));
    let behind = budget.leave(read(Priority::App), within(3));
    let (head, behind) = tokio::join!(head, behind);
    let told = behind.unwrap_err().as_secs_f64();
    assert!(head.is_ok() && (16.9..17.1).contains(&told), "{told}");
}

#[tokio::test(start_paused = true)]
async fn what_one_caller_is_refused_says_nothing_of_the_limit() {
    let budget = per_second(10);
    budget.refused(None, Yields::Own, 0.0);
    assert_eq!(budget.learned(), Some(1.0));
    budget.refused(None, Yields::Everyone, 0.0);
    assert_eq!(budget.learned(), Some(0.75));
}

#[tokio::test(start_paused = true)]
async fn where_no_limit_is_known_a_refusal_slows_the_pace() {
    let budget = Budget::new(&[]);
    let before = budget.pace().expect("a pace");
    budget.refused(Some(Duration::ZERO), Yields::Own, 0.0);
    tokio::time::advance(Duration::from_secs(2)).await;
    taken(&budget, read(Priority::Backfill), 0).await;
    assert_eq!(budget.pace(), Some(before / 2.0));
}

#[tokio::test(start_paused = true)]
async fn refusals_in_a_row_are_waited_out_longer_each_time_until_one_is_served() {
    let budget = Budget::new(&[]);
    let waits = || {
        budget.refused(None, Yields::Everyone, 0.0);
        budget
            .paused(Priority::App)
            .map(|until| (until - clock::now()).as_secs())
    };
    assert_eq!([waits(), waits(), waits()], [Some(1), Some(2), Some(4)]);
    tokio::time::advance(Duration::from_secs(5)).await;
    budget.served(None, Yields::Everyone);
    assert_eq!(waits(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn not_everybody_comes_back_at_once_where_nothing_is_said() {
    let waits = |said, jitter| {
        let budget = Budget::new(&[]);
        budget.refused(said, Yields::Everyone, jitter);
        let until = budget.paused(Priority::App).expect("a pause");
        (until - clock::now()).as_millis()
    };
    assert_eq!(
        [waits(None, 0.0), waits(None, 0.5), waits(None, 1.0)],
        [1_000, 1_250, 1_500]
    );
    assert_eq!(
        waits(Some(Duration::from_secs(3)), 1.0),
        3_000,
        "what is said is kept to"
    );
}

#[tokio::test(start_paused = true)]
async fn what_others_were_told_holds_here_and_is_not_told_on() {
    let budget = Budget::new(&[]);
    let (everyone, own) = (Some(Duration::from_secs(5)), Some(Duration::from_secs(9)));
    budget.yield_with_others(&Left { everyone, own });
    let waits = |priority| budget.paused(priority).map(|until| until - clock::now());
    assert_eq!(
        (waits(Priority::App), waits(Priority::Stranger)),
        (everyone, everyone)
    );
    assert_eq!((waits(Priority::Refetch), waits(Priority::Backfill)), (own, own));
    assert_eq!(budget.yields(), Left::default());
    let (hour, day) = (Duration::from_secs(3_600), Some(Duration::from_secs(86_400)));
    budget.yield_with_others(&Left {
        everyone: day,
        own: day,
    });
    assert_eq!(
        (waits(Priority::App), waits(Priority::Backfill)),
        (Some(hour), Some(hour))
    );
}
