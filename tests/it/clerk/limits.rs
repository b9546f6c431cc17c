//! What Clerk counts for each user by itself.

use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use serde_json::json;
use usertap::config::Rate;
use usertap::sandbox::{Action, Canned, Fault, Options};

use super::Clerk;

fn limited() -> Options {
    let rate = Rate {
        requests: 100_000,
        per: Duration::from_secs(10),
    };
    Options {
        rate: Some(rate),
        ..Options::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_updates_of_one_user_at_once_earn_no_refusal_though_one_is_held_up_on_its_way() {
    // The last ones wait for ten seconds and longer: half of it is theirs.
    let clerk = Clerk::new(0, limited(), &[("USERTAP_TIMEOUT", "60s")]).await;
    let ada = clerk.create("ada@example.com").await;
    let path = format!("/users/{ada}/metadata");
    let held_up = Action::Delay(Duration::from_secs(2));
    clerk.control().fault(Fault::on("/metadata", held_up));
    let updates = (0..20).map(|n| clerk.ask(Method::PATCH, &path, json!({"public_metadata": {"n": n}})));
    for reply in join_all(updates).await {
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    clerk.is_level(&ada).await;
    clerk.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_would_wait_too_long_is_told_so_in_clerks_shape() {
    // Half of it is less than the ten seconds after which there is a place again.
    let clerk = Clerk::new(0, limited(), &[("USERTAP_TIMEOUT", "15s")]).await;
    let ada = clerk.create("ada@example.com").await;
    let path = format!("/users/{ada}/metadata");
    let updates = (0..12).map(|_| clerk.ask(Method::PATCH, &path, json!({"public_metadata": {}})));
    let replies = join_all(updates).await;
    let refused: Vec<_> = replies.iter().filter(|reply| reply.status == 429).collect();
    assert_eq!(refused.len(), 2);
    for reply in refused {
        assert_eq!(reply.header("x-usertap-error"), Some("rate-limited"));
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
        assert_eq!(reply.json()["errors"][0]["code"], "rate-limited");
    }
    clerk.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_one_users_updates_holds_up_nobody_else() {
    let clerk = Clerk::new(2, Options::default(), &[]).await;
    let ada = clerk.create("ada@example.com").await;
    let refusal =
        Canned::new(429, r#"{"errors":[{"code":"too_many_requests"}]}"#).header("retry-after", "3000");
    clerk
        .control()
        .fault(Fault::on("/metadata", Action::Reject(refusal)));
    let path = format!("/users/{ada}/metadata");
    let update = async || {
        clerk
            .ask(Method::PATCH, &path, json!({"public_metadata": {}}))
            .await
    };
    let refused = update().await;
    assert_eq!(
        (refused.status.as_u16(), refused.header("x-usertap-error")),
        (429, None),
        "the provider's own"
    );
    assert_eq!(clerk.get("/users").await.status, 200, "nobody else waits");
    let held = update().await;
    assert_eq!(
        (held.status.as_u16(), held.header("x-usertap-error")),
        (429, Some("rate-limited"))
    );
    clerk.end().await;
}
