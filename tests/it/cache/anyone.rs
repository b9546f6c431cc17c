//! A provider that asks for no key: whoever reaches it is the tenant's own, and has kept answers as a
//! server with a key has.

use ::http::Method;
use serde_json::{Value, json};

use super::Told;
use crate::support::http::Reply;
use crate::support::shapes::Shaped;

const ADA: &str = "/admin/identities/8b2d5a3e-1111-4c1a-9a37-000000000001";

fn identity() -> Value {
    json!({"id": "8b2d5a3e-1111-4c1a-9a37-000000000001", "schema_id": "default", "traits": {"name": "Ada"},
           "created_at": "2024-01-02T03:04:05.678Z", "updated_at": "2024-01-02T03:04:05.678Z"})
}

async fn kratos(settings: &[(&str, &str)], ttl: &str) -> Shaped {
    let settings = [settings, &[("USERTAP_CACHE_TTL", ttl)]].concat();
    Shaped::start("kratos", &settings, |shapes| {
        let nobody =
            r#"{"error":{"code":404,"status":"Not Found","message":"Unable to locate the resource"}}"#;
        shapes.on("GET /admin/identities/", 404, nobody);
        shapes.on(&format!("GET {ADA}"), 200, identity());
    })
    .await
}

async fn get(world: &Shaped, target: &str, headers: &[(&str, &str)]) -> Reply {
    world.served.ask(Method::GET, target, headers, &Value::Null).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_nothing_where_no_key_is_asked_for_has_kept_answers() {
    let world = kratos(&[], "10m").await;
    let first = get(&world, ADA, &[]).await;
    assert_eq!(first.cached(), "miss; absent");
    assert!(first.recorded().starts_with("committed"), "{}", first.recorded());
    assert_eq!(get(&world, ADA, &[]).await.cached(), "hit; fresh");
    // Who shows something is somebody else.
    let shows = [("cookie", "ory_kratos_session=x")];
    assert_eq!(get(&world, ADA, &shows).await.cached(), "miss; absent");
    let twice = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
    for _ in 0..2 {
        let got = get(&world, ADA, &twice).await;
        let said = (got.cached(), got.recorded());
        assert_eq!(said, ("bypass; foreign-tenant", "none; foreign-tenant"));
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_older_ones_while_the_provider_is_away() {
    let world = kratos(&[], "1ms").await;
    assert!(get(&world, ADA, &[]).await.cached().starts_with("miss"));
    // Somebody without a session is nobody's refusal.
    world.shapes.on("GET /sessions/whoami", 401, "{}");
    assert_eq!(get(&world, "/sessions/whoami", &[]).await.status, 401);
    world.shapes.on(&format!("GET {ADA}"), 503, "{}");
    let stale = get(&world, ADA, &[]).await;
    assert_eq!(
        (stale.status.as_u16(), stale.cached()),
        (200, "stale; upstream-error")
    );
    assert_eq!(stale.json()["traits"]["name"], "Ada");
    // A server that has come to ask for a key.
    world.shapes.on(&format!("GET {ADA}"), 401, "{}");
    assert_eq!(get(&world, ADA, &[]).await.status, 401);
    world.shapes.on(&format!("GET {ADA}"), 503, "{}");
    assert_eq!(get(&world, ADA, &[]).await.status, 503);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_usertap_has_a_key_who_shows_none_is_nobody() {
    let world = kratos(&[("ORY_API_KEY", "ory_pat_1")], "10m").await;
    for _ in 0..2 {
        let got = get(&world, ADA, &[]).await;
        assert!(!got.cached().starts_with("hit"), "{}", got.cached());
    }
    world.end().await;
}
