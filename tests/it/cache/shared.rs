//! One request at a time for each answer, and what is never kept at all.

use futures_util::future::join_all;
use http::Method;
use serde_json::json;
use usertap::sandbox::{Action, Canned, Fault, Gate};

use super::{Told, keeping, with};
use crate::support::eventually;
use crate::support::http::Reply;

#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_at_once_are_one_request() {
    let stack = keeping().await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let (path, gate) = (format!("/users/{ada}"), Gate::new());
    let reader = stack.server(0).raw("accept-language", "en");
    stack.control().forget_traffic();
    stack
        .control()
        .fault(Fault::on(&path, Action::HoldBefore(gate.clone())));
    let asking = join_all((0..8).map(|_| stack.get(&reader, &path)));
    let releasing = async {
        gate.reached().await;
        gate.release();
    };
    let (answers, ()) = tokio::join!(asking, releasing);
    let mut words: Vec<&str> = answers.iter().map(Told::cached).collect();
    words.sort_unstable();
    assert_eq!(words.last(), Some(&"miss; absent"));
    assert!(
        words.iter().filter(|word| word.starts_with("hit")).count() == 7,
        "{words:?}"
    );
    assert!(answers.iter().all(|got| got.json()["display_name"] == "Ada"));
    assert_eq!(stack.control().count(&Method::GET, "/users/{id}"), 1);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waited_for_one_that_failed_asks_for_himself() {
    let stack = keeping().await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let path = format!("/users/{ada}");
    let reader = stack.server(0).raw("accept-language", "en");
    stack
        .control()
        .fault(Fault::on(&path, Action::Reject(Canned::new(500, "no"))));
    let answers = join_all((0..8).map(|_| stack.get(&reader, &path))).await;
    let failed = answers.iter().filter(|got| got.status == 500).count();
    assert_eq!(failed, 1);
    assert!(
        answers
            .iter()
            .filter(|got| got.status != 500)
            .all(|got| got.json()["display_name"] == "Ada")
    );
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_fails_nobody_who_waits() {
    let stack = keeping().await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let (path, gate) = (format!("/users/{ada}"), Gate::new());
    let reader = stack.server(0).raw("accept-language", "en");
    stack.control().forget_traffic();
    stack
        .control()
        .fault(Fault::on(&path, Action::HoldBefore(gate.clone())));
    {
        let first = reader.send(stack.serving().listen, Method::GET, &path, String::new());
        tokio::select! {
            _ = first => unreachable!("it is held"),
            () = gate.reached() => {}
        }
    }
    let others = join_all((0..4).map(|_| stack.get(&reader, &path)));
    let releasing = async { gate.release() };
    let (answers, ()) = tokio::join!(others, releasing);
    assert!(
        answers
            .iter()
            .all(|got| got.cached().starts_with("hit") && got.json()["display_name"] == "Ada")
    );
    assert_eq!(stack.control().count(&Method::GET, "/users/{id}"), 1);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_everybodys_own_and_never_kept() {
    let stack = keeping().await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let path = format!("/users/{ada}");
    let reader = stack.server(0).raw("accept-language", "en");
    for (status, headers) in [
        (500, vec![]),
        (503, vec![("retry-after", "1")]),
        (400, vec![]),
        (403, vec![]),
        (301, vec![("location", "/elsewhere")]),
        (204, vec![]),
        (
            200,
            vec![
                ("x-stack-actual-status", "401"),
                ("x-stack-known-error", "INVALID_SECRET_SERVER_KEY"),
            ],
        ),
        (200, vec![("x-stack-actual-status", "500")]),
        (200, vec![("set-cookie", "a=1")]),
        (200, vec![("vary", "*")]),
    ] {
        let user = stack.control().server_view(0, ada).expect("a user").to_string();
        let body = if status == 204 { String::new() } else { user };
        let canned = headers
            .iter()
            .fold(Canned::new(status, body), |canned, (name, value)| {
                canned.header(name, value)
            });
        stack.control().fault(Fault::on(&path, Action::Reject(canned)));
        let got = stack.get(&reader, &path).await;
        assert_eq!(
            (got.status.as_u16(), got.cached().starts_with("miss")),
            (status, true),
            "{headers:?}"
        );
        assert_eq!(stack.control().faults_left(), 0, "{status} {headers:?}");
    }
    assert!(stack.get(&reader, &path).await.cached().starts_with("miss"));
    assert_eq!(stack.get(&reader, &path).await.cached(), "hit; fresh");
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_again_is_byte_for_byte_what_came() {
    let stack = keeping().await;
    let ada = stack.known_user(json!({ "display_name": "Zo\u{eb}" })).await;
    let path = format!("/users/{ada}");
    let reader = stack.server(0).raw("accept-language", "en");
    let odd = stack
        .control()
        .server_view(0, ada)
        .expect("a user")
        .to_string()
        .replace(',', ", \n");
    let canned = Canned::new(200, odd.clone())
        .header("content-type", "application/json")
        .header("x-stack-request-id", "this-one-alone")
        .header("cache-control", "no-store, max-age=0");
    stack.control().fault(Fault::on(&path, Action::Reject(canned)));
    let first = stack.get(&reader, &path).await;
    let again = stack.get(&reader, &path).await;
    assert_eq!((first.cached(), again.cached()), ("miss; absent", "hit; fresh"));
    assert_eq!((first.text(), again.text()), (odd.clone(), odd));
    assert_eq!(again.header("content-type"), Some("application/json"));
    assert_eq!(again.header("cache-control"), Some("no-store, max-age=0"));
    let of_provider = |got: &Reply| {
        let mut headers = got.headers.clone();
        for not_its in [
            "x-usertap-cache",
            "x-usertap-recorded",
            "age",
            "x-stack-request-id",
            // The connection's.
            "transfer-encoding",
            "content-length",
        ] {
            headers.remove(not_its);
        }
        headers
    };
    assert_eq!(of_provider(&first), of_provider(&again));
    assert_eq!(first.header("x-stack-request-id"), Some("this-one-alone"));
    assert_eq!(again.header("x-stack-request-id"), None);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_answer_is_kept_as_it_is() {
    let stack = keeping().await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let path = format!("/users/{ada}");
    let reader = stack.server(0).raw("accept-encoding", "gzip");
    stack.control().fault(Fault::on(&path, Action::Gzip));
    let first = stack.get(&reader, &path).await;
    let again = stack.get(&reader, &path).await;
    assert_eq!(
        (again.cached(), again.header("content-encoding")),
        ("hit; fresh", Some("gzip"))
    );
    assert_eq!(first.body, again.body);
    // Another encoding is another answer.
    assert_eq!(
        stack
            .get(&stack.server(0), &path)
            .await
            .header("content-encoding"),
        None
    );
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_large_answer_does_not_take_the_place_of_many() {
    let stack = with(&[("USERTAP_CACHE_SIZE", "1MiB")]).await;
    let large = json!({ "client_metadata": { "large": "x".repeat(200 << 10) } });
    let (ada, large) = (stack.user(json!({})), stack.user(large));
    let server = stack.server(0);
    for (user, words) in [
        (ada, ["miss; absent", "hit; fresh"]),
        (large, ["miss; absent", "miss; absent"]),
        (ada, ["hit; fresh", "hit; fresh"]),
    ] {
        for word in words {
            let got = stack.get(&server, &format!("/users/{user}")).await;
            assert_eq!(got.cached(), word, "{}", user == large);
        }
    }
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_not_found_is_kept_for_a_moment() {
    let stack = keeping().await;
    let path = format!("/users/{}", uuid::Uuid::new_v4());
    let server = stack.server(0);
    assert_eq!(stack.get(&server, &path).await.cached(), "miss; absent");
    let again = stack.get(&server, &path).await;
    assert_eq!((again.cached(), again.effective_status()), ("hit; fresh", 404));
    eventually("it is asked for again", || async {
        (stack.get(&server, &path).await.cached() == "miss; expired").then_some(())
    })
    .await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_on_a_kept_route_says_so() {
    let stack = keeping().await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let server = stack.server(0);
    for (path, word) in [
        (format!("/contact-channels?user_id={ada}"), "bypass; route"),
        ("/nobody-knows/this".to_owned(), "bypass; route"),
    ] {
        assert_eq!(stack.get(&server, &path).await.cached(), word, "{path}");
    }
    let patched = stack.patch(&server, &format!("/users/{ada}"), json!({})).await;
    assert_eq!(patched.cached(), "bypass; method");
    let own = stack.own(&server, "/_usertap/healthz").await;
    assert_eq!(own.header("x-usertap-cache"), None);
    stack.end().await;
}
