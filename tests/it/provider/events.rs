//! Events of other providers: what the form can say of their signatures, types and lists.

use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use usertap::provider::{PageFault, PollPlace, Refused, SigningSecret, Tells, Then};

use super::forms::fixture;
use super::*;

const BASE: &str = include_str!("../../fixtures/providers/clerk-like.toml");

/// Signed with the time in milliseconds, events by type, a list of them.
const EVENTS: &str = r#"
[webhooks]
signature = { scheme = "timed", header = "workos-signature" }
settings = ["WORKOS_WEBHOOK_SECRET"]
tolerance = "3m"
id = "/id"

[events]
type = "/event"
tenant = { key = "/account" }

[[event]]
on = ["user.created", "user.updated"]
whole = "/data"

[[event]]
on = ["user.deleted"]
deleted = ["/data/id"]

[[event]]
on = ["organization_membership.*"]
touched = ["/data/user_id", "/data/others/*/id"]

[[event]]
on = ["user.seen"]
partial = "/data"

[[event]]
on = ["user.*"]

[poll]
kind = "log"
path = "/v1/events"
query = { limit = "2", kind = ["a", "b"] }
events = "/data"
after = { param = "after", id = "/id" }
since = { param = "range_start", unit = "rfc3339" }
"#;

fn provider() -> (Provider, Tenant) {
    let provider = fixture(&format!("{BASE}{EVENTS}"));
    let tenant = tenant_with(&provider, &[("CLERK_SECRET_KEY", "sk_live_1")]);
    (provider, tenant)
}

fn user(id: &str) -> Value {
    json!({ "id": id, "created_at": 1, "updated_at": 2 })
}

fn signed(at: i64, body: &str) -> HeaderMap {
    let mac = Hmac::<Sha256>::new_from_slice(b"wh_secret").unwrap();
    let mac = mac.chain_update(format!("{at}.{body}")).finalize().into_bytes();
    let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    headers(&[("workos-signature", &format!("t={at}, v1={hex}"))])
}

#[test]
fn a_signed_time_in_milliseconds_or_seconds_is_held_against_now() {
    let (provider, _) = provider();
    let secrets: Vec<SigningSecret> = vec![provider.signing_secret("wh_secret").unwrap()];
    let body = r#"{"id":"event_1"}"#;
    let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let check = |at: i64| provider.signed(&signed(at, body), body.as_bytes(), &secrets, now);
    let first = check(1_700_000_000_000).unwrap();
    assert!(first.is_some());
    // The emulator counts seconds; and a repeated delivery is the same event whenever it was signed.
    assert_eq!(check(1_700_000_100), Ok(first));
    for late in [1_700_000_181, 1_700_000_000_000 - 181_000] {
        assert!(matches!(check(late), Err(Refused::Timestamp { .. })), "{late}");
    }
    let other = r#"{"id":"event_2"}"#;
    let other = provider.signed(&signed(1_700_000_000, other), other.as_bytes(), &secrets, now);
    assert_ne!(other, Ok(first));
    assert_eq!(
        provider.signed(&HeaderMap::new(), body.as_bytes(), &secrets, now),
        Err(Refused::Unsigned)
    );
}

fn told(body: &Value) -> String {
    let (provider, tenant) = provider();
    let event = provider
        .webhook_events(&tenant, body.to_string().as_bytes())
        .remove(0);
    match event.tells {
        Tells::Users(users) => {
            let one = |user: &Sighting| {
                let what = match user.seen {
                    Seen::Whole(_) => "whole",
                    Seen::Partial(_) => "partial",
                    Seen::Touched => "touched",
                    _ => "else",
                };
                format!("{what} {}", user.id)
            };
            users.iter().map(one).collect::<Vec<_>>().join(", ")
        }
        other => format!("{other:?}").to_lowercase(),
    }
}

#[test]
fn events_tell_what_the_file_says_of_their_type() {
    let data = |kind: &str, data: Value| told(&json!({ "event": kind, "data": data }));
    assert_eq!(data("user.created", user("a")), "whole a");
    assert_eq!(data("user.deleted", user("a")), "touched a");
    assert_eq!(
        data("user.seen", json!({ "id": "a", "first_name": "A" })),
        "partial a"
    );
    assert_eq!(data("user.other", user("a")), "nothing");
    assert_eq!(
        data(
            "organization_membership.deleted",
            json!({ "user_id": "a", "others": [{ "id": "b" }, { "id": "a" }, {}] })
        ),
        "touched a, touched b"
    );
    assert_eq!(data("invoice.paid", user("a")), "unknown");
    assert_eq!(data("user.created", json!({ "id": "" })), "malformed");
    assert_eq!(told(&json!({ "type": "user.created" })), "malformed");
    // Another account's, and one that is ours: its part is the fingerprint of the key.
    let (_, tenant) = provider();
    let of = |account: &str| told(&json!({ "event": "user.created", "account": account, "data": user("a") }));
    assert_eq!(of("another"), "foreign");
    assert_eq!(of(tenant.part("key").unwrap()), "whole a");
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

fn place(seconds: i64) -> PollPlace {
    PollPlace::beginning(at(seconds))
}

fn answer(
    provider: &Provider,
    tenant: &Tenant,
    place: &PollPlace,
    status: u16,
    body: &Value,
) -> Result<usertap::provider::Polled, PageFault> {
    let now = DateTime::from_timestamp(1_700_000_600, 0).unwrap();
    let status = StatusCode::from_u16(status).unwrap();
    let body = body.to_string();
    provider.polled(tenant, place, (status, &HeaderMap::new(), body.as_bytes()), now)
}

#[test]
fn a_log_is_read_on_behind_its_last_event_and_begun_anew_where_that_is_gone() {
    let (provider, tenant) = provider();
    let target = |place: &PollPlace| provider.poll_request(&tenant, place).unwrap().target;
    let begun = place(1_700_000_000);
    assert_eq!(
        target(&begun),
        "/v1/events?kind=a&kind=b&limit=2&range_start=2023-11-14T22%3A12%3A20.000Z"
    );
    let event = |id: &str, kind: &str, user: Value| json!({ "id": id, "event": kind, "data": user });
    let page = json!({ "data": [
        event("e1", "user.created", user("a")),
        event("e2", "user.deleted", user("b")),
        event("e3", "invoice.paid", json!({})),
    ] });
    let read = answer(&provider, &tenant, &begun, 200, &page).unwrap();
    let ids: Vec<_> = read
        .told
        .iter()
        .map(|(name, user)| format!("{name} {}", user.id))
        .collect();
    assert_eq!(ids, ["user.created a", "user.deleted b"]);
    assert_eq!((read.untold, read.then), (1, Then::More));
    assert_eq!(target(&read.place), "/v1/events?kind=a&kind=b&limit=2&after=e3");
    // The same page again would go on for ever.
    assert!(answer(&provider, &tenant, &read.place, 200, &page).is_err());
    let end = answer(&provider, &tenant, &read.place, 200, &json!({ "data": [] })).unwrap();
    assert_eq!((end.then, end.missed), (Then::Done, None));
    assert_eq!(target(&end.place), "/v1/events?kind=a&kind=b&limit=2&after=e3");
    // The event is no longer kept: from the last time on at which nothing was left.
    let lost = answer(&provider, &tenant, &end.place, 404, &json!({})).unwrap();
    assert!(matches!(lost.then, Then::Lost(PageFault::Status { status }) if status == StatusCode::NOT_FOUND));
    assert_eq!(lost.missed, Some(at(1_700_000_600)));
    assert_eq!(
        target(&lost.place),
        "/v1/events?kind=a&kind=b&limit=2&range_start=2023-11-14T22%3A22%3A20.000Z"
    );
    for (status, body) in [
        (404, json!({})),
        (500, json!({})),
        (200, json!({})),
        (200, json!([])),
    ] {
        assert!(
            answer(&provider, &tenant, &begun, status, &body).is_err(),
            "{status}"
        );
    }
    // Where it is known for how long events are kept, nothing is lost within that.
    let text = format!("{BASE}{EVENTS}keeps = \"1h\"\n");
    let keeping = fixture(&text);
    let of = |known_to: i64, status: u16| {
        let (body, known) = (json!({ "data": [] }), read.place.clone());
        let known = serde_json::to_value(known).unwrap();
        let known: PollPlace = serde_json::from_value(crate::support::shapes::set(
            known,
            "/known_to",
            known_to * 1_000_000,
        ))
        .unwrap();
        answer(&keeping, &tenant, &known, status, &body).unwrap().missed
    };
    assert_eq!((of(1_699_999_000, 200), of(1_699_999_000, 404)), (None, None));
    assert_eq!(of(1_699_990_000, 200), Some(at(1_699_990_000)));
    assert_eq!(of(1_699_990_000, 404), Some(at(1_699_990_000)));
    // Without a time to ask from, the log is begun at its first event: by that nothing is known to be whole.
    let since = "since = { param = \"range_start\", unit = \"rfc3339\" }\n";
    let timeless = fixture(&text.replace(since, ""));
    let lost = answer(&timeless, &tenant, &end.place, 404, &json!({})).unwrap();
    assert_eq!(lost.missed, Some(at(1_700_000_600)));
    // It is kept as text.
    let text = serde_json::to_string(&end.place).unwrap();
    assert_eq!(serde_json::from_str::<PollPlace>(&text).unwrap(), end.place);
}

/// An event may be shown long after it happened, and no other says yet where to go on.
#[test]
fn a_log_without_an_event_is_asked_from_its_beginning_on_as_far_back_as_events_are_kept() {
    let (_, tenant) = provider();
    let provider = fixture(&format!("{BASE}{EVENTS}keeps = \"30d\"\n"));
    let target = |place: &PollPlace| provider.poll_request(&tenant, place).unwrap().target;
    let empty = |place: &PollPlace, day: i64, ahead: i64| {
        let now = at(1_700_000_000 + day * 86_400);
        let mut headers = HeaderMap::new();
        let date = now.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        headers.insert("date", date.parse().unwrap());
        let answer = (StatusCode::OK, &headers, &b"{\"data\":[]}"[..]);
        let read = provider.polled(&tenant, place, answer, now + TimeDelta::seconds(ahead));
        let read = read.unwrap();
        assert_eq!(read.missed, None);
        read
    };
    // Our clock began five minutes ahead: the beginning is put back, and asked for at once.
    let mut read = empty(&place(1_700_000_300), 0, 300);
    assert_eq!(read.then, Then::More);
    let begun = target(&read.place);
    assert!(
        begun.ends_with("&range_start=2023-11-14T22%3A12%3A20.000Z"),
        "{begun}"
    );
    // Once an answer has shown the provider's clock, ours counts for nothing any more.
    let shown = empty(&place(1_700_000_000), 0, 0);
    assert_eq!(shown.then, Then::Done);
    assert_eq!(empty(&shown.place, 0, 300).then, Then::Done);
    for day in 0..40 {
        read = empty(&read.place, day, -300);
        assert_eq!(read.then, Then::Done);
        assert_eq!(target(&read.place) == begun, day <= 15, "day {day}");
    }
    let last = target(&read.place);
    assert!(
        last.ends_with("&range_start=2023-12-08T22%3A12%3A20.000Z"),
        "{last}"
    );
}

/// As Okta has it: only who changed since, page by page by a link.
#[test]
fn users_who_changed_since_are_read_by_links_of_the_same_host() {
    let text = include_str!("../../fixtures/providers/linked.toml");
    let text = format!(
        "{text}\n[poll]\nkind = \"changed\"\non = \"GET /users\"\nquery = {{ limit = \"200\" }}\npaging = {{ kind = \"link\" }}\n\
         at = {{ at = \"/updated_at\", unit = \"rfc3339\" }}\n\
         since = {{ param = \"filter\", text = 'lastUpdated gt \"{{time}}\"', unit = \"rfc3339\" }}\n"
    );
    let provider = fixture(&text);
    assert!(provider.can_be_polled());
}

/// Of a provider whose failures come as successes.
#[test]
fn a_failure_inside_a_success_is_no_end_of_a_log() {
    let errors = "[errors]\nsuccess = { \"/status\" = \"OK\" }";
    let provider = fixture(&format!("{BASE}\n{EVENTS}").replace("[errors]", errors));
    let tenant = tenant_with(&provider, &[("CLERK_SECRET_KEY", "sk_1")]);
    let begun = place(1_700_000_000);
    let told = |status: &str| {
        answer(
            &provider,
            &tenant,
            &begun,
            200,
            &json!({"status": status, "data": []}),
        )
    };
    assert_eq!(told("OK").expect("an end").then, Then::Done);
    assert!(matches!(told("INTERNAL_ERROR"), Err(PageFault::Shape { .. })));
}

#[test]
fn mistakes_in_these_sections_are_told() {
    for (wrong, told) in [
        (EVENTS.replace("\"3m\"", "\"soon\""), "`tolerance` is a time"),
        (
            EVENTS.replace("scheme = \"timed\"", "scheme = \"timer\""),
            "timer",
        ),
        (
            EVENTS.replace("tenant = { key", "tenant = { realm"),
            "no part of the identity",
        ),
        (
            EVENTS.replace("on = [\"user.seen\"]", "on = []"),
            "names the types",
        ),
        (EVENTS.replace("user.seen", "user seen"), "no type of events"),
        (
            EVENTS.replace("partial =", "touched = [\"/x\"]\npartial ="),
            "at most one",
        ),
        (
            EVENTS.replace("path = \"/v1/events\"", "path = \"events\""),
            "begins with a slash",
        ),
        (
            EVENTS.replace("id = \"/id\" }", "id = \"id\" }"),
            "no JSON pointer",
        ),
        (
            EVENTS.replace(
                "unit = \"rfc3339\" }",
                "unit = \"rfc3339\", text = \"since {date}\" }",
            ),
            "{time}",
        ),
    ] {
        let mistakes = Provider::parse(&format!("{BASE}{wrong}")).expect_err(told);
        let shown: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        assert!(
            shown.iter().any(|mistake| mistake.contains(told)),
            "{told}: {shown:#?}"
        );
        assert!(
            shown.iter().all(|mistake| !mistake.starts_with("line 0")),
            "{shown:#?}"
        );
    }
}

/// As WorkOS publishes its events.
#[test]
fn workos_events_are_signed_in_milliseconds_and_hold_whole_users() {
    let provider = Provider::builtin("workos").expect("the shipped file has no mistake");
    let tenant = tenant_with(&provider, &[("WORKOS_API_KEY", "sk_test_1")]);
    let user = json!({
        "object": "user", "id": "user_01E4ZCR3C56J083X43JQXF3JK5", "email": "marcelina@example.com",
        "first_name": "Marcelina", "last_name": "Davis", "email_verified": true, "metadata": {},
        "created_at": "2021-06-25T19:07:33.155Z", "updated_at": "2021-06-25T19:07:33.155Z",
    });
    let event = |kind: &str, data: &Value| {
        json!({ "id": "event_01", "event": kind, "data": data, "created_at": "2021-06-25T19:07:33.155Z" })
            .to_string()
    };
    let body = event("user.updated", &user);
    let now = DateTime::from_timestamp_millis(1_700_000_000_500).unwrap();
    let secrets = [provider.signing_secret("wh_secret").unwrap()];
    let key = provider.signed(&signed(1_700_000_000_000, &body), body.as_bytes(), &secrets, now);
    assert!(key.is_ok(), "{key:?}");
    let told = |body: &str| match provider.webhook_events(&tenant, body.as_bytes()).remove(0).tells {
        Tells::Users(users) => users.into_iter().next().map(|user| user.seen),
        _ => None,
    };
    assert!(matches!(told(&body), Some(Seen::Whole(view)) if view.version.is_some()));
    assert!(matches!(told(&event("user.deleted", &user)), Some(Seen::Touched)));
    let session = json!({ "object": "session", "user_id": user["id"] });
    assert!(matches!(
        told(&event("session.created", &session)),
        Some(Seen::Mentioned)
    ));
    assert!(told(&event("organization.created", &json!({ "id": "org_01" }))).is_none());
}

const CHANGED: &str = r#"
[poll]
kind = "changed"
on = "GET /users"
query = { order_by = "-updated_at", limit = "4" }
paging = { kind = "offset", param = "offset" }
at = { at = "/updated_at", unit = "s" }
overlap = "1m"
"#;

/// Users who changed, by offset: each as (id, when). An empty id cannot be read.
fn changed(
    (provider, tenant): &(Provider, Tenant),
    place: &PollPlace,
    users: &[(&str, i64)],
) -> usertap::provider::Polled {
    let user = |(id, at): &(&str, i64)| json!({ "id": id, "updated_at": at });
    let users: Vec<Value> = users.iter().map(user).collect();
    answer(provider, tenant, place, 200, &json!(users)).unwrap()
}

fn of_changes() -> (Provider, Tenant) {
    let provider = fixture(&format!("{BASE}{CHANGED}"));
    let tenant = tenant_with(&provider, &[("CLERK_SECRET_KEY", "sk_live_1")]);
    (provider, tenant)
}

const BEGUN: i64 = 1_700_000_000;

/// The walk is begun anew once; where it does not join then either, whoever was passed over is said, and a walk
/// that comes to its end is one that begins from nothing again.
#[test]
fn pages_of_changes_that_twice_do_not_join_are_read_on_and_what_may_be_missed_is_told() {
    let by = of_changes();
    let first = [("a", 400), ("b", 300), ("c", 200), ("d", 100)].map(|(id, at)| (id, BEGUN + at));
    let behind = [("e", 90), ("f", 80)].map(|(id, at)| (id, BEGUN + at));
    let end = [("f", BEGUN + 80), ("z", BEGUN - 61)];
    let mut at_first = place(BEGUN);
    for (round, missed) in [(0, None), (1, Some(at(BEGUN)))] {
        let begun = changed(&by, &at_first, &first);
        assert_eq!((&begun.then, begun.missed), (&Then::More, None), "{round}");
        let next = changed(&by, &begun.place, &behind);
        assert_eq!(next.missed, missed, "{round}");
        assert_eq!(matches!(next.then, Then::Lost(_)), round == 0, "{round}");
        at_first = next.place;
    }
    let over = changed(&by, &at_first, &end);
    assert_eq!((over.then, over.missed), (Then::Done, None));
    // The next walk may be begun anew once more.
    let later = |(id, at): (&'static str, i64)| (id, at + 1_000);
    let begun = changed(&by, &over.place, &first.map(later));
    let next = changed(&by, &begun.place, &behind.map(later));
    assert!(matches!(next.then, Then::Lost(_)) && next.missed.is_none());
}

/// Who stands there is not known, thus neither whom the next page begins with.
#[test]
fn a_page_of_changes_with_somebody_who_cannot_be_read_joins_nothing_and_ends_nothing() {
    let by = of_changes();
    let users = |ids: [&'static str; 4]| ids.map(|id| (id, BEGUN + 100));
    let offset = |place: &PollPlace| {
        let target = by.0.poll_request(&by.1, place).unwrap().target;
        target.rsplit('=').next().unwrap().to_owned()
    };
    let whole = changed(&by, &place(BEGUN), &users(["a", "b", "c", "d"]));
    assert_eq!(offset(&whole.place), "2", "two of them are asked for again");
    let broken = changed(&by, &place(BEGUN), &users(["a", "b", "", "d"]));
    assert_eq!((offset(&broken.place).as_str(), broken.untold), ("4", 1));
    // Everybody who can be read was met; somebody else may have come.
    let met = changed(&by, &whole.place, &[("c", BEGUN + 100), ("", BEGUN + 100)]);
    assert_eq!(met.then, Then::More);
    let met = changed(&by, &whole.place, &[("c", BEGUN + 100), ("d", BEGUN + 100)]);
    assert_eq!(met.then, Then::Done);
    // Who changed at the same instant can have come behind somebody who was not met.
    let others = changed(&by, &whole.place, &[("e", BEGUN + 100), ("f", BEGUN + 100)]);
    assert!(matches!(others.then, Then::Lost(_)));
    // A refusal says that the place is gone, unless it is of the key or of the moment.
    let refused = |status: u16| answer(&by.0, &by.1, &whole.place, status, &json!({})).map(|read| read.then);
    assert!(matches!(refused(410), Ok(Then::Lost(_))));
    for status in [401, 403, 408, 429, 500] {
        assert!(refused(status).is_err(), "{status}");
    }
}

#[test]
fn a_challenge_that_stands_twice_or_is_too_long_is_none() {
    let okta = Provider::builtin("okta").unwrap();
    let name = "x-okta-verification-challenge";
    let answered = |said: &[&str]| {
        let pairs: Vec<_> = said.iter().map(|said| (name, *said)).collect();
        okta.challenged(&headers(&pairs)).is_some()
    };
    assert!(answered(&["a"]) && answered(&[&"a".repeat(1024)]));
    assert!(!answered(&[]) && !answered(&["a", "b"]) && !answered(&[&"a".repeat(1025)]));
}

/// The last change that was met on any page is where the next question begins; not a time that has yet to come.
#[test]
fn a_walk_of_changes_knows_of_them_up_to_the_last_one_that_has_happened() {
    let by = of_changes();
    let known_to = |place: &PollPlace| serde_json::to_value(place).unwrap()["known_to"].as_i64().unwrap();
    let first = [("a", 400), ("b", 300), ("c", 200), ("d", 100)].map(|(id, at)| (id, BEGUN + at));
    let begun = changed(&by, &place(BEGUN), &first);
    assert_eq!(known_to(&begun.place), BEGUN * 1_000_000);
    let end = changed(&by, &begun.place, &[("d", BEGUN + 100), ("z", BEGUN - 61)]);
    assert_eq!(
        (end.then, known_to(&end.place)),
        (Then::Done, (BEGUN + 400) * 1_000_000)
    );
    let ahead = [("a", BEGUN + 10_000), ("z", BEGUN - 61)];
    let ahead = changed(&by, &place(BEGUN), &ahead);
    assert_eq!(
        known_to(&ahead.place),
        (BEGUN + 660) * 1_000_000,
        "a minute after it was read"
    );
}

#[test]
fn of_a_part_of_a_user_in_an_event_nothing_is_kept_that_is_dropped() {
    let (provider, tenant) = provider();
    let user =
        json!({ "id": "a", "first_name": "Ada", "private_metadata": { "secret": 1 }, "last_active_at": 5 });
    let body = json!({ "event": "user.seen", "data": user }).to_string();
    let mut events = provider.webhook_events(&tenant, body.as_bytes());
    let Tells::Users(users) = events.remove(0).tells else {
        panic!("it tells of a user")
    };
    let [seen] = users.as_slice() else {
        panic!("of one")
    };
    let usertap::user::Seen::Partial(part) = &seen.seen else {
        panic!("{:?}", seen.seen)
    };
    assert_eq!(**part, json!({ "id": "a", "first_name": "Ada" }));
}
