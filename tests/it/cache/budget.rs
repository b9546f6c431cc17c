//! The provider's limit between apps, strangers and a walk over all users.

use std::collections::BTreeSet;
use std::time::Duration;

use ::http::Method;
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::timeout;
use usertap::config::Rate;
use usertap::sandbox::{Action, Canned, Fault, Options};

use super::Told;
use crate::support::eventually;
use crate::support::stack::{Setup, Stack};

async fn limited(requests: u32, rate: &'static str, users: usize) -> Stack {
    Stack::with(Setup {
        sandbox: Options {
            users,
            rate: Some(Rate {
                requests,
                per: Duration::from_secs(1),
            }),
            ..Options::default()
        },
        settings: vec![("USERTAP_RATE", rate)],
        ..Setup::default()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_beside_apps_earns_no_refusal() {
    let stack = limited(40, "40/1s", 1_500).await;
    let server = stack.server(0);
    stack.walk_begins("backfill").await;
    let ids = stack.control().ids(0);
    let asked = join_all(ids.iter().take(120).map(|id| {
        let (stack, server) = (&stack, &server);
        async move { stack.get(server, &format!("/users/{id}")).await.status }
    }));
    let statuses: BTreeSet<u16> = asked.await.iter().map(|status| status.as_u16()).collect();
    assert_eq!(statuses, BTreeSet::from([200]));
    stack.walk_ends("backfill").await;
    assert_eq!(stack.control().limited(), 0);
    let given = &stack.status().await["budget"]["given"];
    assert!(
        given["app"].as_u64() >= Some(120) && given["backfill"].as_u64() >= Some(7),
        "{given}"
    );
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn junk_cannot_spend_an_apps_limit() {
    let stack = limited(50, "50/1s", 50).await;
    let (server, ids) = (stack.server(0), stack.control().ids(0));
    let junk = |n: usize| stack.server(0).with("secret-server-key", format!("ssk_junk_{n}"));
    let callers: Vec<_> = (0..400).map(junk).collect();
    let refused = join_all(callers.iter().map(|caller| stack.get(caller, "/users?limit=1")));
    let served = async {
        for id in &ids {
            assert_eq!(stack.get(&server, &format!("/users/{id}")).await.status, 200);
        }
        let given = stack.status().await["budget"]["given"].clone();
        (given["app"].as_u64(), given["stranger"].as_u64())
    };
    let given = tokio::select! {
        given = served => given,
        _ = refused => panic!("the junk was served before the app"),
    };
    assert!(given.0 >= Some(50) && given.1 < Some(400), "{given:?}");
    assert_eq!(stack.control().limited(), 0);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_while_waiting_for_a_place_takes_none() {
    let stack = limited(1_000, "20/20s", 20).await;
    let (server, ids) = (stack.server(0), stack.control().ids(0));
    // What there is at once; from here on a place comes each second.
    for id in &ids {
        let path = format!("/users/{id}");
        assert_eq!(stack.get(&server, &path).await.status, 200);
    }
    let lists = || stack.control().count(&Method::GET, "/users");
    let before = lists();
    let impatient = (1..=8).map(|limit| {
        let path = format!("/users?limit={limit}");
        let (stack, server) = (&stack, &server);
        async move { timeout(Duration::from_millis(200), stack.get(server, &path)).await }
    });
    let answered = join_all(impatient).await.into_iter().flatten().count();
    let last = stack.get(&server, &format!("/users/{}?n=1", ids[0])).await;
    assert_eq!(last.status, 200);
    // One may have had its turn before it left.
    let sent = lists() - before;
    assert!(
        sent <= answered as u64 + 1,
        "{sent} were sent, {answered} answered"
    );
    stack.end().await;
}

/// To apps and to strangers.
async fn given(stack: &Stack) -> (u64, u64) {
    let given = stack.status().await["budget"]["given"].clone();
    let to = |whom: &str| given[whom].as_u64().expect("a number");
    (to("app"), to("stranger"))
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_provider_has_accepted_is_no_stranger() {
    let stack = Stack::with(Setup::set(&[("USERTAP_RATE", "1000/1s")])).await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let me = stack.signed_in(0, ada);
    let (_, strangers) = given(&stack).await;
    stack.get(&me, "/users/me").await;
    let (apps, after) = given(&stack).await;
    assert_eq!(after, strangers + 1);
    stack.get(&me, "/users/me").await;
    assert_eq!(given(&stack).await, (apps + 1, after));
    stack.end().await;
}

/// Known to be junk is no better than unknown.
#[tokio::test(flavor = "multi_thread")]
async fn whom_the_provider_has_refused_is_a_stranger_still() {
    let stack = limited(1_000, "1000/1s", 0).await;
    let (apps, strangers) = given(&stack).await;
    let junk = stack.server(0).with("secret-server-key", "ssk_junk");
    for _ in 0..3 {
        let refused = stack.get(&junk, "/users?limit=1").await;
        assert_eq!(refused.effective_status(), 401, "{}", refused.text());
    }
    assert_eq!(given(&stack).await, (apps, strangers + 3));
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_gives_junk_no_right_of_way() {
    let stack = limited(1_000, "1000/1s", 0).await;
    let (apps, strangers) = given(&stack).await;
    let junk = stack.server(0).with("secret-server-key", "ssk_junk");
    let upgrading = junk.raw("connection", "upgrade").raw("upgrade", "any");
    let got = stack.get(&upgrading, "/users?limit=1").await;
    assert_eq!(got.effective_status(), 401, "{} {}", got.recorded(), got.text());
    assert_eq!(given(&stack).await, (apps, strangers + 1));
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_somebody_who_is_known_makes_usertap_yield_and_apps_go_on() {
    let stack = limited(1_000, "1000/1s", 1).await;
    let server = stack.server(0);
    let foreign = server
        .clone()
        .with("project-id", "11111111-1111-4111-8111-111111111111");
    let given = || async { stack.status().await["budget"]["given"]["app"].as_u64() };
    let before = given().await;
    let anybody = stack.browser(0);
    let (report, sign_in) = ("/reports/monthly", "/auth/password/sign-in");
    for (caller, method, path, waits) in [
        (&foreign, Method::GET, report, false),
        (&anybody, Method::GET, report, false),
        (&anybody, Method::POST, sign_in, false),
        (&server, Method::GET, report, true),
    ] {
        let refused = Canned::new(429, "{}").header("retry-after", "30");
        stack.control().fault(Fault::on(path, Action::Reject(refused)));
        assert_eq!(stack.ask(caller, method, path, &json!({})).await.status, 429);
        let paused = stack.status().await["provider"]["paused_for"].as_u64();
        assert_eq!(paused > Some(0), waits, "{path}: {paused:?}");
    }
    assert_eq!(
        given().await,
        before.map(|n| n + 1),
        "who has usertap's own key is no stranger"
    );
    assert_eq!(stack.get(&server, "/users?limit=1").await.status, 200);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_the_provider_says_is_spent_is_waited_for() {
    let stack = Stack::new().await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let (server, path) = (stack.server(0), format!("/users/{ada}"));
    let last = Canned::new(
        200,
        stack.control().server_view(0, ada).expect("a user").to_string(),
    )
    .header("x-ratelimit-remaining", "0")
    .header("x-ratelimit-reset", "90");
    stack.control().fault(Fault::on(&path, Action::Reject(last)));
    assert_eq!(stack.get(&server, &path).await.status, 200);
    stack.control().forget_traffic();
    let next = stack.get(&server, &path).await;
    assert_eq!(
        (next.status.as_u16(), next.header("x-usertap-error")),
        (429, Some("rate-limited"))
    );
    let wait: u64 = next
        .header("retry-after")
        .expect("it says")
        .parse()
        .expect("seconds");
    assert!((30..=90).contains(&wait), "{wait}");
    assert_eq!(stack.control().count(&Method::GET, "/users/{id}"), 0);
    stack.end().await;
}

/// Who was given something stale does not come back for a place.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_to_wait_for_those_who_were_given_something() {
    let stack = Stack::with(Setup::set(&[
        ("USERTAP_RATE", "60/600s"),
        ("USERTAP_CACHE_TTL", "1ms"),
        ("USERTAP_STALE_IF_ERROR", "1h"),
        ("USERTAP_TIMEOUT", "4s"),
    ]))
    .await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let (server, path) = (stack.server(0), format!("/users/{ada}"));
    let given_stale = || async {
        let got = stack.get(&server, &path).await;
        (got.cached() == "stale; rate-limited").then_some(())
    };
    let refused = || async {
        let got = stack.patch(&server, &path, json!({})).await;
        let is_refused = got.header("x-usertap-error") == Some("rate-limited");
        let wait = got.header("retry-after").filter(|_| is_refused)?;
        wait.parse::<u64>().ok()
    };
    eventually("the limit is used up", given_stale).await;
    let first = eventually("a write is refused", refused).await;
    for _ in 0..12 {
        eventually("it is given something", given_stale).await;
    }
    let next = eventually("another write is refused", refused).await;
    assert!(next < first + 30, "{first} and then {next}");
    stack.end().await;
}
