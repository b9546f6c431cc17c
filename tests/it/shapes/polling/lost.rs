//! Places from which polling does not go on: it begins anew, once, and says what it could not tell.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{
    CHANGED, EVENTS, USER, asked, event, events, is_named, okta, problems, provides, workos, workos_user,
};
use crate::support::eventually;
use crate::support::shapes::Shaped;

fn okta_user(id: &str, name: &str, changed: DateTime<Utc>) -> Value {
    json!({"id": id, "status": "ACTIVE", "created": "2024-01-02T03:04:05.678Z", "lastLogin": null,
           "lastUpdated": changed.to_rfc3339_opts(SecondsFormat::Millis, true),
           "profile": {"firstName": name, "lastName": null, "email": "ada@example.com", "login": "ada@example.com"},
           "credentials": {"provider": {"type": "OKTA"}}, "_links": {}})
}

fn link(after: &str) -> String {
    format!("</api/v1/users?after={after}&limit=200&filter=x>; rel=\"next\"")
}

fn page(after: &str) -> String {
    format!("GET /api/v1/users?after={after}")
}

fn provided(world: &Shaped, user: &Value) {
    let id = user["id"].as_str().expect("an id");
    world.shapes.on(&format!("GET /api/v1/users/{id}"), 200, user);
}

async fn fails(world: &Shaped) {
    eventually("it is said", || async {
        problems(world)
            .await
            .contains(&"poll-fails".to_owned())
            .then_some(())
    })
    .await;
}

/// It stands in the midst of the walk.
async fn walks(world: &Shaped, after: &str) {
    let page = format!("/api/v1/users?after={after}");
    eventually("it asks for the next page", || async {
        (!asked(world, &page).is_empty()).then_some(())
    })
    .await;
}

const GONE: &str = r#"{"errorCode":"E0000031","errorSummary":"Invalid search criteria."}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_goes_on_after_its_link_has_expired() {
    let world = okta().await;
    let now = crate::support::wall();
    let (ada, bea) = (okta_user("00u1", "Ada", now), okta_user("00u2", "Bea", now));
    provided(&world, &ada);
    provided(&world, &bea);
    // It stops in the midst of the walk, for longer than the link is good.
    world.shapes.on(&page("200u"), 503, "");
    let first = |after: &str| {
        let link = link(after);
        let headers = [("link", link.as_str())];
        world
            .shapes
            .with(&format!("GET {CHANGED}"), 200, &headers, json!([&ada]));
    };
    first("200u");
    walks(&world, "200u").await;
    world.shapes.on(&page("201u"), 200, json!([&bea]));
    first("201u");
    world.shapes.on(&page("200u"), 400, GONE);
    is_named(&world, "00u2", "/profile/firstName", "Bea").await;
    eventually("all is well again", || async {
        problems(&world).await.is_empty().then_some(())
    })
    .await;
    // A key that is refused is no reason to begin anew.
    world.shapes.on(&page("201u"), 403, GONE);
    fails(&world).await;
    let begun = asked(&world, CHANGED).len();
    let walked = asked(&world, "/api/v1/users?after=201u").len();
    eventually("it asks for the same page", || async {
        (asked(&world, "/api/v1/users?after=201u").len() > walked + 1).then_some(())
    })
    .await;
    assert_eq!(asked(&world, CHANGED).len(), begun);
    world.end().await;
}

/// A page that is answered late, and a change behind the walk meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_walk_that_lasts_is_followed_by_a_question_from_its_beginning_on() {
    let world = okta().await;
    let began = crate::support::wall() + TimeDelta::seconds(1);
    let began = DateTime::from_timestamp(began.timestamp(), 0).expect("a time");
    let date = |at: DateTime<Utc>| at.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let late = began + TimeDelta::seconds(73);
    let (bulk, bea) = (okta_user("00u1", "Bulk", began), okta_user("00u2", "Bea", late));
    let ada = okta_user("00u1", "Ada", began + TimeDelta::seconds(2));
    provided(&world, &bulk);
    provided(&world, &bea);
    world.shapes.on(&page("200u"), 503, "");
    let (shown, link) = (date(began), link("200u"));
    let headers = [("link", link.as_str()), ("date", shown.as_str())];
    world
        .shapes
        .with(&format!("GET {CHANGED}"), 200, &headers, json!([bulk]));
    walks(&world, "200u").await;
    is_named(&world, "00u1", "/profile/firstName", "Bulk").await;

    provided(&world, &ada);
    let shown = date(late);
    let headers = [("date", shown.as_str())];
    world.shapes.with(&format!("GET {CHANGED}"), 200, &headers, "[]");
    // Only whoever asks for what changed before then hears of her.
    let since = (began - TimeDelta::minutes(1)).to_rfc3339_opts(SecondsFormat::Millis, true);
    let again = format!("GET {CHANGED}{}", since.replace(':', "%3A"));
    world.shapes.with(&again, 200, &headers, json!([ada]));
    world.shapes.with(&page("200u"), 200, &headers, json!([bea]));
    is_named(&world, "00u2", "/profile/firstName", "Bea").await;
    is_named(&world, "00u1", "/profile/firstName", "Ada").await;
    world.end().await;
}

/// Asked for so often it would take the whole of the limit, and tell the same again and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_never_goes_on_behind_an_event_is_begun_anew_once_and_said_to_fail() {
    let settings = [("WORKOS_API_KEY", "sk_test_1"), ("USERTAP_POLL_EVERY", "1h")];
    let world = Shaped::start("workos", &settings, |shapes| {
        let nobody = r#"{"message":"User not found","code":"entity_not_found"}"#;
        shapes.on(&format!("GET {USER}"), 404, nobody);
        let user = workos_user("user_a", "Ada", 10);
        provides(shapes, &user);
        let all: Vec<_> = (0..100)
            .map(|n| event(&format!("event_{n}"), "user.updated", user.clone()))
            .collect();
        shapes.on(&format!("GET {EVENTS}"), 200, events(&all));
        let unknown = r#"{"message":"No event with this id","code":"invalid_request_parameters"}"#;
        shapes.on(&format!("GET {EVENTS}&after="), 400, unknown);
    })
    .await;
    fails(&world).await;
    let trouble = world.served.status().await["poll"]["trouble"].clone();
    assert!(trouble.to_string().contains("400"), "{trouble}");
    // Twice by time, twice behind the event; whatever else was told, the next turn asks.
    assert_eq!(asked(&world, EVENTS).len(), 4);
    world.end().await;
}

/// Of what was asked by time: from when on.
fn range_starts(world: &Shaped) -> Vec<DateTime<Utc>> {
    let begins = format!("{EVENTS}&range_start=");
    let targets = asked(world, &begins).into_iter();
    let time = |target: String| target[begins.len()..].replace("%3A", ":");
    targets
        .map(|target| time(target).parse().expect("a time"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_told_though_our_clock_is_ahead_of_the_providers() {
    let world = workos().await;
    let theirs = crate::support::wall() - TimeDelta::minutes(5);
    let date = theirs.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let unread = [("date", date.as_str())];
    world
        .shapes
        .with(&format!("GET {EVENTS}"), 200, &unread, events(&[]));
    let before = range_starts(&world).len();
    eventually(
        "it asks by the provider's clock, from its beginning on",
        || async {
            let starts = range_starts(&world).split_off(before);
            let since: Vec<_> = starts.into_iter().filter(|from| *from < theirs).collect();
            (since.len() > 2 && since.iter().all(|from| *from == since[0])).then_some(())
        },
    )
    .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_cannot_be_read_is_said_until_a_reconcile_though_polling_is_switched_off() {
    let mut world = workos().await;
    let list = json!({"object": "list", "data": [], "list_metadata": {"before": null, "after": null}});
    world.shapes.on("GET /user_management/users?", 200, list);
    // One that was over before makes nothing good.
    assert_eq!(world.served.walk("reconcile").await["state"], "done");
    let done = spoilt(&mut world).await;
    eventually("it is said", || async {
        (problems(&world).await == ["poll-missed"]).then_some(())
    })
    .await;
    let since = kept(&world, "missed_from").await;
    assert!(since < done, "what was told last may not have been recorded");
    let before = asked(&world, EVENTS).len();
    eventually("it polls from now on", || async {
        (asked(&world, EVENTS).len() > before).then_some(())
    })
    .await;
    let noticed = kept(&world, "missed_noticed_at").await;
    spoilt(&mut world).await;
    eventually("it is noticed again", || async {
        (kept(&world, "missed_noticed_at").await > noticed).then_some(())
    })
    .await;
    assert_eq!(kept(&world, "missed_from").await, since);

    world.served.stop().await;
    world.served.set("USERTAP_POLL_EVERY", "off");
    world.served.start_again().await;
    assert_eq!(problems(&world).await, ["poll-missed"]);
    assert_eq!(world.served.walk("reconcile").await["state"], "done");
    assert_eq!(problems(&world).await, Vec::<String>::new());
    world.end().await;
}

/// Where polling stands says nothing at the next start. When there was last nothing more.
async fn spoilt(world: &mut Shaped) -> Option<i64> {
    world.served.stop().await;
    let spoilt = r#"UPDATE usertap.poll SET place = '{"known_to": "lately"}'"#;
    world.served.client.execute(spoilt, &[]).await.expect("an update");
    let done = kept(world, "done_at").await;
    world.served.start_again().await;
    done
}

async fn kept(world: &Shaped, column: &str) -> Option<i64> {
    let sql = format!("SELECT (extract(epoch FROM {column}) * 1000000)::bigint FROM usertap.poll");
    world
        .served
        .client
        .query_one(&sql, &[])
        .await
        .expect("a query")
        .get(0)
}
