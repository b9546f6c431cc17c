//! Who goes first and how often, by a paused clock.

use std::sync::Arc;

use futures_util::future::join_all;

use super::*;

fn per_second(requests: u32) -> Budget {
    Budget::new(&[Rate {
        requests,
        per: Duration::from_secs(1),
    }])
}

fn within(seconds: u64) -> Instant {
    clock::now() + Duration::from_secs(seconds)
}

#[test]
fn the_highest_lane_goes_first_until_a_lower_one_is_overdue() {
    assert_eq!(first([true, true, true], [0, 5, 18]), Some(0));
    assert_eq!(first([true, true, true], [0, 5, 19]), Some(2));
    assert_eq!(first([false, true, true], [0, 0, 3]), Some(1));
    assert_eq!(first([false; 3], [99; 3]), None);
}

#[tokio::test(start_paused = true)]
async fn an_app_gets_leave_before_a_backfill_that_came_earlier() {
    let budget = per_second(10);
    budget.leave(Priority::App, within(1)).await.unwrap();
    let order = Mutex::new(Vec::new());
    let one = |priority| {
        let (budget, order) = (&budget, &order);
        async move {
            budget.leave(priority, within(60)).await.unwrap();
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
    let apps = (0..400).map(|_| budget.leave(Priority::App, within(60)));
    let backfill = async {
        let began = clock::now();
        budget.leave(Priority::Backfill, within(60)).await.unwrap();
        clock::now() - began
    };
    let (_, waited) = tokio::join!(join_all(apps), backfill);
    assert!(waited < Duration::from_secs(1), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn an_app_that_cannot_go_in_time_is_told_how_long_to_wait() {
    let budget = Budget::new(&[Rate {
        requests: 1,
        per: Duration::from_secs(30),
    }]);
    budget.leave(Priority::App, within(8)).await.unwrap();
    let refused = budget.leave(Priority::App, within(8)).await.unwrap_err();
    assert!(
        refused > Duration::from_secs(29) && refused < Duration::from_secs(32),
        "{refused:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn every_limit_counts_and_none_is_charged_in_vain() {
    let per = |requests, seconds| Rate {
        requests,
        per: Duration::from_secs(seconds),
    };
    let budget = Budget::new(&[per(1, 1), per(3, 60)]);
    let began = clock::now();
    let mut times = Vec::new();
    while clock::now() - began < Duration::from_secs(130) {
        budget.leave(Priority::Backfill, within(600)).await.unwrap();
        times.push(clock::now() - began);
    }
    let in_first = |secs| times.iter().filter(|at| at.as_secs_f64() < secs).count();
    assert!(in_first(60.0) <= 3 && in_first(120.0) >= 4, "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_holds_back_own_requests_as_long_as_it_says_and_apps_only_with_the_own_key() {
    let budget = Budget::new(&[]);
    let began = clock::now();
    budget.refused(Duration::from_secs(20), Yields::Own);
    budget.leave(Priority::App, within(8)).await.unwrap();
    assert_eq!(clock::now(), began);
    assert!(budget.leave(Priority::Refetch, within(8)).await.is_err());
    assert_eq!(clock::now(), began, "it is told at once");
    budget.leave(Priority::Backfill, within(60)).await.unwrap();
    assert!(clock::now() - began >= Duration::from_secs(20));
    budget.refused(Duration::from_secs(5), Yields::Everyone);
    let before = clock::now();
    budget.leave(Priority::App, within(8)).await.unwrap();
    assert!(clock::now() - before >= Duration::from_secs(5));
}
