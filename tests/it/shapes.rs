//! Providers whose servers no test can have: their published answers, given by a small server, and the
//! rows that come of them. For each one the same walk: list, create, read, update, delete, not found.

mod aliases;
mod files;
mod forwarded;
mod lies;
mod odd;
mod pages;
mod parts;
mod polling;
mod sign_ups;
mod told;
mod tried;
mod unnamed;
mod walks;
mod walls;
mod webhooks;

use ::http::Method;
use serde_json::{Value, json};

use crate::support::http::Reply;
use crate::support::shapes::{Shaped, set};

/// What differs from one provider to the next.
struct Provider {
    name: &'static str,
    settings: &'static [(&'static str, &'static str)],
    /// What an app's server shows.
    headers: &'static [(&'static str, &'static str)],
    /// The answer to a token that is asked for.
    login: Option<(&'static str, &'static str)>,
    /// What usertap shows for itself.
    own: Option<(&'static str, &'static str)>,
    /// `GET` of the path of a user; `{id}` stands for it.
    read: &'static str,
    not_found: &'static str,
    list: &'static str,
    list_headers: &'static [(&'static str, &'static str)],
    listed: fn(Vec<Value>) -> Value,
    user: fn(id: &str, name: &str) -> Value,
    /// The pointer to the name, or to what of it the row shows.
    name_at: &'static str,
    email: &'static str,
    create: Write,
    update: Write,
    delete: Write,
}

/// A write: on what, with which body, answered with which status, headers and body.
struct Write {
    on: &'static str,
    request: fn(id: &str) -> Value,
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    answer: fn(user: Value) -> String,
}

const ONE: &str = "8b2d5a3e-1111-4c1a-9a37-000000000001";
const TWO: &str = "8b2d5a3e-1111-4c1a-9a37-000000000002";
const CREATED: &str = "2024-01-02T03:04:05.678Z";
const CREATED_MS: i64 = 1_704_164_645_678;

fn empty(_: Value) -> String {
    String::new()
}

fn itself(user: Value) -> String {
    user.to_string()
}

impl Write {
    /// With a body that says something, unless it deletes.
    fn on(on: &'static str, status: u16, answer: fn(user: Value) -> String) -> Write {
        Write {
            on,
            request: match on.starts_with("DELETE ") {
                true => |_| Value::Null,
                false => |_| json!({ "some": "field" }),
            },
            status,
            headers: &[],
            answer,
        }
    }
}

fn before_id(read: &str) -> String {
    format!("GET {}", read.split("{id}").next().unwrap())
}

fn at(on: &str, id: &str) -> String {
    let id = percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC).to_string();
    on.replace("{id}", &id.replace("%2D", "-").replace("%5F", "_"))
}

impl Provider {
    async fn start(&self) -> Shaped {
        // What is kept, and for how long, is tested elsewhere.
        let settings = [self.settings, &[("USERTAP_CACHE_TTL", "0")]].concat();
        let shaped = Shaped::start(self.name, &settings, |shapes| {
            shapes.on(&before_id(self.read), 404, self.not_found);
            if let Some((on, answer)) = self.login {
                shapes.on(on, 200, answer);
            }
        });
        shaped.await
    }

    async fn journey(&self, one: &str, two: &str) {
        let world = self.start().await;
        self.is_listed(&world, one).await;
        self.is_created(&world, two).await;
        self.is_updated(&world, two).await;
        self.is_deleted(&world, two).await;
        self.is_missed(&world, one).await;
        if let Some((name, value)) = self.own {
            let asked = world.shapes.asked();
            let own = asked.iter().filter(|asked| asked.target.starts_with(self.list));
            let shown: Vec<_> = own
                .map(|asked| asked.headers[name].to_str().unwrap().to_owned())
                .collect();
            assert!(
                !shown.is_empty() && shown.iter().all(|shown| shown == value),
                "{shown:?}"
            );
        }
        world.end().await;
    }

    fn provides(&self, world: &Shaped, id: &str, user: &Value) {
        world.shapes.on(&at(&format!("GET {}", self.read), id), 200, user);
    }

    fn has_no(&self, world: &Shaped, id: &str) {
        world
            .shapes
            .on(&at(&format!("GET {}", self.read), id), 404, self.not_found);
    }

    async fn is_row(&self, world: &Shaped, id: &str, name: &str) {
        let row = world
            .served
            .row(id)
            .await
            .unwrap_or_else(|| panic!("{}: no row of {id}", self.name));
        assert_eq!(
            (row.name.as_deref(), row.email.as_deref()),
            (Some(name), Some(self.email)),
            "{}",
            self.name
        );
        assert_eq!(
            (row.created_at, row.is_deleted),
            (Some(CREATED_MS), false),
            "{}",
            self.name
        );
        assert_eq!(row.raw.pointer(self.name_at), Some(&json!(name)), "{}", self.name);
    }

    async fn is_listed(&self, world: &Shaped, id: &str) {
        let user = (self.user)(id, "Listed");
        self.provides(world, id, &user);
        world.shapes.with(
            &format!("GET {}", self.list),
            200,
            self.list_headers,
            (self.listed)(vec![user]),
        );
        self.ends_after_one(world);
        let run = world.served.walk("backfill").await;
        assert_eq!(
            (run["state"].as_str(), run["error"].as_str()),
            (Some("done"), None),
            "{}: {run}",
            self.name
        );
        assert_eq!(run["fetched"], 1, "{}: {run}", self.name);
        self.is_row(world, id, "Listed").await;
    }

    /// The pages after the first are empty, however they are asked for.
    fn ends_after_one(&self, world: &Shaped) {
        let empty = (self.listed)(Vec::new());
        let empty = match empty.get("total") {
            Some(_) => set(empty, "/total", 1),
            None => empty,
        };
        for second in self.second_pages() {
            world.shapes.on(&format!("GET {second}"), 200, &empty);
        }
    }

    fn second_pages(&self) -> Vec<String> {
        let more: &[&str] = match self.name {
            "supabase" => &["?sort=created_at+asc&per_page=1000&page=2"],
            "auth0" => &[
                "?include_totals=true&search_engine=v3&sort=created_at%3A1&per_page=50\
                 &q=created_at%3A%5B2024-01-02T03%3A04%3A05.678Z+TO+*%5D&page=1",
            ],
            "logto" => &["?page_size=100&page=2"],
            "keycloak" => &["?briefRepresentation=false&max=100&first=1"],
            "better-auth" => &["?sortBy=createdAt&sortDirection=asc&limit=100&offset=1"],
            _ => &[],
        };
        more.iter()
            .map(|query| format!("{}{query}", self.list.trim_end_matches('?')))
            .collect()
    }

    async fn is_created(&self, world: &Shaped, id: &str) {
        let user = (self.user)(id, "Created");
        self.provides(world, id, &user);
        let reply = self.written(world, &self.create, id, user).await;
        assert!(
            reply.recorded().starts_with("committed"),
            "{}: create: {}",
            self.name,
            reply.recorded()
        );
        self.is_row(world, id, "Created").await;
        let read = world
            .send(&at(&format!("GET {}", self.read), id), self.headers, &Value::Null)
            .await;
        assert!(
            read.recorded().starts_with("committed"),
            "{}: read: {}",
            self.name,
            read.recorded()
        );
    }

    async fn is_updated(&self, world: &Shaped, id: &str) {
        let user = (self.user)(id, "Updated");
        self.provides(world, id, &user);
        let reply = self.written(world, &self.update, id, user).await;
        assert!(
            reply.recorded().starts_with("committed"),
            "{}: update: {}",
            self.name,
            reply.recorded()
        );
        self.is_row(world, id, "Updated").await;
    }

    async fn is_deleted(&self, world: &Shaped, id: &str) {
        self.has_no(world, id);
        let reply = self
            .written(world, &self.delete, id, (self.user)(id, "Gone"))
            .await;
        assert!(
            reply.recorded().starts_with("committed"),
            "{}: delete: {}",
            self.name,
            reply.recorded()
        );
        assert!(world.served.row(id).await.unwrap().is_deleted, "{}", self.name);
    }

    /// Deleted elsewhere: a read finds nobody.
    async fn is_missed(&self, world: &Shaped, id: &str) {
        self.has_no(world, id);
        let reply = world
            .send(&at(&format!("GET {}", self.read), id), self.headers, &Value::Null)
            .await;
        assert_eq!(reply.status, 404, "{}", self.name);
        assert!(
            reply.recorded().starts_with("committed"),
            "{}: missing: {}",
            self.name,
            reply.recorded()
        );
        assert!(world.served.row(id).await.unwrap().is_deleted, "{}", self.name);
    }

    async fn written(&self, world: &Shaped, write: &Write, id: &str, user: Value) -> Reply {
        let headers: Vec<(&str, String)> = write
            .headers
            .iter()
            .map(|(name, value)| (*name, value.replace("{id}", id)))
            .collect();
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let on = at(write.on, id);
        world
            .shapes
            .with(&on, write.status, &headers, (write.answer)(user));
        let reply = world.send(&on, self.headers, &(write.request)(id)).await;
        assert_eq!(
            reply.status,
            write.status,
            "{}: {on}: {}",
            self.name,
            reply.text()
        );
        reply
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workos() {
    let provider = Provider {
        name: "workos",
        settings: &[("WORKOS_API_KEY", "sk_test_1")],
        headers: &[("authorization", "Bearer sk_test_1")],
        login: None,
        own: Some(("authorization", "Bearer sk_test_1")),
        read: "/user_management/users/{id}",
        not_found: r#"{"message":"User not found","code":"entity_not_found"}"#,
        list: "/user_management/users?",
        list_headers: &[],
        listed: |users| json!({"object": "list", "data": users, "list_metadata": {"before": null, "after": null}}),
        user: |id, name| {
            json!({"object": "user", "id": id, "email": "ada@example.com", "email_verified": true,
                   "first_name": name, "last_name": null, "name": null, "profile_picture_url": null,
                   "last_sign_in_at": null, "external_id": null, "metadata": {}, "locale": null,
                   "created_at": CREATED, "updated_at": updated_at(name)})
        },
        name_at: "/first_name",
        email: "ada@example.com",
        create: Write::on("POST /user_management/users", 201, itself),
        update: Write::on("PUT /user_management/users/{id}", 200, itself),
        delete: Write::on("DELETE /user_management/users/{id}", 202, empty),
    };
    provider.journey("user_01H", "user_02H").await;
}

/// Moves on with every change.
fn updated_at(name: &str) -> String {
    let second = match name {
        "Listed" | "Created" => 10,
        "Updated" => 11,
        _ => 12,
    };
    format!("2024-01-02T03:04:{second}.678Z")
}

#[tokio::test(flavor = "multi_thread")]
async fn supabase() {
    let headers = &[("authorization", "Bearer service"), ("apikey", "service")];
    supabase_shown(headers).journey(ONE, TWO).await;
}

/// Who has a secret key needs no other header.
#[tokio::test(flavor = "multi_thread")]
async fn supabase_by_its_key_alone() {
    let headers = &[("apikey", "service")];
    let provider = supabase_shown(headers);
    provider.journey(ONE, TWO).await;
    let world = provider.start().await;
    provider.is_created(&world, ONE).await;
    let list = format!("GET {}", provider.list);
    let listed = (provider.listed)(vec![(provider.user)(TWO, "Listed")]);
    provider.provides(&world, TWO, &(provider.user)(TWO, "Listed"));
    world.shapes.with(&list, 200, provider.list_headers, listed);
    let reply = world.ask(&list, headers).await;
    assert!(reply.recorded().starts_with("committed"), "{}", reply.recorded());
    provider.is_row(&world, TWO, "Listed").await;
    let own = format!("GET /_usertap/users/{TWO}?ensure=1");
    assert_eq!(world.ask(&own, headers).await.status, 200);
    // With a token beside the key it is the token's user who asks.
    let beside = [("apikey", "service"), ("authorization", "Bearer of-a-user")];
    assert_eq!(world.ask(&own, &beside).await.status, 401);
    provider.has_no(&world, ONE);
    let read = at(&format!("GET {}", provider.read), ONE);
    assert_eq!(world.ask(&read, &beside).await.status, 404);
    assert!(!world.served.row(ONE).await.expect("a row").is_deleted);
    world.end().await;
}

fn supabase_shown(headers: &'static [(&'static str, &'static str)]) -> Provider {
    Provider {
        name: "supabase",
        settings: &[("SUPABASE_SERVICE_ROLE_KEY", "service")],
        headers,
        login: None,
        own: Some(("apikey", "service")),
        read: "/auth/v1/admin/users/{id}",
        not_found: r#"{"code":"user_not_found","message":"User not found"}"#,
        list: "/auth/v1/admin/users",
        list_headers: &[("x-total-count", "1")],
        listed: |users| {
            // As a list has them: without what only a single read shows.
            let users = users
                .into_iter()
                .map(|user| set(user, "/identities", Value::Null));
            json!({"users": users.collect::<Vec<_>>(), "aud": "authenticated"})
        },
        user: |id, name| {
            json!({"id": id, "aud": "authenticated", "role": "authenticated", "email": "ada@example.com", "phone": "",
                   "user_metadata": {"full_name": name}, "app_metadata": {"provider": "email"},
                   "identities": [{"id": "i"}], "last_sign_in_at": null, "created_at": CREATED, "updated_at": updated_at(name)})
        },
        name_at: "/user_metadata/full_name",
        email: "ada@example.com",
        create: Write::on("POST /auth/v1/admin/users", 200, itself),
        update: Write::on("PUT /auth/v1/admin/users/{id}", 200, itself),
        delete: Write {
            request: |_| json!({"should_soft_delete": false}),
            ..Write::on("DELETE /auth/v1/admin/users/{id}", 200, |_| "{}".into())
        },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn auth0() {
    let provider = Provider {
        name: "auth0",
        settings: &[("AUTH0_CLIENT_ID", "client"), ("AUTH0_CLIENT_SECRET", "secret")],
        headers: &[("authorization", "Bearer of-the-app")],
        login: Some((
            "POST /oauth/token",
            r#"{"access_token":"own-token","expires_in":86400,"token_type":"Bearer"}"#,
        )),
        own: Some(("authorization", "Bearer own-token")),
        read: "/api/v2/users/{id}",
        not_found: r#"{"statusCode":404,"error":"Not Found","message":"The user does not exist.","errorCode":"inexistent_user"}"#,
        list: "/api/v2/users?",
        list_headers: &[],
        listed: |users| json!({"start": 0, "limit": 50, "length": users.len(), "total": users.len(), "users": users}),
        user: |id, name| {
            json!({"user_id": id, "email": "ada@example.com", "email_verified": true, "name": name, "nickname": "ada",
                   "identities": [{"provider": "auth0", "user_id": "1", "connection": "db", "access_token": "secret"}],
                   "last_login": CREATED, "logins_count": 1, "last_ip": "::1", "created_at": CREATED, "updated_at": updated_at(name)})
        },
        name_at: "/name",
        email: "ada@example.com",
        create: Write::on("POST /api/v2/users", 201, itself),
        update: Write::on("PATCH /api/v2/users/{id}", 200, itself),
        delete: Write::on("DELETE /api/v2/users/{id}", 204, empty),
    };
    provider.journey("auth0|1", "google-oauth2|2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn better_auth() {
    let provider = Provider {
        name: "better-auth",
        settings: &[
            ("BETTER_AUTH_ADMIN_EMAIL", "admin@example.com"),
            ("BETTER_AUTH_ADMIN_PASSWORD", "password"),
        ],
        headers: &[("authorization", "Bearer of-the-app")],
        login: Some((
            "POST /api/auth/sign-in/email",
            r#"{"redirect":false,"token":"own-token","user":{"id":"admin"}}"#,
        )),
        own: Some(("authorization", "Bearer own-token")),
        read: "/api/auth/admin/get-user?id={id}",
        not_found: r#"{"message":"User not found","code":"USER_NOT_FOUND"}"#,
        list: "/api/auth/admin/list-users",
        list_headers: &[],
        listed: |users| json!({"total": users.len(), "users": users}),
        user: |id, name| {
            json!({"id": id, "name": name, "email": "ada@example.com", "emailVerified": true, "image": null,
                   "role": "user", "banned": false, "banReason": null, "banExpires": null,
                   "createdAt": CREATED, "updatedAt": updated_at(name)})
        },
        name_at: "/name",
        email: "ada@example.com",
        create: Write::on("POST /api/auth/admin/create-user", 200, |user| {
            json!({"user": user}).to_string()
        }),
        update: Write {
            request: |id| json!({"userId": id, "data": {}}),
            ..Write::on("POST /api/auth/admin/update-user", 200, itself)
        },
        delete: Write {
            request: |id| json!({"userId": id}),
            ..Write::on("POST /api/auth/admin/remove-user", 200, |_| {
                r#"{"success":true}"#.into()
            })
        },
    };
    provider.journey("kQ1", "kQ2").await;
}

fn at_keycloak() -> Provider {
    Provider {
        name: "keycloak",
        settings: &[
            ("KEYCLOAK_REALM", "shop"),
            ("KEYCLOAK_CLIENT_ID", "usertap"),
            ("KEYCLOAK_CLIENT_SECRET", "secret"),
        ],
        headers: &[("authorization", "Bearer of-the-app")],
        login: Some((
            "POST /realms/shop/protocol/openid-connect/token",
            r#"{"access_token":"own-token","expires_in":60}"#,
        )),
        own: Some(("authorization", "Bearer own-token")),
        read: "/admin/realms/shop/users/{id}",
        not_found: r#"{"error":"User not found"}"#,
        list: "/admin/realms/shop/users?",
        list_headers: &[],
        listed: |users| users.into(),
        user: |id, name| {
            json!({"id": id, "username": "ada", "firstName": name, "email": "ada@example.com", "emailVerified": true,
                   "enabled": true, "createdTimestamp": CREATED_MS, "totp": false, "requiredActions": [], "notBefore": 0,
                   "access": {"manage": true}})
        },
        name_at: "/firstName",
        email: "ada@example.com",
        create: Write {
            headers: &[("location", "http://localhost/admin/realms/shop/users/{id}")],
            ..Write::on("POST /admin/realms/shop/users", 201, empty)
        },
        update: Write::on("PUT /admin/realms/shop/users/{id}", 204, empty),
        delete: Write::on("DELETE /admin/realms/shop/users/{id}", 204, empty),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keycloak() {
    let provider = at_keycloak();
    provider.journey(ONE, TWO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kratos_without_a_key() {
    let provider = Provider {
        name: "kratos",
        settings: &[],
        headers: &[],
        login: None,
        own: None,
        read: "/admin/identities/{id}",
        not_found: r#"{"error":{"code":404,"status":"Not Found","message":"Unable to locate the resource"}}"#,
        list: "/admin/identities?",
        list_headers: &[(
            "link",
            r#"</admin/identities?page_size=250&page_token=0>; rel="first""#,
        )],
        listed: |users| users.into(),
        user: |id, name| {
            json!({"id": id, "schema_id": "default", "state": "active", "traits": {"email": "ada@example.com", "name": name},
                   "verifiable_addresses": [{"via": "email", "value": "ada@example.com"}], "metadata_public": null,
                   "created_at": CREATED, "updated_at": updated_at(name)})
        },
        name_at: "/traits/name",
        email: "ada@example.com",
        create: Write::on("POST /admin/identities", 201, itself),
        update: Write::on("PUT /admin/identities/{id}", 200, itself),
        delete: Write::on("DELETE /admin/identities/{id}", 204, empty),
    };
    provider.journey(ONE, TWO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn okta() {
    let provider = Provider {
        name: "okta",
        settings: &[("OKTA_CLIENT_TOKEN", "00token")],
        headers: &[("authorization", "SSWS 00token")],
        login: None,
        own: Some(("authorization", "SSWS 00token")),
        read: "/api/v1/users/{id}",
        not_found: r#"{"errorCode":"E0000007","errorSummary":"Not found: Resource not found"}"#,
        list: "/api/v1/users?",
        list_headers: &[],
        listed: |users| users.into(),
        user: |id, name| {
            json!({"id": id, "status": "ACTIVE", "created": CREATED, "lastLogin": null, "lastUpdated": updated_at(name),
                   "profile": {"firstName": name, "lastName": null, "email": "ada@example.com", "login": "ada@example.com"},
                   "credentials": {"provider": {"type": "OKTA"}}, "_links": {}})
        },
        name_at: "/profile/firstName",
        email: "ada@example.com",
        create: Write::on("POST /api/v1/users", 200, itself),
        update: Write::on("POST /api/v1/users/{id}", 200, itself),
        delete: Write::on("DELETE /api/v1/users/{id}", 204, empty),
    };
    provider.journey("00u1", "00u2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logto() {
    let provider = Provider {
        name: "logto",
        settings: &[
            ("LOGTO_APP_ID", "client"),
            ("LOGTO_APP_SECRET", "secret"),
            ("LOGTO_API_RESOURCE", "https://shop.logto.app/api"),
        ],
        headers: &[("authorization", "Bearer of-the-app")],
        login: Some((
            "POST /oidc/token",
            r#"{"access_token":"own-token","expires_in":3600,"token_type":"Bearer","scope":"all"}"#,
        )),
        own: Some(("authorization", "Bearer own-token")),
        read: "/api/users/{id}",
        not_found: r#"{"code":"entity.not_exists_with_id","message":"The user does not exist.","data":null}"#,
        list: "/api/users?",
        list_headers: &[("total-number", "1")],
        listed: |users| users.into(),
        user: |id, name| {
            json!({"id": id, "username": null, "primaryEmail": "ada@example.com", "primaryPhone": null, "name": name,
                   "avatar": null, "customData": {}, "identities": {}, "lastSignInAt": null, "createdAt": CREATED_MS,
                   "updatedAt": CREATED_MS, "profile": {}, "applicationId": null, "isSuspended": false})
        },
        name_at: "/name",
        email: "ada@example.com",
        create: Write::on("POST /api/users", 200, itself),
        update: Write::on("PATCH /api/users/{id}", 200, itself),
        delete: Write::on("DELETE /api/users/{id}", 204, empty),
    };
    provider.journey("4hyx6r0ck2lu", "ry8kq0sw1pn2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_realm_leaves_no_trace() {
    let provider = Provider {
        own: None,
        ..at_keycloak()
    };
    let world = provider.start().await;
    let user = json!({"id": ONE, "username": "eve", "createdTimestamp": 1, "requiredActions": []});
    world
        .shapes
        .on(&format!("GET /admin/realms/other/users/{ONE}"), 200, &user);
    let reply = world
        .send(
            &format!("GET /admin/realms/other/users/{ONE}"),
            provider.headers,
            &Value::Null,
        )
        .await;
    assert_eq!(
        (reply.status.as_u16(), reply.recorded()),
        (200, "none; foreign-tenant")
    );
    assert_eq!(world.served.count("true").await, 0);
    assert!(
        world
            .shapes
            .asked()
            .iter()
            .any(|asked| asked.method == Method::POST && asked.body.starts_with(b"client_id=usertap"))
    );
    world.end().await;
}
