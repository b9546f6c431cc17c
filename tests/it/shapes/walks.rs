//! Lists that change while they are walked, and lists that do not hold what they say: everyone who stays has
//! a row, nobody counts twice, and what cannot be the whole list is not taken for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::http;
use crate::support::shapes::Shaped;

type Change = Box<dyn FnOnce(&mut Vec<usize>) + Send>;
type Query = HashMap<String, String>;

/// A provider's users, in the order of its list.
#[derive(Clone, Default)]
struct Roll(Arc<Mutex<Users>>);

#[derive(Default)]
struct Users {
    users: Vec<usize>,
    asked: usize,
    /// After so many requests.
    then: Vec<(usize, Change)>,
}

impl Roll {
    fn of(users: usize) -> Roll {
        let roll = Roll::default();
        roll.0.lock().unwrap().users = (0..users).collect();
        roll
    }

    fn then(self, asked: usize, change: impl FnOnce(&mut Vec<usize>) + Send + 'static) -> Roll {
        self.0.lock().unwrap().then.push((asked, Box::new(change)));
        self
    }

    fn without(self, asked: usize, gone: std::ops::Range<usize>) -> Roll {
        self.then(asked, move |users| users.retain(|user| !gone.contains(user)))
    }

    /// As they are for this request, and what it asks for.
    fn asked(&self, target: &str) -> (Vec<usize>, Query) {
        let mut inner = self.0.lock().unwrap();
        let (asked, users) = (inner.asked, inner.users.clone());
        inner.asked += 1;
        let due = inner.then.extract_if(.., |(after, _)| *after == asked + 1);
        let due: Vec<Change> = due.map(|(_, change)| change).collect();
        due.into_iter().for_each(|change| change(&mut inner.users));
        let query = target.split_once('?').map_or("", |(_, query)| query);
        (
            users,
            url::form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
        )
    }
}

fn number(query: &Query, name: &str) -> usize {
    query.get(name).map_or(0, |number| number.parse().unwrap())
}

/// A second for each of them.
fn made(user: usize) -> String {
    format!(
        "2024-01-02T{:02}:{:02}:{:02}.000Z",
        user / 3600,
        user / 60 % 60,
        user % 60
    )
}

fn listed(users: &[usize], from: usize, size: usize, user: fn(usize) -> Value) -> Vec<Value> {
    users.iter().skip(from).take(size).map(|one| user(*one)).collect()
}

fn person(user: usize) -> Value {
    json!({"id": format!("u{user:05}"), "name": "Ada", "email": "ada@example.com", "banned": false, "role": "user",
           "createdAt": made(user), "updatedAt": made(user)})
}

async fn better_auth(roll: &Roll) -> Shaped {
    let roll = roll.clone();
    Shaped::better_auth(&[], move |shapes| {
        let roll = roll.clone();
        shapes.by("GET /api/auth/admin/list-users", move |target| {
            let (users, query) = roll.asked(target);
            let page = listed(&users, number(&query, "offset"), number(&query, "limit"), person);
            (200, Vec::new(), json!({"users": page, "total": users.len()}))
        });
    })
    .await
}

async fn supabase(roll: &Roll) -> Shaped {
    let user = |user| {
        json!({"id": format!("8b2d5a3e-1111-4c1a-9a37-{user:012}"), "aud": "authenticated", "email": "ada@example.com",
               "user_metadata": {}, "identities": null, "created_at": made(user), "updated_at": made(user)})
    };
    let roll = roll.clone();
    Shaped::start(
        "supabase",
        &[("SUPABASE_SERVICE_ROLE_KEY", "service")],
        move |shapes| {
            let roll = roll.clone();
            shapes.on(
                "GET /auth/v1/admin/users/",
                404,
                r#"{"code":"user_not_found","message":"User not found"}"#,
            );
            shapes.by("GET /auth/v1/admin/users?", move |target| {
                let (users, query) = roll.asked(target);
                let (page, size) = (number(&query, "page"), number(&query, "per_page"));
                let total = ("x-total-count".to_owned(), users.len().to_string());
                let page = listed(&users, (page - 1) * size, size, user);
                (200, vec![total], json!({"users": page, "aud": "authenticated"}))
            });
        },
    )
    .await
}

async fn auth0(roll: &Roll) -> Shaped {
    let settings = [("AUTH0_CLIENT_ID", "client"), ("AUTH0_CLIENT_SECRET", "secret")];
    let user = |user| {
        json!({"user_id": format!("auth0|{user:05}"), "email": "ada@example.com", "identities": [],
               "created_at": made(user), "updated_at": made(user)})
    };
    let roll = roll.clone();
    Shaped::start("auth0", &settings, move |shapes| {
        shapes.on(
            "POST /oauth/token",
            200,
            r#"{"access_token":"own-token","expires_in":86400,"token_type":"Bearer"}"#,
        );
        shapes.on("GET /api/v2/users/", 404, r#"{"statusCode":404,"error":"Not Found","message":"The user does not exist.","errorCode":"inexistent_user"}"#);
        let roll = roll.clone();
        shapes.by("GET /api/v2/users?", move |target| {
            let (users, query) = roll.asked(target);
            let from = query
                .get("q")
                .map_or("", |q| &q["created_at:[".len()..q.len() - " TO *]".len()]);
            let users: Vec<usize> = users
                .into_iter()
                .filter(|user| made(*user).as_str() >= from)
                .collect();
            let (page, size) = (number(&query, "page"), number(&query, "per_page"));
            (
                200,
                Vec::new(),
                // It counts no further than it shows.
                json!({"users": listed(&users, page * size, size, user), "total": users.len().min(1_000)}),
            )
        });
    })
    .await
}

/// A cursor is the last user, and unknown once that user is gone.
async fn workos(roll: &Roll) -> Shaped {
    let user = |user| {
        json!({"object": "user", "id": format!("user_{user:05}"), "email": "ada@example.com", "email_verified": true,
               "first_name": "Ada", "last_name": null, "metadata": {}, "created_at": made(user), "updated_at": made(user)})
    };
    let roll = roll.clone();
    Shaped::start("workos", &[("WORKOS_API_KEY", "sk_test_1")], move |shapes| {
        shapes.on(
            "GET /user_management/users/",
            404,
            r#"{"message":"User not found","code":"entity_not_found"}"#,
        );
        let roll = roll.clone();
        shapes.by("GET /user_management/users?", move |target| {
            let (users, query) = roll.asked(target);
            let after = query.get("after").map(|after| number_of(after));
            let Some(from) = behind(&users, after) else {
                return (
                    404,
                    Vec::new(),
                    json!({"message": "User not found", "code": "entity_not_found"}),
                );
            };
            let page = listed(&users, from, number(&query, "limit"), user);
            let is_last = from + page.len() >= users.len();
            let next = page.last().filter(|_| !is_last).map(|last| last["id"].clone());
            (
                200,
                Vec::new(),
                json!({"object": "list", "data": page, "list_metadata": {"before": null, "after": next}}),
            )
        });
    })
    .await
}

/// From this one on they were deactivated: a list leaves them out that is not filtered.
const DEACTIVATED: usize = 10_000;

async fn okta(roll: &Roll) -> Shaped {
    let user = |user| {
        let status = if user < DEACTIVATED {
            "ACTIVE"
        } else {
            "DEPROVISIONED"
        };
        json!({"id": format!("00u{user:05}"), "status": status, "created": made(user), "lastUpdated": made(user),
               "profile": {"firstName": "Ada", "email": "ada@example.com", "login": "ada@example.com"}})
    };
    let roll = roll.clone();
    Shaped::start("okta", &[("OKTA_CLIENT_TOKEN", "00token")], move |shapes| {
        shapes.on(
            "GET /api/v1/users/",
            404,
            r#"{"errorCode":"E0000007","errorSummary":"Not found: Resource not found"}"#,
        );
        let roll = roll.clone();
        shapes.by("GET /api/v1/users?", move |target| {
            let (users, query) = roll.asked(target);
            let is_filtered = query.contains_key("filter");
            let shown = users
                .into_iter()
                .filter(|user| is_filtered || *user < DEACTIVATED);
            let users: Vec<usize> = shown.collect();
            let after = query.get("after").map(|after| number_of(after));
            let Some(from) = behind(&users, after) else {
                return (
                    400,
                    Vec::new(),
                    json!({"errorCode": "E0000031", "errorSummary": "Invalid search criteria."}),
                );
            };
            let page = listed(&users, from, number(&query, "limit"), user);
            let last = page.last().filter(|_| from + page.len() < users.len());
            let link = last.map(|last| {
                let mut next = query.clone();
                next.insert("after".to_owned(), last["id"].as_str().unwrap().to_owned());
                let next = url::form_urlencoded::Serializer::new(String::new())
                    .extend_pairs(next)
                    .finish();
                ("link".to_owned(), format!("</api/v1/users?{next}>; rel=\"next\""))
            });
            (200, link.into_iter().collect(), page.into())
        });
    })
    .await
}

fn number_of(id: &str) -> usize {
    id.trim_start_matches("user_")
        .trim_start_matches("00u")
        .parse()
        .unwrap()
}

fn behind(users: &[usize], after: Option<usize>) -> Option<usize> {
    let Some(after) = after else { return Some(0) };
    users.iter().position(|user| *user == after).map(|at| at + 1)
}

/// Walks, and finds a row of each of these, each counted once.
async fn gets(world: Shaped, users: i64) {
    let run = world.served.walk("backfill").await;
    assert_eq!(run["state"], "done", "{run}");
    assert_eq!(
        (run["fetched"].as_i64(), run["inserted"].as_i64()),
        (Some(users), Some(users)),
        "{run}"
    );
    assert_eq!(world.served.count("deleted_at IS NULL").await, users);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_moves_up_in_a_list_by_offset_is_met() {
    gets(better_auth(&Roll::of(300).without(1, 50..51)).await, 300).await;
    // More than two pages have in common.
    gets(better_auth(&Roll::of(300).without(1, 40..95)).await, 300).await;
    // Everyone who was met.
    gets(better_auth(&Roll::of(300).without(1, 0..100)).await, 300).await;
    gets(
        better_auth(&Roll::of(300).without(2, 5..8).without(3, 20..60)).await,
        300,
    )
    .await;
}

/// Nobody is left who was met last: some count twice, and nobody is left out.
#[tokio::test(flavor = "multi_thread")]
async fn where_the_last_who_were_met_are_gone_the_list_is_begun_anew() {
    let world = better_auth(&Roll::of(300).without(1, 40..100)).await;
    let run = world.served.walk("backfill").await;
    assert_eq!(
        (&run["state"], &run["inserted"]),
        (&json!("done"), &json!(300)),
        "{run}"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_moves_up_in_numbered_pages_is_met() {
    gets(supabase(&Roll::of(2_100).without(1, 50..53)).await, 2_100).await;
    gets(
        supabase(&Roll::of(2_100).without(1, 900..990).without(3, 0..30)).await,
        2_100,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_moves_up_in_a_window_is_met() {
    gets(auth0(&Roll::of(160).without(1, 10..13)).await, 160).await;
    // The last of all, at whose time the next window begins.
    gets(auth0(&Roll::of(160).without(4, 159..160)).await, 160).await;
    gets(
        auth0(&Roll::of(160).without(1, 30..50).without(2, 51..60)).await,
        160,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_who_come_during_a_walk_are_met_at_its_end_or_leave_nobody_out() {
    let at_the_end = Roll::of(205).then(2, |users| users.extend(300..320));
    gets(better_auth(&at_the_end).await, 225).await;
    // The newest first: who was met moves down.
    let in_front = Roll::of(205).then(1, |users| {
        users.splice(0..0, 300..320);
    });
    // Whom the walk does not remember any more may count twice.
    let world = better_auth(&in_front).await;
    let run = world.served.walk("backfill").await;
    assert_eq!(
        (&run["state"], world.served.count("true").await),
        (&json!("done"), 205),
        "{run}"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_whose_user_is_gone_is_walked_around() {
    let world = workos(&Roll::of(250).without(1, 99..100)).await;
    gets(world, 250).await;
    let world = workos(&Roll::of(250).without(1, 60..100)).await;
    let run = world.served.walk("backfill").await;
    assert_eq!(
        (&run["state"], world.served.count("true").await),
        (&json!("done"), 250),
        "{run}"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_not_known_any_more_begins_anew() {
    let world = okta(&Roll::of(450).without(1, 199..200)).await;
    let run = world.served.walk("backfill").await;
    assert_eq!(
        (&run["state"], world.served.count("true").await),
        (&json!("done"), 450),
        "{run}"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_deactivated_is_copied_too() {
    let roll = Roll::of(205);
    roll.0.lock().unwrap().users.extend(DEACTIVATED..DEACTIVATED + 3);
    gets(okta(&roll).await, 208).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_counts_no_further_than_its_wall_is_walked_to_its_end() {
    gets(auth0(&Roll::of(3_100)).await, 3_100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_page_that_names_the_next_is_no_end() {
    let world = okta(&Roll::of(0)).await;
    let next = |after: &str| format!("</api/v1/users?after={after}&limit=200>; rel=\"next\"");
    let user = |id: &str| {
        json!([{"id": id, "status": "ACTIVE", "created": made(1), "lastUpdated": made(1),
                "profile": {"firstName": "Ada", "email": "ada@example.com", "login": "ada@example.com"}}])
    };
    let page = |after: &str, then: &str, users: &Value| {
        let on = format!("GET /api/v1/users?{after}");
        world.shapes.with(&on, 200, &[("link", &next(then))], users);
    };
    page("", "a", &user("00u00001"));
    page("after=a", "b", &json!([]));
    page("after=b", "c", &user("00u00002"));
    // There is nothing more.
    page("after=c", "c", &json!([]));
    gets(world, 2).await;
}

const SECOND: &str = "GET /api/auth/admin/list-users?sortBy=createdAt&sortDirection=asc&limit=100&offset=90";

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_page_before_the_end_is_asked_for_again_and_no_end() {
    let world = better_auth(&Roll::of(300)).await;
    world.shapes.on(SECOND, 200, r#"{"users":[],"total":300}"#);
    let run = world.served.walk("backfill").await;
    let error = run["error"].as_str().unwrap_or_default();
    assert_eq!(run["state"], "failed", "{run}");
    assert!(
        error.contains("ends after 100 users, and says that there are 300"),
        "{run}"
    );
    // Another begins: what it has counted cannot be true.
    let asked = || {
        let asked = world.shapes.asked();
        asked
            .iter()
            .filter(|asked| asked.target.ends_with("offset=90"))
            .count()
    };
    let before = asked();
    let heal = async {
        eventually("the page is asked for again", async || {
            (asked() > before + 1).then_some(())
        })
        .await;
        let page: Vec<Value> = (90..190).map(person).collect();
        world.shapes.on(SECOND, 200, json!({"users": page, "total": 300}));
    };
    let (run, ()) = tokio::join!(world.served.walk("backfill"), heal);
    assert_eq!(
        (&run["state"], &run["fetched"]),
        (&json!("done"), &json!(300)),
        "{run}"
    );
    assert_eq!(world.served.count("true").await, 300);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_does_not_heed_where_it_is_to_begin_ends_the_walk() {
    let roll = Roll::of(300);
    let world = better_auth(&roll).await;
    let page: Vec<Value> = (0..100).map(person).collect();
    world
        .shapes
        .on("GET /api/auth/admin/list-users", 200, json!({"users": page}));
    let run = world.served.walk("backfill").await;
    let error = run["error"].as_str().unwrap_or_default();
    assert!(
        run["state"] == "failed" && error.contains("the same users as the one before"),
        "{run}"
    );
    world.end().await;
}

async fn keycloak(counted: u64) -> Shaped {
    let settings = [
        ("KEYCLOAK_REALM", "shop"),
        ("KEYCLOAK_CLIENT_ID", "usertap"),
        ("KEYCLOAK_CLIENT_SECRET", "secret"),
    ];
    let user = json!([{"id": "8b2d5a3e-1111-4c1a-9a37-000000000001", "username": "ada", "firstName": "Ada",
                       "email": "ada@example.com", "emailVerified": true, "enabled": true,
                       "createdTimestamp": 1_704_164_645_678_i64, "totp": false, "requiredActions": [], "notBefore": 0,
                       "access": {"manage": true}}]);
    Shaped::start("keycloak", &settings, |shapes| {
        shapes.on(
            "POST /realms/shop/protocol/openid-connect/token",
            200,
            r#"{"access_token":"own-token","expires_in":60}"#,
        );
        shapes.on(
            "GET /admin/realms/shop/users/",
            404,
            r#"{"error":"User not found"}"#,
        );
        shapes.on("GET /admin/realms/shop/users/count", 200, counted);
        shapes.on("GET /admin/realms/shop/users?", 200, &user);
        let behind = "GET /admin/realms/shop/users?briefRepresentation=false&max=100&first=1";
        shapes.on(behind, 200, "[]");
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_provider_counts_and_does_not_list_is_a_problem() {
    for (counted, is_named) in [(11, false), (12, true)] {
        let world = keycloak(counted).await;
        assert_eq!(world.served.walk("backfill").await["state"], "done");
        let problems = world.served.status().await["problems"].to_string();
        assert_eq!(problems.contains("walk-short"), is_named, "{problems}");
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_waited_for_as_long_as_the_provider_says() {
    let world = better_auth(&Roll::of(3)).await;
    world.shapes.with(
        "GET /api/auth/admin/list-users",
        429,
        &[("retry-after", "3000")],
        "{}",
    );
    let url = world.served.admin_url("/v1/backfill");
    assert!(http::post(&url, &[], &json!({})).await.status.is_success());
    eventually(
        "the walk is held up by the limit, and nothing is said to be wrong",
        async || {
            let run = world.served.status().await["backfill"].clone();
            let held_up = run["error"].as_str()?.to_owned();
            let is_limit = held_up.contains("limit is used up") && !held_up.contains("UPSTREAM");
            (run["state"] == "running" && is_limit).then_some(())
        },
    )
    .await;
    // Whoever stops it does not wait.
    world.end().await;
}

/// Whom a list shows as deleted is gone, and not merely another.
#[tokio::test(flavor = "multi_thread")]
async fn whom_a_list_shows_as_deleted_counts_as_deleted() {
    let world = supabase(&Roll::of(3)).await;
    assert_eq!(world.served.walk("backfill").await["state"], "done");
    let user = |user: usize, deleted: Option<String>| {
        json!({"id": format!("8b2d5a3e-1111-4c1a-9a37-{user:012}"), "aud": "authenticated", "email": "ada@example.com",
               "user_metadata": {}, "identities": null, "created_at": made(user), "updated_at": made(user + 60),
               "deleted_at": deleted})
    };
    let users = [user(0, Some(made(9))), user(1, None), user(2, Some(made(9)))];
    world.shapes.by("GET /auth/v1/admin/users?", move |target| {
        let users: &[Value] = if target.contains("&page=1") { &users } else { &[] };
        (
            200,
            vec![("x-total-count".to_owned(), "3".to_owned())],
            json!({"users": users, "aud": "authenticated"}),
        )
    });
    let run = world.served.walk("reconcile").await;
    assert_eq!(
        (&run["state"], &run["drift"]),
        (&json!("done"), &json!({"created": 0, "changed": 1, "deleted": 2})),
        "{run}"
    );
    assert_eq!(world.served.count("deleted_at IS NULL").await, 1);
    world.end().await;
}

/// They are deletions that nobody asked for by way of usertap, like those that a read finds.
#[tokio::test(flavor = "multi_thread")]
async fn whom_a_list_shows_as_deleted_counts_towards_the_bound_and_is_not_held_back() {
    let world = supabase(&Roll::of(16)).await;
    assert_eq!(world.served.walk("backfill").await["state"], "done");
    world.shapes.by("GET /auth/v1/admin/users?", |target| {
        // Ten are shown, eight of them as deleted; the others are gone altogether.
        let shown = if target.contains("&page=1") { 0..10 } else { 0..0 };
        let user = |user: usize| {
            json!({"id": format!("8b2d5a3e-1111-4c1a-9a37-{user:012}"), "aud": "authenticated", "email": "ada@example.com",
                   "user_metadata": {}, "identities": null, "created_at": made(user), "updated_at": made(user + 60),
                   "deleted_at": (user < 8).then(|| made(user + 60))})
        };
        let users: Vec<Value> = shown.map(user).collect();
        (
            200,
            vec![("x-total-count".to_owned(), "10".to_owned())],
            json!({"users": users, "aud": "authenticated"}),
        )
    });
    let run = world.served.walk("reconcile").await;
    assert_eq!(
        (&run["drift"]["deleted"], &run["held_back"]),
        (&json!(10), &json!(4)),
        "{run}"
    );
    assert_eq!(world.served.count("deleted_at IS NOT NULL").await, 10);
    world.end().await;
}

/// One user's broken name stands in everybody's way: the operator reads where it is, and that it is not the address.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_cannot_be_read_is_named_with_what_is_wrong_and_what_to_do() {
    let behind = "GET /admin/realms/shop/users?briefRepresentation=false&max=100&first=1";
    let no_text: &[u8] = b"[{\"id\": \"8b2d5a3e-1111-4c1a-9a37-000000000002\", \"firstName\": \"Ren\xe9\"}]";
    let no_json: &[u8] = b"<!doctype html><title>Please wait</title>";
    for (page, body, said) in [
        (
            behind,
            no_text,
            ["page 2", "not valid UTF-8", "mended at the provider"],
        ),
        (behind, no_json, ["page 2", "no JSON", "what answers there"]),
        (
            "GET /admin/realms/shop/users?",
            no_text,
            ["page 1", "not valid UTF-8", "mended at the provider"],
        ),
    ] {
        let world = keycloak(2).await;
        world.shapes.bytes(page, body);
        let url = world.served.admin_url("/v1/backfill");
        assert!(http::post(&url, &[], &json!({})).await.status.is_success());
        eventually("it is told", async || {
            let told = world.served.status().await["backfill"]["error"]
                .as_str()?
                .to_owned();
            (said.iter().all(|part| told.contains(part)) && !told.contains("UPSTREAM")).then_some(())
        })
        .await;
        world.end().await;
    }
}
