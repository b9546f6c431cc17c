//! What real servers turned out to do that stand-ins had not: each as the server itself was seen to answer.

use ::http::Method;
use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::http::Reply;
use crate::support::shapes::{Shaped, Shapes};

mod parse {
    use super::*;

    const KEYS: [(&str, &str); 2] = [
        ("x-parse-application-id", "app"),
        ("x-parse-master-key", "master"),
    ];
    const ADA: &str = "/parse/users/ada0000001";
    const NOBODY: &str = r#"{"code":101,"error":"Object not found."}"#;

    fn ada() -> Value {
        json!({"objectId": "ada0000001", "createdAt": "2024-01-02T03:04:05.678Z", "updatedAt": "2024-01-02T03:04:05.678Z",
               "username": "ada", "email": "ada@example.com", "ACL": {"ada0000001": {"read": true, "write": true}}})
    }

    const SETTINGS: [(&str, &str); 4] = [
        ("PARSE_APP_ID", "app"),
        ("PARSE_MASTER_KEY", "master"),
        ("USERTAP_CACHE_TTL", "0"),
        ("USERTAP_SYNC_TIMEOUT", "3s"),
    ];

    fn has_ada(shapes: &Shapes) {
        shapes.on("GET /parse/users/", 404, NOBODY);
        shapes.on("GET /parse/schemas/_User", 200, r#"{"className":"_User"}"#);
        shapes.on("GET /parse/users?", 200, json!({"results": []}));
        shapes.on(&format!("GET {ADA}"), 200, ada());
    }

    async fn world() -> Shaped {
        let world = Shaped::by_file("parse", &SETTINGS, has_ada).await;
        assert!(read(&world).await.recorded().starts_with("committed"));
        world
    }

    async fn read(world: &Shaped) -> Reply {
        world.served.ask(Method::GET, ADA, &KEYS, &Value::Null).await
    }

    /// As with one that was taken back: everybody whom it had opened is answered to as somebody who is not there.
    fn takes_the_key_no_more(world: &Shaped) {
        world.shapes.on(&format!("GET {ADA}"), 404, NOBODY);
        let refused = r#"{"error":"unauthorized: master key is required"}"#;
        world.shapes.on("GET /parse/schemas/_User", 403, refused);
    }

    fn shows_what_anybody_may_see(world: &Shaped) {
        let mut public = ada();
        public.as_object_mut().expect("a user").remove("email");
        world.shapes.on(&format!("GET {ADA}"), 200, &public);
    }

    async fn has_kept_her_address(world: &Shaped) {
        let row = world.served.row("ada0000001").await.expect("a row");
        assert_eq!(row.email.as_deref(), Some("ada@example.com"));
    }

    async fn is_deleted(world: &Shaped) -> bool {
        world.served.count("deleted_at IS NOT NULL").await == 1
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_key_that_opens_nothing_any_more_deletes_nobody() {
        let world = world().await;
        takes_the_key_no_more(&world);
        let gone = read(&world).await;
        assert_eq!(gone.status, 404);
        assert_eq!(gone.recorded(), "none; reread-late");
        assert!(!is_deleted(&world).await);
        // Nor does a write whose user is to be read.
        let changed = json!({"updatedAt": "2024-01-03T03:04:05.678Z"});
        world.shapes.on(&format!("PUT {ADA}"), 200, changed);
        let changed = world
            .served
            .ask(Method::PUT, ADA, &KEYS, &json!({"name": "Ada"}))
            .await;
        assert_eq!(changed.recorded(), "none; reread-late");
        assert!(!is_deleted(&world).await);
        world.end().await;
    }

    /// What anybody may see of her is answered whatever the key.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_key_that_is_refused_is_so_until_it_opens_what_it_alone_does() {
        let world = world().await;
        takes_the_key_no_more(&world);
        read(&world).await;
        assert_eq!(problem(&world).await, "key-refused");
        shows_what_anybody_may_see(&world);
        let run = world.served.walk("backfill").await;
        assert_eq!(run["state"], "failed", "{run}");
        assert_eq!(problem(&world).await, "key-refused");
        has_kept_her_address(&world).await;
        world.end().await;
    }

    async fn problem(world: &Shaped) -> Value {
        let status = world.served.status().await;
        let words = status["problems"].as_array().expect("problems").iter();
        let mut words = words.map(|problem| problem["word"].clone());
        words.find(|word| word == "key-refused").unwrap_or_default()
    }

    /// It is answered as nobody's, with what anybody may see.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_key_that_somebody_made_up_erases_nothing() {
        let world = world().await;
        shows_what_anybody_may_see(&world);
        let made_up = [KEYS[0], ("x-parse-master-key", "made up")];
        let seen = world.served.ask(Method::GET, ADA, &made_up, &Value::Null).await;
        assert_eq!(seen.status, 200);
        assert!(!seen.recorded().starts_with("committed"), "{}", seen.recorded());
        has_kept_her_address(&world).await;
        world.end().await;
    }

    /// As by a provider whose failures come as 200.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_not_found_that_comes_as_a_success_is_tried_with_the_key_too() {
        let said = (
            "not_found = { status = 404",
            "success = { \"/code\" = 0 }\nnot_found = { status = 200",
        );
        let world = Shaped::by_changed_file(("parse", "parse-200"), said, &SETTINGS, |shapes| {
            has_ada(shapes);
            shapes.on("GET /parse/users/nobody0000", 200, NOBODY);
        })
        .await;
        assert!(read(&world).await.recorded().starts_with("committed"));
        takes_the_key_no_more(&world);
        world.shapes.on(&format!("GET {ADA}"), 200, NOBODY);
        assert_eq!(read(&world).await.recorded(), "none; reread-late");
        assert!(!is_deleted(&world).await);
        world.end().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_not_found_counts_once_the_key_is_taken_again() {
        let world = world().await;
        takes_the_key_no_more(&world);
        read(&world).await;
        world
            .shapes
            .on("GET /parse/schemas/_User", 200, r#"{"className":"_User"}"#);
        eventually("whoever is gone is known to be", async || {
            is_deleted(&world).await.then_some(())
        })
        .await;
        world.end().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_is_gone_is_known_to_be_with_the_answer() {
        let world = world().await;
        world.shapes.on(&format!("GET {ADA}"), 404, NOBODY);
        assert!(read(&world).await.recorded().starts_with("committed"));
        assert!(is_deleted(&world).await);
        world.end().await;
    }
}

mod synapse {
    use super::*;

    const KEY: [(&str, &str); 1] = [("authorization", "Bearer token")];
    const ADA: &str = "/_synapse/admin/v2/users/@ada:localhost";

    fn ada(is_gone: bool) -> Value {
        json!({"name": "@ada:localhost", "displayname": "Ada", "creation_ts": 1_700_000_000, "threepids": [], "deactivated": is_gone})
    }

    /// Many a server sends the request's own id back, and another request has another.
    #[tokio::test(flavor = "multi_thread")]
    async fn an_id_of_one_exchange_is_not_given_again_though_no_file_names_it() {
        let world = Shaped::by_file("synapse", &[("SYNAPSE_ADMIN_TOKEN", "token")], |shapes| {
            let nobody = r#"{"errcode":"M_NOT_FOUND","error":"User not found"}"#;
            shapes.on("GET /_synapse/admin/v2/users/", 404, nobody);
            let answered = vec![("x-request-id".to_owned(), "one".to_owned())];
            shapes.by(&format!("GET {ADA}"), move |_| {
                (200, answered.clone(), ada(false))
            });
        })
        .await;
        let asked = async |id| {
            let headers = [KEY[0], ("x-request-id", id)];
            world.served.ask(Method::GET, ADA, &headers, &Value::Null).await
        };
        assert_eq!(asked("one").await.header("x-request-id"), Some("one"));
        let again = asked("other").await;
        assert_eq!(again.header("x-usertap-cache"), Some("hit; fresh"));
        assert_eq!(again.header("x-request-id"), None);
        world.end().await;
    }

    /// A flag of those who are gone is a flag: where it is false, nobody is.
    #[tokio::test(flavor = "multi_thread")]
    async fn who_is_not_deactivated_is_there() {
        let world = Shaped::by_file("synapse", &[("SYNAPSE_ADMIN_TOKEN", "token")], |shapes| {
            let nobody = r#"{"errcode":"M_NOT_FOUND","error":"User not found"}"#;
            shapes.on("GET /_synapse/admin/v2/users/", 404, nobody);
            shapes.on(&format!("GET {ADA}"), 200, ada(false));
        })
        .await;
        let read = async || world.served.ask(Method::GET, ADA, &KEY, &Value::Null).await;
        assert!(read().await.recorded().starts_with("committed"));
        let row = world.served.row("@ada:localhost").await.expect("a row");
        assert_eq!((row.raw, row.is_deleted), (ada(false), false));
        world
            .shapes
            .on("POST /_synapse/admin/v1/deactivate/@ada:localhost", 200, "{}");
        world.shapes.on(&format!("GET {ADA}"), 200, ada(true));
        let gone = world
            .ask("POST /_synapse/admin/v1/deactivate/@ada:localhost", &KEY)
            .await;
        assert!(gone.recorded().starts_with("committed"), "{}", gone.recorded());
        assert_eq!(world.served.count("deleted_at IS NOT NULL").await, 1);
        world.end().await;
    }
}
