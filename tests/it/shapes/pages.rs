//! An app that pages by the provider's absolute links stays with the proxy.

use ::http::Method;
use serde_json::{Value, json};

use crate::support::http::Reply;
use crate::support::shapes::Shaped;

pub const PAGE: &str = "/api/v1/users?limit=1";

fn user(id: &str) -> Value {
    json!({"id": id, "status": "ACTIVE", "created": "2024-01-02T03:04:05.678Z", "lastUpdated": "2024-01-02T03:04:05.000Z",
           "profile": {"firstName": id, "email": "ada@example.com", "login": "ada@example.com"}})
}

pub async fn okta(settings: &[(&str, &str)]) -> Shaped {
    let settings: Vec<_> = [("OKTA_CLIENT_TOKEN", "00token")]
        .iter()
        .chain(settings)
        .copied()
        .collect();
    let world = Shaped::start("okta", &settings, |shapes| {
        let nobody = r#"{"errorCode":"E0000007","errorSummary":"Not found: Resource not found"}"#;
        shapes.on("GET /api/v1/users/", 404, nobody);
    })
    .await;
    let own = format!("http://{}", world.address);
    let next = format!("<{own}{PAGE}>; rel=\"self\", <{own}/api/v1/users?after=00u1&limit=1>; rel=\"next\"");
    world
        .shapes
        .on("GET /api/v1/users?after=00u1", 200, json!([user("00u2")]));
    world.shapes.with(
        &format!("GET {PAGE}"),
        200,
        &[("link", &next)],
        json!([user("00u1")]),
    );
    world
}

async fn ask(world: &Shaped, target: &str, host: Option<&str>) -> Reply {
    let host = host.map(|host| ("host", host));
    let headers: Vec<_> = [("authorization", "SSWS 00token")]
        .into_iter()
        .chain(host)
        .collect();
    world
        .served
        .ask(Method::GET, target, &headers, &Value::Null)
        .await
}

/// The URL of the next page, as an app is told it.
pub fn next(reply: &Reply) -> &str {
    let link = reply.header("link").expect("a link");
    let next = link
        .split(", ")
        .find(|link| link.ends_with("rel=\"next\""))
        .expect("a next page");
    next.trim_start_matches('<').split('>').next().expect("a URL")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_page_is_asked_for_at_the_proxy_and_recorded() {
    let world = okta(&[]).await;
    let proxy = format!("http://{}", world.served.listen());
    for kept in ["miss", "hit"] {
        let first = ask(&world, PAGE, None).await;
        let word = first.header("x-usertap-cache").expect("a word");
        assert!(word.starts_with(kept), "{word}");
        let link = first.header("link").expect("a link");
        assert!(!link.contains(&world.address.to_string()), "{link}");
        assert!(next(&first).starts_with(&proxy), "{link}");
    }
    let first = ask(&world, PAGE, None).await;
    let target = next(&first)
        .strip_prefix(&proxy)
        .expect("the proxy's own address");
    assert_eq!(ask(&world, target, None).await.json()[0]["id"], "00u2");
    assert!(world.served.row("00u2").await.is_some());
    // By another name it has another address, and nothing kept for the one is given to the other.
    let other = ask(&world, PAGE, Some("proxy.internal:8400")).await;
    assert!(next(&other).starts_with("http://proxy.internal:8400/api/v1/users?after="));
    assert!(next(&ask(&world, PAGE, None).await).starts_with(&proxy));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_public_url_that_is_the_address() {
    let world = okta(&[("USERTAP_PUBLIC_URL", "https://auth.example.com/base")]).await;
    let first = ask(&world, &format!("/base{PAGE}"), None).await;
    let target = next(&first)
        .strip_prefix("https://auth.example.com")
        .expect("the public URL");
    assert_eq!(ask(&world, target, None).await.json()[0]["id"], "00u2");
    world.end().await;
}
