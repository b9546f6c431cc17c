//! Clerk as an app has it: its sandbox, a serving usertap, a Postgres whose ids are text.

mod limits;
mod sandbox;
mod told;

use ::http::Method;
use serde_json::{Value, json};
use usertap::sandbox::{Action, Canned, Control, Fault, Options, Plays, Sandbox};
use usertap::tasks::Tasks;

use crate::support::http::{self as http_client, Reply};
use crate::support::served::Served;

pub struct Clerk {
    pub sandbox: Sandbox,
    pub served: Served,
    tasks: Tasks,
    authorization: String,
}

impl Clerk {
    pub async fn with_users(users: usize) -> Clerk {
        Clerk::new(users, Options::default(), &[]).await
    }

    pub async fn new(users: usize, options: Options, settings: &[(&str, &str)]) -> Clerk {
        let tasks = Tasks::default();
        let options = Options {
            plays: Plays::Clerk,
            users,
            ..options
        };
        let sandbox = Sandbox::start(options, &tasks).await.expect("a sandbox");
        let more = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let all = sandbox.settings(0).into_iter().chain(more).collect();
        let served = Served::start(all).await;
        let authorization = format!("Bearer {}", setting(&sandbox, "CLERK_SECRET_KEY"));
        Clerk {
            sandbox,
            served,
            tasks,
            authorization,
        }
    }

    pub fn control(&self) -> &Control {
        self.sandbox.control()
    }

    pub async fn ask(&self, method: Method, path: &str, body: Value) -> Reply {
        let headers = [("authorization", self.authorization.as_str())];
        self.served
            .ask(method, &format!("/v1{path}"), &headers, &body)
            .await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.ask(Method::GET, path, Value::Null).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.ask(Method::POST, path, body).await
    }

    pub async fn create(&self, email: &str) -> String {
        let body = json!({"email_address": [email], "first_name": "Ada", "last_name": "Lovelace"});
        let reply = self.post("/users", body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(reply.recorded().starts_with("committed"), "{}", reply.recorded());
        reply.json()["id"].as_str().unwrap().to_owned()
    }

    /// The row says what the provider says, its secrets and volatile fields aside.
    pub async fn is_level(&self, id: &str) {
        let row = self.served.row(id).await.expect("a row");
        let mut user = self
            .control()
            .in_clerk(|clerk| clerk.user(0, id))
            .unwrap()
            .expect("a user");
        let mut raw = row.raw.clone();
        for side in [&mut user, &mut raw] {
            let fields = side.as_object_mut().unwrap();
            for field in ["private_metadata", "last_active_at", "last_sign_in_at"] {
                fields.remove(field);
            }
        }
        assert_eq!(raw, user);
        assert!(row.raw.get("private_metadata").is_none());
        assert_eq!(row.updated_at, user["updated_at"].as_i64());
        assert_eq!(row.created_at, user["created_at"].as_i64());
    }

    pub async fn end(self) {
        self.served.end().await;
        self.tasks.stop();
    }
}

pub fn setting(sandbox: &Sandbox, name: &str) -> String {
    let all = sandbox.settings(0).into_iter();
    let mut found = all.filter(|(own, _)| own == name);
    found.next().expect("a setting of that name").1
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_that_tells_of_a_user_finds_the_row_written() {
    let clerk = Clerk::with_users(3).await;
    let ada = clerk.create("ada@example.com").await;
    clerk.is_level(&ada).await;
    let row = clerk.served.row(&ada).await.unwrap();
    assert_eq!(row.name.as_deref(), Some("Ada Lovelace"));
    assert_eq!(row.email.as_deref(), Some("ada@example.com"));

    let writes = [
        (Method::PATCH, "", json!({"first_name": "Countess"})),
        (
            Method::PATCH,
            "/metadata",
            json!({"public_metadata": {"a": {"b": 1}}}),
        ),
        (
            Method::PUT,
            "/metadata",
            json!({"public_metadata": {"c": 2}, "private_metadata": {"card": "4242"}}),
        ),
        (Method::POST, "/ban", Value::Null),
        (Method::POST, "/lock", Value::Null),
        (Method::POST, "/unban", Value::Null),
        (Method::POST, "/profile_image", Value::Null),
        (
            Method::PUT,
            "/email_address",
            json!({"email_address": "countess@example.com"}),
        ),
    ];
    for (method, path, body) in writes {
        let reply = clerk.ask(method, &format!("/users/{ada}{path}"), body).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        assert!(
            reply.recorded().starts_with("committed"),
            "{path}: {}",
            reply.recorded()
        );
        clerk.is_level(&ada).await;
    }
    clerk.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_named_in_the_body_alone_is_read_again() {
    let clerk = Clerk::with_users(0).await;
    let ada = clerk.create("ada@example.com").await;
    let body =
        json!({"user_id": ada, "email_address": "second@example.com", "verified": true, "primary": true});
    let reply = clerk.post("/email_addresses", body).await;
    assert!(reply.recorded().starts_with("committed"), "{}", reply.recorded());
    assert_eq!(
        clerk.served.row(&ada).await.unwrap().email.as_deref(),
        Some("second@example.com")
    );
    clerk.is_level(&ada).await;

    let bea = clerk.create("bea@example.com").await;
    let reply = clerk.post("/users/ban", json!({"user_ids": [ada, bea]})).await;
    assert!(reply.recorded().starts_with("committed"), "{}", reply.recorded());
    for user in [&ada, &bea] {
        assert_eq!(clerk.served.row(user).await.unwrap().raw["banned"], true);
        clerk.is_level(user).await;
    }

    let organization = clerk
        .post("/organizations", json!({"name": "Analysts", "created_by": ada}))
        .await
        .json();
    let id = organization["id"].as_str().unwrap();
    let body = json!({"user_id": bea, "role": "org:member"});
    let joined = clerk
        .post(&format!("/organizations/{id}/memberships"), body)
        .await;
    assert!(
        joined.recorded().starts_with("committed"),
        "{}",
        joined.recorded()
    );
    clerk.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memberships_bring_users_whom_nobody_has_seen() {
    let clerk = Clerk::with_users(2).await;
    let users: Vec<_> = clerk.control().in_clerk(|clerk| clerk.ids(0)).unwrap();
    let direct = format!("http://{}/v1/organizations", clerk.sandbox.addr());
    let body = json!({"name": "Analysts", "created_by": users[0]});
    let headers = [("authorization", clerk.authorization.as_str())];
    let organization = http_client::post(&direct, &headers, &body).await.json();
    let id = organization["id"].as_str().unwrap();
    assert_eq!(clerk.served.count("true").await, 0, "made behind usertap's back");
    let members = clerk.get(&format!("/organizations/{id}/memberships")).await;
    assert_eq!(members.json()["total_count"], 1);
    clerk.is_level(&users[0]).await;
    clerk.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_foreign_keys_hold_with_text_ids() {
    let clerk = Clerk::with_users(0).await;
    let examples = include_str!("../fixtures/foreign-keys.sql").replace("UUID", "TEXT");
    clerk.served.client.batch_execute(&examples).await.unwrap();
    let ada = clerk.create("ada@example.com").await;
    let insert = "INSERT INTO todos (task, user_id) VALUES ('write tests', $1)";
    clerk
        .served
        .client
        .execute(insert, &[&ada])
        .await
        .expect("the foreign key holds");
    assert!(
        clerk
            .served
            .client
            .execute(insert, &[&"user_none"])
            .await
            .is_err()
    );
    clerk.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_user_is_deleted_by_the_answer_or_by_a_not_found() {
    let clerk = Clerk::with_users(0).await;
    let (ada, bea) = (
        clerk.create("ada@example.com").await,
        clerk.create("bea@example.com").await,
    );
    let gone = clerk
        .ask(Method::DELETE, &format!("/users/{ada}"), Value::Null)
        .await;
    assert_eq!(gone.json(), json!({"object": "user", "id": ada, "deleted": true}));
    assert!(clerk.served.row(&ada).await.unwrap().is_deleted);

    clerk.control().in_clerk(|clerk| clerk.delete(0, &bea)).unwrap();
    let missing = clerk.get(&format!("/users/{bea}")).await;
    assert_eq!(
        (
            missing.status.as_u16(),
            missing.json()["errors"][0]["code"].as_str()
        ),
        (404, Some("resource_not_found"))
    );
    assert!(clerk.served.row(&bea).await.unwrap().is_deleted);
    clerk.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_gets_everyone_and_a_reconcile_what_nobody_told() {
    let clerk = Clerk::with_users(1_203).await;
    let done = clerk.served.walk("backfill").await;
    assert_eq!(
        (done["state"].as_str(), done["fetched"].as_i64()),
        (Some("done"), Some(1_203))
    );
    assert_eq!(done["total"], 1_203);
    assert_eq!(clerk.served.count("deleted_at IS NULL").await, 1_203);

    let users: Vec<_> = clerk.control().in_clerk(|clerk| clerk.ids(0)).unwrap();
    clerk
        .control()
        .in_clerk(|clerk| clerk.delete(0, &users[7]))
        .unwrap();
    clerk
        .control()
        .in_clerk(|clerk| clerk.rename(0, &users[9], "Renamed"))
        .unwrap();
    let done = clerk.served.walk("reconcile").await;
    assert_eq!(done["state"], "done", "{done}");
    assert!(clerk.served.row(&users[7]).await.unwrap().is_deleted);
    clerk.is_level(&users[9]).await;
    assert_eq!(clerk.served.count("deleted_at IS NOT NULL").await, 1);
    clerk.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_and_its_count_and_the_cache_with_exactly_that_content_type() {
    let clerk = Clerk::with_users(5).await;
    let (list, count) = tokio::join!(clerk.get("/users?limit=3"), clerk.get("/users/count"));
    assert_eq!(list.json().as_array().unwrap().len(), 3);
    assert_eq!(count.json(), json!({"object": "total_count", "total_count": 5}));
    let id = list.json()[0]["id"].as_str().unwrap().to_owned();
    let fresh = clerk.get(&format!("/users/{id}")).await;
    let kept = clerk.get(&format!("/users/{id}")).await;
    assert!(
        kept.header("x-usertap-cache").unwrap().starts_with("hit"),
        "{:?}",
        kept.headers
    );
    for reply in [&list, &fresh, &kept] {
        assert_eq!(reply.header("content-type"), Some("application/json"));
    }
    assert_eq!(fresh.body, kept.body);
    let renamed = clerk
        .ask(
            Method::PATCH,
            &format!("/users/{id}"),
            json!({"first_name": "Bea"}),
        )
        .await;
    assert_eq!(clerk.get(&format!("/users/{id}")).await.body, renamed.body);
    clerk.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_is_another_instance_and_leaves_no_trace() {
    let clerk = Clerk::new(
        2,
        Options {
            projects: 2,
            ..Options::default()
        },
        &[],
    )
    .await;
    let other = clerk
        .sandbox
        .settings(1)
        .into_iter()
        .find(|(name, _)| name == "OTHER_CLERK_SECRET_KEY")
        .unwrap()
        .1;
    let authorization = format!("Bearer {other}");
    let headers = [("authorization", authorization.as_str())];
    let body = json!({"email_address": ["eve@example.com"]});
    let reply = clerk.served.ask(Method::POST, "/v1/users", &headers, &body).await;
    assert_eq!(
        (reply.status.as_u16(), reply.recorded()),
        (200, "none; foreign-tenant")
    );
    let wrong = clerk
        .served
        .ask(
            Method::GET,
            "/v1/users",
            &[("authorization", "Bearer sk_wrong")],
            &Value::Null,
        )
        .await;
    assert_eq!(wrong.json()["errors"][0]["code"], "clerk_key_invalid");
    assert_eq!(clerk.served.count("true").await, 0);
    clerk.end().await;
}

/// `private_metadata` is never stored: what is would be less than the app asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_lacks_what_is_dropped_stands_in_for_nothing() {
    let clerk = Clerk::new(0, Options::default(), &[("USERTAP_CACHE_TTL", "0")]).await;
    let path = format!("/users/{}", clerk.create("ada@example.com").await);
    assert!(clerk.get(&path).await.recorded().starts_with("committed"));
    let down = Action::Reject(Canned::new(500, "{}"));
    clerk.control().fault(Fault::on(&path, down));
    let failed = clerk.get(&path).await;
    assert_eq!((failed.status.as_u16(), failed.text()), (500, "{}".to_owned()));
    clerk.end().await;
}
