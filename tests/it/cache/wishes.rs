//! What a request's own `Cache-Control` asks for: no older than so much, or nothing but what is kept.

use ::http::Method;
use serde_json::{Value, json};

use super::Told;
use crate::support::http::Reply;
use crate::support::shapes::Shaped;

const USERS: &str = "/user_management/users/";

/// What the provider says is a hundred seconds old when it comes.
async fn workos(settings: &[(&str, &str)]) -> Shaped {
    let own = [("WORKOS_API_KEY", "sk_1"), ("USERTAP_CACHE_TTL", "10m")];
    Shaped::start("workos", &[&own[..], settings].concat(), |shapes| {
        shapes.on(&format!("GET {USERS}"), 404, r#"{"code":"entity_not_found"}"#);
        for id in ["user_01A", "user_01B"] {
            let user = json!({"object": "user", "id": id, "email": "ada@example.com",
                              "created_at": "2024-01-02T03:04:05.678Z", "updated_at": "2024-01-02T03:04:05.678Z"});
            shapes.with(&format!("GET {USERS}{id}"), 200, &[("age", "100")], user);
        }
    })
    .await
}

async fn get(world: &Shaped, id: &str, wish: &str) -> Reply {
    let headers = [("authorization", "Bearer sk_1"), ("cache-control", wish)];
    let target = format!("{USERS}{id}");
    world
        .served
        .ask(Method::GET, &target, &headers, &Value::Null)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_given_what_is_older_than_it_asked_for() {
    let world = workos(&[]).await;
    get(&world, "user_01A", "private").await;
    for heard in ["max-age=600", "max-age=\"600\"", "max-age=soon", "private"] {
        assert_eq!(
            get(&world, "user_01A", heard).await.cached(),
            "hit; fresh",
            "{heard}"
        );
    }
    for too_old in ["max-age=60", "private, Max-Age=1"] {
        assert_eq!(
            get(&world, "user_01A", too_old).await.cached(),
            "miss; expired",
            "{too_old}"
        );
    }
    assert_eq!(
        get(&world, "user_01A", "max-age=0").await.cached(),
        "bypass; no-cache"
    );
    // Nor for want of the provider.
    world.shapes.on(&format!("GET {USERS}user_01A"), 503, "{}");
    assert_eq!(get(&world, "user_01A", "max-age=60").await.status, 503);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_nothing_but_what_is_kept_costs_the_provider_nothing() {
    let world = workos(&[]).await;
    get(&world, "user_01A", "private").await;
    let asked = world.shapes.asked().len();
    let kept = get(&world, "user_01A", "only-if-cached").await;
    assert_eq!((kept.status.as_u16(), kept.cached()), (200, "hit; fresh"));
    for (id, wish) in [
        ("user_01B", "only-if-cached"),
        ("user_01A", "max-age=1, only-if-cached"),
        ("user_01A", "no-cache, Only-If-Cached"),
    ] {
        let got = get(&world, id, wish).await;
        assert_eq!(got.status, 504, "{wish}: {}", got.text());
        assert_eq!(got.header("x-usertap-error"), Some("not-kept"));
    }
    assert_eq!(world.shapes.asked().len(), asked);
    world.end().await;
}
