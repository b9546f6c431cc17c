//! What an app gets while the provider fails.

use std::time::Duration;

use ::http::Method;
use serde_json::{Value, json};
use usertap::sandbox::{Action, Canned, Fault, Gate};
use uuid::Uuid;

use super::{Told, with};
use crate::support::eventually;
use crate::support::http::Reply;
use crate::support::stack::{Caller, Stack};

/// Nothing is fresh for long, and everything is good enough in an outage.
async fn stack() -> Stack {
    with(&[("USERTAP_CACHE_TTL", "1ms"), ("USERTAP_STALE_IF_ERROR", "1h")]).await
}

fn is_error(got: &Reply, word: &str) {
    let said = (got.header("x-usertap-error"), got.header("x-usertap-cache"));
    assert_eq!(said, (Some(word), Some("bypass; own-answer")), "{}", got.text());
    assert!(got.header("retry-after").is_some());
}

fn is_stale(got: &Reply, words: &[&str], name: &str) {
    assert!(words.contains(&got.cached()), "{}: {}", got.cached(), got.text());
    assert_eq!(
        (got.status.as_u16(), &got.json()["display_name"]),
        (200, &json!(name))
    );
    assert_eq!(got.recorded(), "committed; unchanged");
}

const AWAY: &[&str] = &["stale; upstream-unreachable", "stale; breaker-open"];

#[tokio::test(flavor = "multi_thread")]
async fn reads_of_known_users_go_on_and_writes_fail_plainly() {
    let stack = stack().await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let bob = stack.known_user(json!({ "display_name": "Bob" })).await;
    let (server, me, path) = (stack.server(0), stack.signed_in(0, ada), format!("/users/{ada}"));
    for (caller, path) in [(&server, &*path), (&me, "/users/me"), (&server, "/users?limit=5")] {
        assert_eq!(stack.get(caller, path).await.status, 200);
    }
    stack.kill_provider();
    let down = || async {
        let got = stack.get(&server, &path).await;
        got.cached().starts_with("stale").then_some(())
    };
    eventually("the provider is down", down).await;
    for _ in 0..8 {
        let kept = stack.get(&server, &path).await;
        is_stale(&kept, AWAY, "Ada");
        assert!(kept.header("age").is_some());
        is_stale(&stack.get(&me, "/users/me").await, AWAY, "Ada");
    }
    let list = stack.get(&server, "/users?limit=5").await;
    assert!(AWAY.contains(&list.cached()) && list.json()["items"].is_array());
    // Known to the table alone, and to nobody but who has usertap's own key.
    let other_key = server.clone().with("secret-server-key", "ssk_of_another");
    is_stale(&stack.get(&server, &format!("/users/{bob}")).await, AWAY, "Bob");
    let stranger = stack.signed_in(0, bob);
    for (caller, path) in [
        (&other_key, path.clone()),
        (&stranger, "/users/me".to_owned()),
        (&stranger, format!("/users/{bob}")),
        (&server, format!("/users/{}", Uuid::new_v4())),
        (&server, "/users?limit=6".to_owned()),
        // Who wants it fresh or not at all.
        (&server.clone().raw("cache-control", "no-cache"), path.clone()),
    ] {
        let got = stack.get(caller, &path).await;
        assert!(matches!(got.status.as_u16(), 502 | 503), "{path}: {}", got.text());
    }
    let written = stack.patch(&server, &path, json!({ "display_name": "no" })).await;
    assert!(matches!(written.status.as_u16(), 502 | 503));
    assert!(written.header("retry-after").is_some());
    is_stale(&stack.get(&server, &path).await, AWAY, "Ada");
    stack.provider_is_gone();
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_an_outage_is_bearable() {
    let mut stack = stack().await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let gone = stack.known_user(json!({ "display_name": "Gone" })).await;
    let (server, path) = (stack.server(0), format!("/users/{ada}"));
    stack.delete(&server, &format!("/users/{gone}")).await;
    let me = stack.signed_in(0, ada);
    stack.get(&me, "/users/me").await;
    stack.settled().await;
    let known = stack.control().server_view(0, ada).expect("a user");
    stack.kill_provider();
    stack.restart().await;
    let got = stack.get(&server, &path).await;
    is_stale(&got, AWAY, "Ada");
    let steady = |mut user: Value| {
        user.as_object_mut()
            .expect("a user")
            .remove("last_active_at_millis");
        user
    };
    assert_eq!(steady(got.json()), steady(known));
    assert_eq!(
        got.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    for (caller, path) in [
        (&server, format!("/users/{gone}")),
        (&me, "/users/me".to_owned()),
        (&stack.admin(0), path.clone()),
    ] {
        assert!(
            stack.get(caller, &path).await.header("x-usertap-error").is_some(),
            "{path}"
        );
    }
    stack.provider_is_gone();
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_has_every_number_as_the_row_has_it() {
    let mut stack = stack().await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let (server, path) = (stack.server(0), format!("/users/{ada}"));
    stack.settled().await;
    let account = "\"server_metadata\":{\"account\":12345678901234567890123}";
    let told = stack.control().server_view(0, ada).expect("a user").to_string();
    let told = Action::Body(told.replace("\"server_metadata\":null", account).into());
    stack.control().fault(Fault::on(&path, told).method(Method::GET));
    let fresh = server.clone().raw("cache-control", "max-age=0");
    stack.get(&fresh, &path).await;
    stack.settled().await;
    stack.kill_provider();
    stack.restart().await;
    let got = stack.get(&server, &path).await;
    is_stale(&got, AWAY, "Ada");
    assert!(got.text().contains("12345678901234567890123"), "{}", got.text());
    stack.provider_is_gone();
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_than_allowed_is_not_given() {
    let stack = with(&[("USERTAP_CACHE_TTL", "1ms"), ("USERTAP_STALE_IF_ERROR", "50ms")]).await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let me = stack.signed_in(0, ada);
    stack.get(&me, "/users/me").await;
    let asked = || async {
        stack
            .control()
            .fault(Fault::on("/users/me", Action::Reject(Canned::new(500, "no"))));
        (stack.get(&me, "/users/me").await.status == 500).then_some(())
    };
    eventually("it is too old", asked).await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_meanwhile_is_never_given_as_it_was() {
    let stack = stack().await;
    let ada = stack.known_user(json!({ "display_name": "old" })).await;
    let (server, me, path) = (stack.server(0), stack.signed_in(0, ada), format!("/users/{ada}"));
    stack.get(&me, "/users/me").await;
    stack
        .patch(&server, &path, json!({ "display_name": "new" }))
        .await;
    stack.kill_provider();
    eventually("the provider is down", || async {
        let got = stack.get(&server, &path).await;
        got.cached().starts_with("stale").then_some(())
    })
    .await;
    is_stale(&stack.get(&server, &path).await, AWAY, "new");
    assert!(
        stack
            .get(&me, "/users/me")
            .await
            .header("x-usertap-error")
            .is_some()
    );
    stack.provider_is_gone();
    stack.end().await;
}

/// Whoever asks waits for the provider meanwhile, which fails in the end.
#[tokio::test(flavor = "multi_thread")]
async fn what_changes_while_it_is_asked_for_is_not_given_as_it_was() {
    let stack = stack().await;
    let ada = stack.known_user(json!({ "display_name": "old" })).await;
    let (server, me, path) = (stack.server(0), stack.signed_in(0, ada), format!("/users/{ada}"));
    assert_eq!(stack.get(&me, "/users/me").await.status, 200);
    let gate = Gate::new();
    let held = Fault::on("/users/me", Action::HoldBefore(gate.clone()));
    stack.control().fault(held);
    let meanwhile = async {
        gate.reached().await;
        let new = json!({ "display_name": "new" });
        assert_eq!(stack.patch(&server, &path, new).await.status, 200);
        stack.kill_provider();
    };
    let (got, ()) = tokio::join!(stack.get(&me, "/users/me"), meanwhile);
    // It is asked once more, and a provider that is on its way out may still answer that.
    let is_new = got.cached().starts_with("miss") && got.json()["display_name"] == "new";
    assert!(
        is_new || got.header("x-usertap-error").is_some(),
        "{}: {}",
        got.cached(),
        got.text()
    );
    stack.provider_is_gone();
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn junk_does_not_cost_what_helps_to_bear_an_outage() {
    let stack = stack().await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let me = stack.signed_in(0, ada);
    stack.get(&me, "/users/me").await;
    let junk = stack.browser(0).with("publishable-client-key", "pck_junk");
    for (path, body) in [
        ("/auth/password/reset", json!({ "password": "x", "code": "y" })),
        ("/no/such/route", json!({})),
    ] {
        let fault = Fault::on(path, Action::Reject(Canned::new(500, "away")));
        stack.control().fault(fault.method(Method::POST));
        assert_eq!(stack.post(&junk, path, body).await.status, 500, "{path}");
        stack
            .control()
            .fault(Fault::on("/users/me", Action::Reject(Canned::new(500, "away"))));
        is_stale(
            &stack.get(&me, "/users/me").await,
            &["stale; upstream-error"],
            "Ada",
        );
    }
    stack.end().await;
}

/// With nothing kept at all, there is still the row.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_a_fresh_answer_is_given_no_row_either() {
    let stack = with(&[("USERTAP_CACHE_TTL", "0"), ("USERTAP_STALE_IF_ERROR", "1h")]).await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let (server, path) = (stack.server(0), format!("/users/{ada}"));
    let fails = || {
        let away = Action::Reject(Canned::new(503, "away"));
        stack.control().fault(Fault::on(&path, away));
    };
    fails();
    is_stale(
        &stack.get(&server, &path).await,
        &["stale; upstream-error"],
        "Ada",
    );
    // Nor is he who names an age: nobody knows that of a row.
    for wish in ["no-cache", "max-age=0", "max-age=3600"] {
        fails();
        let got = stack.get(&server.clone().raw("cache-control", wish), &path).await;
        assert_eq!(got.status, 503, "{wish}: {}", got.text());
    }
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_not_found_is_not_given_in_an_outage() {
    let stack = stack().await;
    let server = stack.server(0);
    let path = format!("/users/{}", Uuid::new_v4());
    // The provider has taken these credentials.
    assert_eq!(stack.get(&server, "/users?limit=1").await.status, 200);
    assert_eq!(stack.get(&server, &path).await.effective_status(), 404);
    stack
        .control()
        .fault(Fault::on(&path, Action::Reject(Canned::new(500, "away"))));
    let got = stack.get(&server, &path).await;
    assert_eq!(
        (got.status.as_u16(), got.text()),
        (500, "away".into()),
        "{}",
        got.cached()
    );
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_fails_in_a_row_is_left_alone_and_asked_gently() {
    let stack = stack().await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let (server, path) = (stack.server(0), format!("/users/{ada}"));
    stack.control().forget_traffic();
    for _ in 0..6 {
        stack
            .control()
            .fault(Fault::on(&path, Action::Reject(Canned::new(503, "away"))));
    }
    for _ in 0..5 {
        is_stale(
            &stack.get(&server, &path).await,
            &["stale; upstream-error"],
            "Ada",
        );
    }
    // On a busy machine it has rested by then: the write tries, meets the last failure and is in doubt.
    eventually("it is left alone", || async {
        let got = stack.patch(&server, &path, json!({})).await;
        got.header("x-usertap-error")?;
        is_error(&got, "breaker-open");
        Some(())
    })
    .await;
    let status = stack.status().await;
    assert_eq!(status["provider"]["breaker"], "open");
    let problem = &status["problems"][0];
    assert_eq!(problem["word"], "provider-fails");
    let what = problem["what"].as_str().unwrap();
    assert!(
        what.ends_with("its last failure: it answered 503 Service Unavailable"),
        "{what}"
    );
    is_stale(&stack.get(&server, &path).await, &["stale; breaker-open"], "Ada");
    // Behind such answers one tries and meets the last failure, if nobody has, and one ends it.
    eventually("it is asked again", || async {
        stack
            .get(&server, &path)
            .await
            .cached()
            .starts_with("miss")
            .then_some(())
    })
    .await;
    let asked = stack.control().count(&Method::GET, "/users/{id}");
    assert!((7..=10).contains(&asked), "{asked}");
    assert_eq!(stack.status().await["provider"]["breaker"], "closed");
    stack.end().await;
}

/// A provider that takes every request and answers none.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_can_be_given_something_waits_for_the_request_that_tries() {
    let stack = with(&[
        ("USERTAP_CACHE_TTL", "1ms"),
        ("USERTAP_STALE_IF_ERROR", "1h"),
        ("USERTAP_TIMEOUT", "60s"),
    ])
    .await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let bob = stack.known_user(json!({ "display_name": "Bob" })).await;
    let (server, path) = (stack.server(0), format!("/users/{ada}"));
    // For the one an answer is kept, for the other, with a header more, there is the row.
    let other = server.clone().raw("x-other", "1");
    let hung = async |caller: &Caller, path: &str, name: &str, kept: u64| {
        for _ in 0..5 {
            stack
                .control()
                .fault(Fault::on(path, Action::Reject(Canned::new(503, "away"))));
            is_stale(&stack.get(caller, path).await, &["stale; upstream-error"], name);
        }
        let gate = Gate::new();
        stack
            .control()
            .fault(Fault::on(path, Action::HoldBefore(gate.clone())));
        eventually("it is asked again", async || {
            is_stale(&stack.get(caller, path).await, &["stale; breaker-open"], name);
            (stack.control().faults_left() == 0).then_some(())
        })
        .await;
        assert_eq!(stack.status().await["provider"]["breaker"], "half-open");
        is_stale(&stack.get(caller, path).await, &["stale; breaker-open"], name);
        let fresh = caller.clone().raw("cache-control", "no-cache");
        is_error(&stack.get(&fresh, path).await, "breaker-open");
        gate.release();
        eventually("the provider has answered, and that is kept", async || {
            let status = stack.status().await;
            let said = (&status["provider"]["breaker"], &status["cache"]["entries"]);
            (said == (&json!("closed"), &json!(kept))).then_some(())
        })
        .await;
        let got = eventually("it is asked for", async || {
            let got = stack.get(caller, path).await;
            (got.cached() != "hit; fresh").then_some(got)
        })
        .await;
        assert_eq!(
            (got.status.as_u16(), got.cached()),
            (200, "miss; expired"),
            "{name}"
        );
    };
    hung(&server, &path, "Ada", 2).await;
    // What it brought behind the answers is kept: it was nothing but the row before.
    hung(&other, &format!("/users/{bob}"), "Bob", 3).await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_breaks_off_fails_plainly_and_its_user_is_read_again() {
    let stack = stack().await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let (server, path) = (stack.server(0), format!("/users/{ada}"));
    stack
        .control()
        .fault(Fault::on(&path, Action::Cut(20)).method(Method::PATCH));
    let written = stack
        .patch(&server, &path, json!({ "display_name": "Ada King" }))
        .await;
    is_error(&written, "upstream-broken");
    assert_eq!(written.status, 502);
    eventually("its row", || async {
        let row = stack.row(ada).await?;
        (row.name.as_deref() == Some("Ada King")).then_some(())
    })
    .await;
    stack.end().await;
}

/// A restart in an outage, and what of a user is known to be behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_may_be_behind_stands_in_for_nothing() {
    let mut stack = stack().await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let (server, path) = (stack.server(0), format!("/users/{ada}"));
    stack.settled().await;
    stack.kill_provider();
    stack.restart().await;
    is_stale(&stack.get(&server, &path).await, AWAY, "Ada");
    for (behind, settled) in [
        (
            format!("UPDATE usertap.user_state SET doubt = position WHERE id = '{ada}'"),
            format!("UPDATE usertap.user_state SET doubt = NULL WHERE id = '{ada}'"),
        ),
        (
            format!("INSERT INTO usertap.set_aside VALUES ('{ada}', '23514', 'no', 1, now(), now() + '1 h')"),
            "DELETE FROM usertap.set_aside".to_owned(),
        ),
    ] {
        stack.sql(&behind).await;
        let got = stack.get(&server, &path).await;
        assert!(
            got.header("x-usertap-error").is_some(),
            "{behind}: {}",
            got.cached()
        );
        stack.sql(&settled).await;
        is_stale(&stack.get(&server, &path).await, AWAY, "Ada");
    }
    stack.provider_is_gone();
    stack.end().await;
}

/// Whoever was told of a change is not shown the state before it.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_whose_change_waits_to_be_written_stands_in_for_nothing() {
    let settings = [
        ("USERTAP_CACHE_TTL", "0"),
        ("USERTAP_STALE_IF_ERROR", "1h"),
        ("USERTAP_SYNC_TIMEOUT", "5s"),
    ];
    let stack = with(&settings).await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let (server, path) = (stack.server(0), format!("/users/{ada}"));
    let fails = || {
        if stack.control().faults_left() == 0 {
            let away = Action::Reject(Canned::new(503, "away"));
            stack.control().fault(Fault::on(&path, away).method(Method::GET));
        }
    };
    let lock = format!("BEGIN; SELECT FROM neon_identity.users_sync WHERE id = '{ada}' FOR UPDATE");
    stack.sql(&lock).await;
    let wrote = stack
        .patch(&server, &path, json!({ "display_name": "Countess" }))
        .await;
    assert!(wrote.recorded().starts_with("journaled"), "{}", wrote.recorded());
    fails();
    let got = stack.get(&server, &path).await;
    assert_eq!(got.status, 503, "{}", got.text());
    stack.sql("ROLLBACK").await;
    let got = eventually("the change stands in the row", || async {
        fails();
        let got = stack.get(&server, &path).await;
        (got.status == 200).then_some(got)
    })
    .await;
    is_stale(
        &got,
        &["stale; upstream-error", "stale; breaker-open"],
        "Countess",
    );
    stack.end().await;
}

/// Everything that can go wrong, on everything that can be asked.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_nothing_wrong_is_kept_or_recorded() {
    let stack = with(&[
        ("USERTAP_CACHE_TTL", "1ms"),
        ("USERTAP_STALE_IF_ERROR", "1h"),
        ("USERTAP_TIMEOUT", "2s"),
    ])
    .await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let bob = stack.user(json!({ "display_name": "Bob" }));
    stack.unseen(bob);
    let server = stack.server(0);
    let list = "/users?limit=1&desc=false&order_by=signed_up_at";
    stack.get(&server, list).await;
    let rejects = |status, after: Option<&str>| {
        let canned = Canned::new(status, r#"{"error":"scripted"}"#);
        Action::Reject(
            after
                .into_iter()
                .fold(canned, |canned, after| canned.header("retry-after", after)),
        )
    };
    let faults: Vec<(&str, Action, &str)> = vec![
        ("drop", Action::Drop, "stale; upstream-broken"),
        ("hung", Action::HoldBefore(Gate::new()), "stale; upstream-timeout"),
        ("500", rejects(500, None), "stale; upstream-error"),
        ("503", rejects(503, Some("1")), "stale; upstream-error"),
        ("429", rejects(429, Some("1")), "stale; rate-limited"),
        ("429 without", rejects(429, None), "stale; rate-limited"),
    ];
    let kept = [
        (Method::GET, format!("/users/{ada}")),
        (Method::GET, list.to_owned()),
    ];
    let unknown = [(Method::GET, format!("/users/{bob}"))];
    // A write that may have been carried out ends what is kept: those come last.
    let writes = [(Method::PATCH, format!("/users/{ada}"))];
    for (asked, is_kept) in [(&kept[..], true), (&unknown, false), (&writes, false)] {
        for ((what, action, word), (method, path)) in faults
            .iter()
            .flat_map(|fault| asked.iter().map(move |ask| (fault, ask)))
        {
            let gate = Gate::new();
            let action = if *what == "hung" {
                Action::HoldBefore(gate.clone())
            } else {
                action.clone()
            };
            // A read is sent once more where its connection broke.
            let times = if *what == "drop" && method == Method::GET {
                2
            } else {
                1
            };
            for _ in 0..times {
                stack
                    .control()
                    .fault(Fault::on(path, action.clone()).method(method.clone()));
            }
            let body = if method == Method::PATCH {
                json!({ "display_name": "Ada" })
            } else {
                Value::Null
            };
            let got = stack.ask(&server, method.clone(), path, &body).await;
            match is_kept {
                true => assert_eq!((got.cached(), got.status.as_u16()), (*word, 200), "{what} {path}"),
                false => assert!(
                    got.status.is_server_error() || got.status == 429,
                    "{what} {path}: {}",
                    got.status
                ),
            }
            gate.release();
            eventually("no pause is left for the next", || async {
                let got = stack.get(&stack.admin(0), &format!("/users/{ada}")).await;
                (got.status == 200 && !got.cached().starts_with("stale")).then_some(())
            })
            .await;
        }
    }
    let broken: Vec<(&str, Action)> = vec![
        ("cut", Action::Cut(20)),
        ("empty", Action::Body("".into())),
        ("no JSON", Action::Body("<html>".into())),
        ("half", Action::Body(r#"{"id":"#.into())),
    ];
    for (what, action) in broken {
        let word = match what {
            "cut" => "stale; upstream-broken",
            _ => "miss; expired",
        };
        for path in [format!("/users/{ada}"), list.to_owned()] {
            stack.get(&server, &path).await;
            stack.control().fault(Fault::on(&path, action.clone()));
            let got = eventually("it is asked for", async || {
                let got = stack.send(&server, Method::GET, &path, String::new()).await;
                got.ok().filter(|got| got.cached() != "hit; fresh")
            })
            .await;
            assert_eq!(got.cached(), word, "{what} {path}");
            // The next one is not that.
            let next = stack.get(&server, &path).await;
            assert!(
                next.json()["id"] == json!(ada) || next.json()["items"].is_array(),
                "{what} {path}"
            );
        }
    }
    assert!(stack.row(bob).await.is_none());
    tokio::time::timeout(Duration::from_secs(60), stack.end())
        .await
        .expect("an end");
}

/// As where a gateway gives up on a list that takes too long, and on nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_walk_whose_list_fails_keeps_no_app_out() {
    let stack = with(&[("USERTAP_TIMEOUT", "60s")]).await;
    let ada = stack.user(json!({ "display_name": "Ada" }));
    const FAILURES: usize = 100;
    for _ in 0..FAILURES {
        stack
            .control()
            .fault(Fault::on("/users?", Action::Reject(Canned::new(504, "too slow"))));
    }
    stack.walk_begins("backfill").await;
    eventually("the list fails again and again", async || {
        (stack.control().faults_left() + 6 <= FAILURES).then_some(())
    })
    .await;
    let reply = stack.get(&stack.server(0), &format!("/users/{ada}")).await;
    assert_eq!(
        (
            reply.status.as_u16(),
            reply.header("x-usertap-error"),
            reply.cached()
        ),
        (200, None, "miss; absent")
    );
    assert_eq!(reply.json()["display_name"], "Ada");
    stack.control().forget_faults();
    stack.walk_ends("backfill").await;
    stack.end().await;
}
