//! Asking what has changed, where no server of the provider's can be had: its published answers, what is
//! asked for next, and the rows that come of them.

mod lost;
mod walks;

use ::http::Method;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use usertap::provider::Provider;
use usertap::tasks::Tasks;

use crate::support::eventually;
use crate::support::shapes::{Asked, Shaped, Shapes, set};

/// Targets of what was asked, from the `n`th request on, that begin so.
fn asked(world: &Shaped, begins: &str) -> Vec<String> {
    let asked = world.shapes.asked().into_iter();
    let targets = asked.map(|asked: Asked| asked.target);
    targets.filter(|target| target.starts_with(begins)).collect()
}

async fn has_polled(world: &Shaped) {
    eventually("it polls", || async {
        world.served.status().await["freshness"]["poll"]
            .as_u64()
            .map(drop)
    })
    .await;
}

async fn is_named(world: &Shaped, id: &str, name_at: &str, name: &str) {
    eventually("the row says so", || async {
        let row = world.served.row(id).await?;
        (row.raw.pointer(name_at) == Some(&json!(name))).then_some(())
    })
    .await;
}

async fn problems(world: &Shaped) -> Vec<String> {
    let problems = world.served.status().await["problems"].clone();
    let words = problems.as_array().expect("a list").iter();
    words
        .map(|problem| problem["word"].as_str().expect("a word").to_owned())
        .collect()
}

const EVENTS: &str =
    "/events?events=user.created&events=user.updated&events=user.deleted&order=asc&limit=100";
const USER: &str = "/user_management/users/";
/// Whoever has changed at Okta.
const CHANGED: &str = "/api/v1/users?limit=200&filter=lastUpdated+gt+%22";

fn workos_user(id: &str, name: &str, second: u32) -> Value {
    json!({"object": "user", "id": id, "email": "ada@example.com", "email_verified": true, "first_name": name,
           "last_name": null, "profile_picture_url": null, "last_sign_in_at": null, "external_id": null, "metadata": {},
           "created_at": "2024-01-02T03:04:05.678Z", "updated_at": format!("2024-01-02T03:04:{second:02}.678Z")})
}

fn event(id: &str, kind: &str, user: Value) -> Value {
    json!({"object": "event", "id": id, "event": kind, "data": user, "created_at": "2024-01-02T03:04:05.678Z"})
}

fn events(all: &[Value]) -> Value {
    let after = all.last().map(|event| event["id"].clone());
    json!({"object": "list", "data": all, "list_metadata": {"before": null, "after": after}})
}

/// What is answered where polling stands behind this event.
fn behind(shapes: &Shapes, id: &str, all: &[Value]) {
    shapes.on(&format!("GET {EVENTS}&after={id}"), 200, events(all));
}

fn provides(shapes: &Shapes, user: &Value) {
    let id = user["id"].as_str().expect("an id");
    shapes.on(&format!("GET {USER}{id}"), 200, user);
}

async fn workos() -> Shaped {
    let settings = [("WORKOS_API_KEY", "sk_test_1"), ("USERTAP_POLL_EVERY", "1s")];
    let world = Shaped::start("workos", &settings, |shapes| {
        let nobody = r#"{"message":"User not found","code":"entity_not_found"}"#;
        shapes.on(&format!("GET {USER}"), 404, nobody);
        shapes.on(&format!("GET {EVENTS}"), 200, events(&[]));
    })
    .await;
    has_polled(&world).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_read_in_order_and_on_behind_the_last_one_after_a_restart() {
    let mut world = workos().await;
    assert!(asked(&world, EVENTS)[0].contains("&range_start="));
    let (ada, bea) = (workos_user("user_a", "Ada", 10), workos_user("user_b", "Bea", 10));
    behind(&world.shapes, "event_2", &[]);
    let told = [
        event("event_1", "user.created", ada.clone()),
        event("event_2", "user.created", bea.clone()),
    ];
    [&ada, &bea].iter().for_each(|user| provides(&world.shapes, user));
    world
        .shapes
        .on(&format!("GET {EVENTS}&range_start="), 200, events(&told));
    is_named(&world, "user_a", "/first_name", "Ada").await;
    is_named(&world, "user_b", "/first_name", "Bea").await;

    // A deletion is a reason to ask, no more: the one is gone, the other is not.
    world.shapes.on(
        &format!("GET {USER}user_b"),
        404,
        r#"{"message":"User not found","code":"entity_not_found"}"#,
    );
    let newer = workos_user("user_a", "Countess", 11);
    provides(&world.shapes, &newer);
    behind(&world.shapes, "event_5", &[]);
    behind(
        &world.shapes,
        "event_2",
        &[
            event("event_3", "user.deleted", bea),
            event("event_4", "user.deleted", ada.clone()),
            event("event_5", "user.updated", newer),
        ],
    );
    eventually("she is deleted", || async {
        world
            .served
            .row("user_b")
            .await
            .filter(|row| row.is_deleted)
            .map(drop)
    })
    .await;
    is_named(&world, "user_a", "/first_name", "Countess").await;
    assert!(!world.served.row("user_a").await.expect("a row").is_deleted);

    eventually("it stands behind the last event", || async {
        let last = asked(&world, EVENTS).pop()?;
        last.ends_with("&after=event_5").then_some(())
    })
    .await;
    let before = asked(&world, EVENTS).len();
    world.served.restart().await;
    let first = eventually("it asks again", || async {
        asked(&world, EVENTS).into_iter().nth(before)
    })
    .await;
    assert!(first.ends_with("&after=event_5"), "{first}");
    // An event that was read is not asked for again, and one that comes late is older.
    assert_eq!(problems(&world).await, Vec::<String>::new());
    world.end().await;
}

/// It was sent when it happened, whenever it is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_older_than_the_row_changes_nothing() {
    let world = workos().await;
    let newer = workos_user("user_a", "Countess", 11);
    provides(&world.shapes, &newer);
    let key = [("authorization", "Bearer sk_test_1")];
    let read = world
        .served
        .ask(Method::GET, &format!("{USER}user_a"), &key, &Value::Null)
        .await;
    assert!(read.recorded().starts_with("committed"), "{}", read.recorded());
    behind(&world.shapes, "event_1", &[]);
    let older = event("event_1", "user.updated", workos_user("user_a", "Ada", 10));
    world
        .shapes
        .on(&format!("GET {EVENTS}&range_start="), 200, events(&[older]));
    eventually("it is told", || async {
        let last = asked(&world, EVENTS).pop()?;
        last.ends_with("&after=event_1").then_some(())
    })
    .await;
    let changes = "SELECT count(*) FROM usertap.changes";
    let changes = world
        .served
        .client
        .query_one(changes, &[])
        .await
        .expect("a query");
    assert_eq!(changes.get::<_, i64>(0), 1);
    is_named(&world, "user_a", "/first_name", "Countess").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_provider_forgot_is_gone_round_by_time_and_what_is_lost_is_said() {
    let mut world = workos().await;
    let ada = workos_user("user_a", "Ada", 10);
    provides(&world.shapes, &ada);
    behind(&world.shapes, "event_1", &[]);
    let told = events(&[event("event_1", "user.created", ada)]);
    world.shapes.on(&format!("GET {EVENTS}&range_start="), 200, told);
    is_named(&world, "user_a", "/first_name", "Ada").await;

    // Within what is kept, asking by time tells all of it.
    let newer = workos_user("user_a", "Countess", 11);
    provides(&world.shapes, &newer);
    behind(&world.shapes, "event_2", &[]);
    let told = events(&[event("event_2", "user.updated", newer)]);
    world.shapes.on(&format!("GET {EVENTS}&range_start="), 200, told);
    let unknown = r#"{"message":"No event with this id","code":"invalid_request_parameters"}"#;
    world
        .shapes
        .on(&format!("GET {EVENTS}&after=event_1"), 400, unknown);
    is_named(&world, "user_a", "/first_name", "Countess").await;
    assert_eq!(problems(&world).await, Vec::<String>::new());

    // After longer than events are kept, it does not.
    world.served.stop().await;
    let long_ago = "UPDATE usertap.poll SET place = jsonb_set(place, '{known_to}',
        to_jsonb((extract(epoch FROM now() - interval '31 days') * 1000000)::bigint))";
    world
        .served
        .client
        .execute(long_ago, &[])
        .await
        .expect("an update");
    world.served.start_again().await;
    eventually("it is said", || async {
        (problems(&world).await == ["poll-missed"]).then_some(())
    })
    .await;
    // It survives a restart, and a backfill does not make good what was deleted meanwhile.
    world.served.restart().await;
    let list = json!({"object": "list", "data": [], "list_metadata": {"before": null, "after": null}});
    world.shapes.on(
        "GET /user_management/users?",
        200,
        set(list, "/data", vec![workos_user("user_a", "Countess", 11)]),
    );
    assert_eq!(world.served.walk("backfill").await["state"], "done");
    assert_eq!(problems(&world).await, ["poll-missed"]);
    assert_eq!(world.served.walk("reconcile").await["state"], "done");
    assert_eq!(problems(&world).await, Vec::<String>::new());
    world.end().await;
}

async fn okta() -> Shaped {
    let settings = [("OKTA_CLIENT_TOKEN", "00token"), ("USERTAP_POLL_EVERY", "1s")];
    let world = Shaped::start("okta", &settings, |shapes| {
        let nobody = r#"{"errorCode":"E0000007","errorSummary":"Not found: Resource not found"}"#;
        shapes.on("GET /api/v1/users/", 404, nobody);
        shapes.on(&format!("GET {CHANGED}"), 200, "[]");
    })
    .await;
    has_polled(&world).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_changed_at_okta_is_read_page_by_page_and_no_link_is_followed_elsewhere() {
    let world = okta().await;
    let user = |id: &str, name: &str, status: &str, second: u32| {
        json!({"id": id, "status": status, "created": "2024-01-02T03:04:05.678Z", "lastLogin": null,
               "lastUpdated": format!("2026-01-02T03:04:{second:02}.000Z"),
               "profile": {"firstName": name, "lastName": null, "email": "ada@example.com", "login": "ada@example.com"},
               "credentials": {"provider": {"type": "OKTA"}}, "_links": {}})
    };
    for shown in [
        user("00u1", "Ada", "ACTIVE", 10),
        user("00u2", "Bea", "DEPROVISIONED", 11),
    ] {
        let id = shown["id"].as_str().expect("an id");
        world.shapes.on(&format!("GET /api/v1/users/{id}"), 200, &shown);
    }
    let own = format!("http://{}", world.address);
    let next = |origin: &str| format!("<{origin}/api/v1/users?after=200u&limit=200&filter=x>; rel=\"next\"");
    world.shapes.on(
        "GET /api/v1/users?after=200u",
        200,
        json!([user("00u2", "Bea", "DEPROVISIONED", 11)]),
    );
    let page = json!([user("00u1", "Ada", "ACTIVE", 10)]);
    world
        .shapes
        .with(&format!("GET {CHANGED}"), 200, &[("link", &next(&own))], &page);
    is_named(&world, "00u1", "/profile/firstName", "Ada").await;
    is_named(&world, "00u2", "/status", "DEPROVISIONED").await;

    let (tasks, elsewhere) = (Tasks::default(), Shapes::default());
    let other = format!("http://{}", elsewhere.start(&tasks).await);
    world
        .shapes
        .with(&format!("GET {CHANGED}"), 200, &[("link", &next(&other))], &page);
    eventually("it is refused", || async {
        (problems(&world).await == ["poll-fails"]).then_some(())
    })
    .await;
    assert!(elsewhere.asked().is_empty(), "the key went to another host");
    world
        .shapes
        .with(&format!("GET {CHANGED}"), 200, &[("link", &next(&own))], &page);
    eventually("all is well again", || async {
        problems(&world).await.is_empty().then_some(())
    })
    .await;
    tasks.stop();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_changed_at_auth0_is_searched_for() {
    const SEARCH: &str = "/api/v2/users?include_totals=true&search_engine=v3&sort=updated_at%3A1&per_page=50&q=updated_at%3A%5B";
    let page = |users: &[Value]| json!({"start": 0, "limit": 50, "length": users.len(), "total": users.len(), "users": users});
    let settings = [
        ("AUTH0_CLIENT_ID", "client"),
        ("AUTH0_CLIENT_SECRET", "secret"),
        ("USERTAP_POLL_EVERY", "1s"),
    ];
    let world = Shaped::start("auth0", &settings, |shapes| {
        shapes.on(
            "POST /oauth/token",
            200,
            r#"{"access_token":"own-token","expires_in":86400}"#,
        );
        let nobody = r#"{"statusCode":404,"error":"Not Found","message":"","errorCode":"inexistent_user"}"#;
        shapes.on("GET /api/v2/users/", 404, nobody);
        shapes.on(&format!("GET {SEARCH}"), 200, page(&[]));
    })
    .await;
    has_polled(&world).await;
    let spelled = |at: DateTime<Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let at = crate::support::wall() + TimeDelta::seconds(60);
    let ada = json!({"user_id": "auth0|1", "email": "ada@example.com", "name": "Ada", "identities": [],
                     "created_at": "2024-01-02T03:04:05.678Z", "updated_at": spelled(at)});
    world.shapes.on("GET /api/v2/users/auth0%7C1", 200, &ada);
    world.shapes.on(&format!("GET {SEARCH}"), 200, page(&[ada]));
    is_named(&world, "auth0|1", "/name", "Ada").await;
    // A little before her change, so that none is left out.
    let since = spelled(at - TimeDelta::minutes(2)).replace(':', "%3A");
    eventually("it goes on from there", || async {
        let last = asked(&world, SEARCH).pop()?;
        last.starts_with(&format!("{SEARCH}{since}+TO")).then_some(())
    })
    .await;
    assert_eq!(problems(&world).await, Vec::<String>::new());
    world.end().await;
}

#[test]
fn each_of_these_can_be_polled() {
    let polled: Vec<_> = Provider::builtin_names()
        .filter(|name| Provider::builtin(name).is_some_and(|provider| provider.can_be_polled()))
        .collect();
    assert_eq!(polled, ["clerk", "workos", "auth0", "better-auth", "okta"]);
}
