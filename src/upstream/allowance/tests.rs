//! By a paused clock: what goes at once, what goes evenly, and what never goes.

use super::*;
use crate::clock;

const TEN: Duration = Duration::from_secs(10);

fn of(requests: u32, per: Duration) -> Allowance {
    Allowance::share(Rate { requests, per }, 1.0)
}

/// One goes and is answered as quickly as can be.
fn go(allowance: &mut Allowance, asks: Asks, now: Instant) {
    if allowance.charge(asks) {
        allowance.answered(now, Duration::ZERO);
    }
}

/// How many go at this very moment.
fn at_once(allowance: &mut Allowance, asks: Asks) -> usize {
    let now = clock::now();
    allowance.turn(now);
    let mut went = 0;
    while allowance.wait(asks).is_none() {
        go(allowance, asks, now);
        went += 1;
    }
    went
}

/// Takes whatever is given for `lasting` and says when.
async fn greedily(allowance: &mut Allowance, asks: Asks, lasting: Duration) -> Vec<Instant> {
    let (end, mut taken) = (clock::now() + lasting, Vec::new());
    while clock::now() < end {
        allowance.turn(clock::now());
        match allowance.wait(asks) {
            Some(until) => tokio::time::sleep_until(until).await,
            None => {
                go(allowance, asks, clock::now());
                taken.push(clock::now());
            }
        }
    }
    taken
}

/// The most that any period saw.
fn worst(taken: &[Instant], per: Duration) -> usize {
    let mut oldest = 0;
    let within = taken.iter().enumerate().map(|(at, went)| {
        while *went - taken[oldest] > per {
            oldest += 1;
        }
        at - oldest + 1
    });
    within.max().unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn an_app_may_burst_and_nobody_stands_still_after_it() {
    let mut allowance = of(1_000, TEN);
    let burst = at_once(&mut allowance, Asks::App);
    assert!((750..=760).contains(&burst), "{burst}");
    let next = allowance.wait(Asks::App).unwrap() - clock::now();
    assert!(next < Duration::from_millis(50), "{next:?}");
    let meanwhile = greedily(&mut allowance, Asks::App, TEN).await.len();
    assert!((235..=250).contains(&meanwhile), "{meanwhile}");
}

#[tokio::test(start_paused = true)]
async fn no_period_sees_more_than_the_limit_nor_much_less() {
    for asks in [Asks::App, Asks::Own] {
        for (requests, seconds) in [
            (1, 1),
            (2, 1),
            (7, 2),
            (100, 1),
            (100, 10),
            (1_000, 10),
            (20_000, 10),
        ] {
            let per = Duration::from_secs(seconds);
            let taken = greedily(&mut of(requests, per), asks, per * 5).await;
            assert!(worst(&taken, per) <= requests as usize, "{asks:?} {requests}");
            let most = requests as usize * 5;
            assert!(
                taken.len() * 100 >= most * 95,
                "{asks:?} {requests}: {}",
                taken.len()
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn own_requests_never_burst_and_apps_that_do_leave_them_the_rest() {
    let mut allowance = of(1_000, TEN);
    assert!(at_once(&mut allowance, Asks::Own) <= 10);
    let mut taken = greedily(&mut allowance, Asks::Own, TEN * 2).await;
    let apart: Vec<Duration> = taken.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(apart.iter().max() < Some(&Duration::from_millis(60)), "{apart:?}");
    // What an app's burst takes is not there for them.
    let burst = at_once(&mut allowance, Asks::App);
    taken.extend((0..burst).map(|_| clock::now()));
    taken.extend(greedily(&mut allowance, Asks::Own, TEN).await);
    assert!(worst(&taken, TEN) <= 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_part_is_that_part_and_at_the_least_one() {
    for (requests, share, most) in [(1_000, 0.2, 200), (100, 0.2, 20), (100, 0.5, 50), (3, 0.2, 1)] {
        let rate = Rate { requests, per: TEN };
        let taken = greedily(&mut Allowance::share(rate, share), Asks::App, TEN * 10).await;
        assert!(
            worst(&taken, TEN - Duration::from_millis(1)) <= most,
            "{requests}"
        );
        assert!(taken.len() >= most * 5, "{requests} * {share}: {}", taken.len());
    }
}

#[tokio::test(start_paused = true)]
async fn what_went_counts_when_the_part_gets_smaller() {
    let mut allowance = of(1_000, TEN);
    at_once(&mut allowance, Asks::App);
    allowance.resize(0.5, clock::now(), clock::now());
    allowance.give_up();
    assert!((0.75..0.8).contains(&allowance.kept()), "{}", allowance.kept());
    tokio::time::sleep(TEN / 2).await;
    // Only what is spread goes on.
    assert!(at_once(&mut allowance, Asks::App) <= 5);
    tokio::time::sleep(TEN).await;
    let burst = at_once(&mut allowance, Asks::App);
    assert!((370..=385).contains(&burst), "{burst}");
    allowance.give_up();
    assert_eq!(allowance.kept(), 0.5);
}

#[tokio::test(start_paused = true)]
async fn a_part_that_is_new_may_have_been_spent_by_others_at_an_even_pace() {
    let mut allowance = Allowance::share(
        Rate {
            requests: 1_000,
            per: TEN,
        },
        0.25,
    );
    tokio::time::sleep(TEN * 2).await;
    allowance.resize(1.0, clock::now(), clock::now());
    // Its own part has not been used.
    let burst = at_once(&mut allowance, Asks::App);
    assert!((180..=210).contains(&burst), "{burst}");
    let later = greedily(&mut allowance, Asks::App, TEN).await.len();
    assert!((760..=830).contains(&later), "{later}");
}

#[tokio::test(start_paused = true)]
async fn what_is_late_on_its_way_counts_from_when_it_may_have_arrived() {
    let mut allowance = of(1_000, TEN);
    let sent = clock::now();
    let mut under_way = 0;
    while allowance.wait(Asks::App).is_none() {
        under_way += usize::from(allowance.charge(Asks::App));
    }
    assert_eq!(under_way, 750);
    tokio::time::sleep(TEN * 2).await;
    // As long as nobody answers, nobody knows when the provider counts it.
    assert!(at_once(&mut allowance, Asks::App) <= 10);
    let late = TEN * 2 - Duration::from_secs(1);
    (0..under_way).for_each(|_| allowance.answered(sent, late));
    assert!(at_once(&mut allowance, Asks::App) <= 10);
    tokio::time::sleep(TEN - Duration::from_millis(1_100)).await;
    assert!(at_once(&mut allowance, Asks::App) <= 250);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(at_once(&mut allowance, Asks::App) >= 700);
}
