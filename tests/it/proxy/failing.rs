//! A provider that fails: whom it keeps out, and who pays for it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::Notify;
use usertap::config::Rate;

use super::rig::{Does, Got, KEY, PROJECT, Rig};
use super::{path, user};
use crate::support::eventually;

const NOBODY: &[(&str, &str)] = &[];

fn hung_up(times: usize) -> Vec<Does> {
    vec![Does::HangsUp; times]
}

const US: &[(&str, &str)] = &[
    ("x-stack-project-id", PROJECT),
    ("x-stack-secret-server-key", KEY),
];

/// Whoever asks so is told at once that the provider is left alone. Should its rest have gone by, the one
/// that tries fails as well.
async fn is_kept_out(rig: &Rig, headers: &[(&str, &str)]) {
    eventually("it is kept out", async || {
        rig.does(hung_up(2));
        let seen = rig.seen().len();
        let got = rig.ask_as("GET", &path(1), "", headers).await;
        rig.does_no_more();
        let is_out = got.header("x-usertap-error") == "breaker-open";
        assert!(!is_out || rig.seen().len() == seen, "and not asked");
        is_out.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_nobody_that_the_provider_cuts_keep_nobody_out_whom_it_knows() {
    let rig = Rig::new().await;
    // Each is sent once more, and counts once.
    rig.does(hung_up(10));
    for _ in 0..5 {
        let got = rig.ask_as("GET", &path(1), "", NOBODY).await;
        assert_eq!(got.header("x-usertap-error"), "upstream-broken");
    }
    // Who is as little known is spared the wait.
    assert_eq!(rig.seen().len(), 10);
    is_kept_out(&rig, NOBODY).await;
    rig.answers(200, user(1, "Ada"));
    let written = rig.ask("PATCH", &path(1), r#"{"display_name":"Ada"}"#).await;
    assert_eq!(
        (written.status.as_u16(), written.header("x-usertap-error")),
        (200, "")
    );
    // That told how the provider is.
    rig.answers(200, user(1, "Ada"));
    assert_eq!(rig.ask_as("GET", &path(1), "", NOBODY).await.status, 200);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_those_whom_the_provider_knows_keeps_out_everybody() {
    let rig = Rig::new().await;
    rig.does(hung_up(10));
    for _ in 0..5 {
        let got = rig.ask("GET", &path(1), "").await;
        assert_eq!(got.header("x-usertap-error"), "upstream-broken");
    }
    assert_eq!(rig.seen().len(), 10);
    for headers in [US, NOBODY] {
        is_kept_out(&rig, headers).await;
    }
    rig.end().await;
}

async fn keeping(timeout: u64) -> Rig {
    Rig::with(|config| {
        config.timeout = Duration::from_secs(timeout);
        config.cache_ttl = Duration::from_secs(600);
    })
    .await
}

/// One of whose answers waits to be let go, and the next too.
fn waiting([one, two]: &[Arc<Notify>; 2], first: &str) -> [Does; 2] {
    [
        Does::Waits(one.clone(), first.to_owned().into()),
        Does::Waits(two.clone(), user(1, "Ada").into()),
    ]
}

/// Ten who ask for the same. `second` is let go when so many have their answer.
async fn ten(rig: &Rig, second: &Notify, when: usize) -> Vec<Got> {
    let (path, mut got) = (path(1), Vec::new());
    let readers = (0..10).map(|_| rig.ask("GET", &path, ""));
    let mut readers = stream::iter(readers).buffer_unordered(10);
    while let Some(answer) = readers.next().await {
        got.push(answer);
        if got.len() == when {
            second.notify_one();
        }
    }
    got
}

#[tokio::test(flavor = "multi_thread")]
async fn where_an_answer_takes_long_one_more_asks_and_the_rest_wait_for_either() {
    let whole = user(1, "Ada");
    // The first brings it, or what is no answer for others; the second is let go when so many have theirs.
    for (first, had_by, by_others) in [(&*whole, 11, 9), ("no JSON", 1, 8)] {
        let rig = keeping(16).await;
        let gates: [Arc<Notify>; 2] = Default::default();
        rig.does(waiting(&gates, first));
        let one_more = async {
            eventually("one more asks", async || (rig.seen().len() > 1).then_some(())).await;
            gates[0].notify_one();
        };
        let (got, ()) = tokio::join!(ten(&rig, &gates[1], had_by), one_more);
        assert_eq!(rig.seen().len(), 2, "{first}");
        let coalesced = |got: &&Got| got.header("x-usertap-cache") == "hit; coalesced";
        assert_eq!(got.iter().filter(coalesced).count(), by_others, "{first}");
        let told = |got: &&Got| got.body.as_deref() == Some(whole.as_bytes());
        assert!(got.iter().filter(told).count() >= 9, "{first}");
        rig.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_others_longer_than_leaves_time_for_an_answer_of_its_own() {
    let rig = keeping(12).await;
    let gates: [Arc<Notify>; 2] = Default::default();
    let answer = || Does::Answers(200, &[], user(1, "Ada").into());
    rig.does(waiting(&gates, "no JSON"));
    rig.does([(); 8].map(|()| answer()));
    // Nothing is let go before all others have theirs.
    let first = async {
        eventually("their own", async || (rig.seen().len() > 2).then_some(())).await;
        gates[0].notify_one();
    };
    let (got, ()) = tokio::join!(ten(&rig, &gates[1], 9), first);
    assert!(got.iter().all(|got| got.status == 200));
    rig.end().await;
}

/// Slow, and not away: whoever has begun to ask for itself still takes what another brings first.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_takes_most_of_the_time_is_had_by_all_who_asked_for_it() {
    let rig = keeping(12).await;
    let gates: [Arc<Notify>; 2] = Default::default();
    rig.does(waiting(&gates, &user(1, "Ada")));
    rig.does(vec![Does::Waits(Arc::default(), Bytes::new()); 8]);
    let slow = async {
        eventually("each asks", async || (rig.seen().len() == 10).then_some(())).await;
        gates[0].notify_one();
    };
    let (got, ()) = tokio::join!(ten(&rig, &gates[1], 11), slow);
    let coalesced = |got: &&Got| got.header("x-usertap-cache") == "hit; coalesced";
    assert_eq!(got.iter().filter(coalesced).count(), 9);
    rig.end().await;
}

/// What a browser asks before it reads a user from a page of another origin.
const PREFLIGHT: &[(&str, &str)] = &[
    ("origin", "https://app.example"),
    ("access-control-request-method", "PATCH"),
    (
        "access-control-request-headers",
        "authorization, x-stack-project-id",
    ),
];

fn is_allowed(got: &Got, how: &str) {
    assert_eq!(
        (got.status.as_u16(), got.body.as_deref()),
        (204, Some(&b""[..])),
        "{how}"
    );
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "PATCH"),
        (
            "access-control-allow-headers",
            "authorization, x-stack-project-id",
        ),
        ("access-control-max-age", "5"),
        ("content-type", ""),
        ("x-usertap-cache", "bypass; own-answer"),
        ("x-usertap-recorded", "none; own-answer"),
        ("x-usertap-error", ""),
    ] {
        assert_eq!(got.header(name), value, "{how}: {name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_asks_beforehand_is_answered_where_the_provider_does_not() {
    let rig = Rig::new().await;
    let asked = async |does: Vec<Does>| {
        rig.does(does);
        rig.ask_as("OPTIONS", &path(1), "", PREFLIGHT).await
    };
    let says = |status| {
        vec![Does::Answers(
            status,
            &[("content-type", "text/plain")],
            "x".into(),
        )]
    };
    is_allowed(&asked(hung_up(2)).await, "broken");
    for status in [500, 503, 429] {
        is_allowed(&asked(says(status)).await, "refused");
    }
    for status in [200, 403] {
        let got = asked(says(status)).await;
        assert_eq!(
            (got.status.as_u16(), got.body.as_deref()),
            (status, Some(&b"x"[..]))
        );
    }
    // Nobody whom the provider knows pays for what failed, and no browser waits for it any more.
    for _ in 0..5 {
        is_allowed(&asked(hung_up(2)).await, "broken");
    }
    let seen = rig.seen().len();
    is_allowed(&asked(vec![]).await, "left alone");
    assert_eq!(rig.seen().len(), seen);
    rig.answers(200, user(1, "Ada"));
    assert_eq!(rig.ask("PATCH", &path(1), "{}").await.status, 200);
    // Of what nobody knows nothing is said, nor to who asks for something else.
    for (path, headers) in [
        ("/api/v1/nobody-knows/this".to_owned(), PREFLIGHT),
        (path(1), &PREFLIGHT[..1]),
        (path(1), &[("access-control-request-method", "OPTIONS")]),
    ] {
        rig.does(hung_up(2));
        let got = rig.ask_as("OPTIONS", &path, "", headers).await;
        assert_eq!(got.header("x-usertap-error"), "upstream-broken", "{path}");
    }
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_that_ask_beforehand_cost_the_strangers_share_and_are_never_refused_for_it() {
    let limit = Rate {
        requests: 10,
        per: Duration::from_secs(600),
    };
    let rig = Rig::with(|config| config.rate = vec![limit.into()]).await;
    for asked in 0..8 {
        rig.answers(200, "");
        // No browser shows a key; whoever does gets no more for it.
        let own_key = [PREFLIGHT, US].concat();
        let got = rig.ask_as("OPTIONS", &path(1), "", &own_key).await;
        match asked {
            0 | 1 => assert_eq!(got.status, 200),
            _ => is_allowed(&got, "limited"),
        }
    }
    assert_eq!(rig.seen().len(), 2);
    assert_eq!(rig.ask("GET", &path(1), "").await.status, 200);
    rig.end().await;
}
