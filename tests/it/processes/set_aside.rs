//! Everything in a database that can refuse a row, or all of them: the app has its answer with the right
//! word, others are written, the feed goes on, the status names it with a remedy, and once the cause
//! is gone all is well without a restart.

mod deletions;
mod suppressed;

use ::http::Method;
use futures_util::StreamExt;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;
use usertap::sandbox::{Action, Fault};
use uuid::Uuid;

use super::{Server, World, id_of, recorded};
use crate::support::eventually;
use crate::support::http::{self, Reply};
use crate::support::postgres;

/// Nothing in a test waits for its time.
const SOON: &str = "purge-every=200ms,owed-every=200ms";

impl World {
    pub(super) async fn of_plain_owner(users: usize) -> World {
        World::with_users(users).await.owned_plainly().await
    }

    /// As hosts hand databases out: usertap's role owns its database and is no superuser; the test's
    /// client is.
    pub(super) async fn owned_plainly(mut self) -> World {
        let mut url: url::Url = self.url.expose_secret().parse().expect("a URL");
        let database = url.path().trim_start_matches('/').to_owned();
        let role = format!("owner_{database}");
        self.sql(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'plain'; ALTER DATABASE {database} OWNER TO {role}"
        ))
        .await;
        url.set_username(&role).expect("a user");
        url.set_password(Some("plain")).expect("a password");
        self.url = SecretString::from(String::from(url));
        self.and("FAILPOINTS", SOON)
            // Machines that run tests are slow.
            .and("USERTAP_SYNC_TIMEOUT", "50s")
            .and("USERTAP_CACHE_TTL", "0")
    }

    /// Whoever takes tables away under a serve at work may be the one whom Postgres chooses to end a deadlock.
    pub(super) async fn sql(&self, statements: &str) {
        let mut done = self.client.batch_execute(statements).await;
        while done.as_ref().err().and_then(Error::code) == Some(&SqlState::T_R_DEADLOCK_DETECTED) {
            done = self.client.batch_execute(statements).await;
        }
        done.expect("a statement");
    }

    /// The owner's name, for grants.
    async fn owner(&self) -> String {
        let url: url::Url = self.url.expose_secret().parse().expect("a URL");
        url.username().to_owned()
    }

    async fn row(&self, id: Uuid) -> bool {
        let row = format!("SELECT count(*) FROM neon_identity.users_sync WHERE id = '{id}'");
        self.count(&row).await == 1
    }

    pub(super) async fn is_deleted(&self, id: Uuid) -> bool {
        let row = format!(
            "SELECT count(*) FROM neon_identity.users_sync WHERE id = '{id}' AND deleted_at IS NOT NULL"
        );
        self.count(&row).await == 1
    }

    pub(super) async fn eventually_named(&self, id: Uuid, name: &str) {
        self.once_tried("the row is whole", async || {
            self.name(id).await.as_deref() == Some(name)
        })
        .await;
    }

    async fn eventually_gone(&self, id: Uuid) {
        self.once_tried("the row says that the user is gone", async || {
            self.is_deleted(id).await
        })
        .await;
    }

    /// What waits for its time need not wait in a test.
    async fn once_tried(&self, what: &str, holds: impl AsyncFn() -> bool) {
        eventually(what, async || {
            self.sql("UPDATE usertap.set_aside SET next_try = now()").await;
            holds().await.then_some(())
        })
        .await;
    }
}

impl Server {
    /// The feed answers, and has so many changes.
    async fn changes(&self) -> usize {
        let url = format!("http://{}/v1/changes?limit=1000", self.admin);
        let page = eventually("the feed answers", || async {
            let page = http::get(&url, &[]).await;
            (page.status == 200).then(|| page.json())
        });
        page.await["changes"].as_array().expect("a page").len()
    }

    /// What the feed tells of a user.
    async fn told_of(&self, id: Uuid) -> Vec<String> {
        let url = format!("http://{}/v1/changes?id={id}", self.admin);
        let page = http::get(&url, &[]).await.json();
        let changes = page["changes"].as_array().expect("a page").iter();
        changes
            .map(|change| change["type"].as_str().expect("a type").to_owned())
            .collect()
    }

    async fn deletes(&self, world: &World, id: Uuid) -> Reply {
        self.ask(world, Method::DELETE, &format!("/users/{id}"), &json!({}))
            .await
    }

    pub(super) async fn renames(&self, world: &World, id: Uuid, name: &str) -> Reply {
        let body = json!({ "display_name": name });
        self.ask(world, Method::PATCH, &format!("/users/{id}"), &body)
            .await
    }
}

/// All at once would be more than a busy machine bears.
async fn two_at_once(cases: impl Iterator<Item = impl Future<Output = ()>>) {
    let cases = futures_util::stream::iter(cases).buffer_unordered(2);
    cases.collect::<Vec<()>>().await;
}

/// What refuses the row of one user, and nobody else's.
struct OfARow {
    name: &'static str,
    breaks: &'static str,
    mends: &'static str,
    /// In the status.
    says: &'static str,
}

const OF_A_ROW: &[OfARow] = &[
    OfARow {
        name: "a CHECK",
        breaks: "ALTER TABLE neon_identity.users_sync ADD CONSTRAINT no_robert CHECK (name <> 'Bad Robert') NOT VALID",
        mends: "ALTER TABLE neon_identity.users_sync DROP CONSTRAINT no_robert",
        says: "no_robert",
    },
    OfARow {
        name: "a trigger that raises",
        breaks: "CREATE FUNCTION public.no_robert() RETURNS trigger LANGUAGE plpgsql AS $$
                 BEGIN IF NEW.name = 'Bad Robert' THEN RAISE 'no'; END IF; RETURN NEW; END $$;
                 CREATE TRIGGER no_robert BEFORE INSERT OR UPDATE ON neon_identity.users_sync
                 FOR EACH ROW EXECUTE FUNCTION public.no_robert()",
        mends: "DROP TRIGGER no_robert ON neon_identity.users_sync",
        says: "a trigger raised an exception",
    },
    OfARow {
        name: "a trigger that leaves it out",
        breaks: "CREATE FUNCTION public.no_robert() RETURNS trigger LANGUAGE plpgsql AS $$
                 BEGIN IF NEW.name = 'Bad Robert' THEN RETURN NULL; END IF; RETURN NEW; END $$;
                 CREATE TRIGGER no_robert BEFORE INSERT OR UPDATE ON neon_identity.users_sync
                 FOR EACH ROW EXECUTE FUNCTION public.no_robert()",
        mends: "DROP TRIGGER no_robert ON neon_identity.users_sync",
        says: "suppressed the row",
    },
    OfARow {
        name: "a trigger that is broken",
        breaks: "CREATE FUNCTION public.no_robert() RETURNS trigger LANGUAGE plpgsql AS $$
                 BEGIN IF NEW.name = 'Bad Robert' THEN PERFORM 1 FROM public.gone; END IF; RETURN NEW; END $$;
                 CREATE TRIGGER no_robert AFTER INSERT OR UPDATE ON neon_identity.users_sync
                 FOR EACH ROW EXECUTE FUNCTION public.no_robert()",
        mends: "CREATE TABLE public.gone (); GRANT SELECT ON public.gone TO PUBLIC",
        says: "a trigger on users_sync, or what it calls, is broken",
    },
    OfARow {
        name: "a trigger that takes long",
        breaks: "CREATE FUNCTION public.no_robert() RETURNS trigger LANGUAGE plpgsql AS $$
                 BEGIN IF NEW.name = 'Bad Robert' THEN PERFORM pg_sleep(60); END IF; RETURN NEW; END $$;
                 CREATE TRIGGER no_robert BEFORE INSERT OR UPDATE ON neon_identity.users_sync
                 FOR EACH ROW EXECUTE FUNCTION public.no_robert()",
        mends: "DROP TRIGGER no_robert ON neon_identity.users_sync",
        says: "writing the row took too long",
    },
    OfARow {
        name: "a unique index",
        breaks: "INSERT INTO neon_identity.users_sync (id, name, raw_json) VALUES
                 ('00000000-0000-4000-8000-000000000001', 'Bad Robert', '{}');
                 CREATE UNIQUE INDEX one_robert ON neon_identity.users_sync (name) WHERE name = 'Bad Robert'",
        mends: "DROP INDEX neon_identity.one_robert",
        says: "one_robert",
    },
    OfARow {
        name: "a policy",
        breaks: "ALTER TABLE neon_identity.users_sync ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
                 CREATE POLICY no_robert ON neon_identity.users_sync USING (true) WITH CHECK (name <> 'Bad Robert' OR name IS NULL)",
        mends: "DROP POLICY no_robert ON neon_identity.users_sync;
                ALTER TABLE neon_identity.users_sync NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY",
        says: "a row-level policy refused the row",
    },
    OfARow {
        name: "a lock on the row",
        breaks: "",
        mends: "",
        says: "a lock on the row was held too long",
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn what_refuses_one_row_stops_no_other() {
    two_at_once(OF_A_ROW.iter().map(of_a_row)).await;
}

async fn of_a_row(case: &OfARow) {
    let what = case.name;
    let world = World::of_plain_owner(12).await;
    let server = world.serve().await;
    let good = server.create(&world, "Good").await;
    assert_eq!(recorded(&good), "committed", "{what}");
    let bad = world
        .control()
        .create(0, json!({ "display_name": "Bad Robert" }))
        .expect("a user");
    let mut holder = postgres::client(&world.url).await;
    let held = match case.breaks {
        "" => Some(hold(&mut holder, bad).await),
        breaks => {
            world.sql(breaks).await;
            None
        }
    };
    // A list with everybody in it.
    let list = server.get(&world, "/users?limit=100").await;
    assert_eq!(
        (list.status.as_u16(), list.recorded()),
        (200, "none; set-aside"),
        "{what}"
    );
    let others = list.json()["items"].as_array().map_or(0, Vec::len) - 1;
    assert!(others >= 5, "{what}");
    let written = format!(
        "SELECT count(*) FROM neon_identity.users_sync WHERE id NOT IN ('{bad}', '00000000-0000-4000-8000-000000000001')"
    );
    assert_eq!(
        world.count(&written).await,
        others as i64,
        "{what}: the others are there"
    );
    let one = server.get(&world, &format!("/users/{bad}")).await;
    assert_eq!(
        (one.status.as_u16(), one.recorded()),
        (200, "none; set-aside"),
        "{what}"
    );
    assert_eq!(one.json()["display_name"], "Bad Robert", "{what}");
    server.names(&["set-aside", case.says, &bad.to_string()]).await;
    assert!(server.changes().await >= others, "{what}");
    assert_eq!(
        recorded(&server.create(&world, "Another").await),
        "committed",
        "{what}"
    );
    eventually("it is ready", || async {
        server.readyz().await.contains("\"ready\"").then_some(())
    })
    .await;
    match held {
        Some(held) => held.rollback().await.expect("an end"),
        None => world.sql(case.mends).await,
    }
    world.eventually_named(bad, "Bad Robert").await;
    server.has_no_problem().await;
    let one = server.get(&world, &format!("/users/{bad}")).await;
    assert_eq!(recorded(&one), "committed", "{what}");
    server.stop().await;
}

/// Somebody has written this user's row and does not commit.
async fn hold(client: &mut tokio_postgres::Client, user: Uuid) -> tokio_postgres::Transaction<'_> {
    let held = client.transaction().await.expect("a transaction");
    let insert = format!("INSERT INTO neon_identity.users_sync (id, raw_json) VALUES ('{user}', '{{}}')");
    held.batch_execute(&insert).await.expect("a row");
    held
}

/// What stops every row.
struct OfTheTable {
    name: &'static str,
    breaks: &'static str,
    mends: &'static str,
    says: &'static str,
}

const OF_THE_TABLE: &[OfTheTable] = &[
    OfTheTable {
        name: "renamed",
        breaks: "ALTER TABLE neon_identity.users_sync RENAME TO users_two",
        mends: "ALTER TABLE neon_identity.users_two RENAME TO users_sync",
        says: "ALTER TABLE neon_identity.users_two RENAME TO users_sync",
    },
    OfTheTable {
        name: "replaced",
        breaks: "ALTER TABLE neon_identity.users_sync RENAME TO users_two;
                 CREATE TABLE neon_identity.users_sync (LIKE neon_identity.users_two INCLUDING ALL);
                 ALTER TABLE neon_identity.users_sync OWNER TO {owner}",
        mends: "DROP TABLE neon_identity.users_sync; ALTER TABLE neon_identity.users_two RENAME TO users_sync",
        says: "users_sync is not the table that usertap made",
    },
    OfTheTable {
        name: "dropped",
        breaks: "CREATE TABLE public.kept AS TABLE neon_identity.users_sync;
                 DROP TABLE neon_identity.users_sync CASCADE",
        mends: "CREATE TABLE neon_identity.users_sync (id uuid PRIMARY KEY, name text, email text,
                    created_at timestamptz, updated_at timestamptz, deleted_at timestamptz, raw_json jsonb NOT NULL);
                INSERT INTO neon_identity.users_sync SELECT * FROM public.kept;
                ALTER TABLE neon_identity.users_sync OWNER TO {owner}",
        says: "users_sync is gone",
    },
    OfTheTable {
        name: "without a column",
        breaks: "ALTER TABLE neon_identity.users_sync RENAME COLUMN email TO mail",
        mends: "ALTER TABLE neon_identity.users_sync RENAME COLUMN mail TO email",
        says: "a column of users_sync is missing",
    },
    OfTheTable {
        name: "without our rights",
        breaks: "ALTER TABLE neon_identity.users_sync OWNER TO CURRENT_USER; REVOKE ALL ON neon_identity.users_sync FROM {owner}",
        mends: "ALTER TABLE neon_identity.users_sync OWNER TO {owner}",
        says: "grant it the right",
    },
    OfTheTable {
        name: "without the right to tell of it",
        breaks: "REVOKE INSERT ON usertap.changes FROM {owner}",
        mends: "GRANT INSERT ON usertap.changes TO {owner}",
        says: "grant it the right",
    },
    OfTheTable {
        name: "row-level security without a policy",
        breaks: "ALTER TABLE neon_identity.users_sync ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        mends: "ALTER TABLE neon_identity.users_sync NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY",
        says: "a policy where row-level security",
    },
    OfTheTable {
        name: "read-only",
        breaks: "ALTER DATABASE {database} SET default_transaction_read_only = on;
                 SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()",
        mends: "ALTER DATABASE {database} RESET default_transaction_read_only;
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid()",
        says: "where default_transaction_read_only is set, take that back",
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn what_stops_every_row_is_named_and_recovered_from() {
    two_at_once(OF_THE_TABLE.iter().map(of_the_table)).await;
}

async fn of_the_table(case: &OfTheTable) {
    let what = case.name;
    let world = World::of_plain_owner(0).await;
    let server = world.serve().await;
    let ada = server.known(&world, "Ada").await;
    let (owner, database) = (world.owner().await, world.database());
    let filled = |sql: &str| sql.replace("{owner}", &owner).replace("{database}", &database);
    world.sql(&filled(case.breaks)).await;
    let renamed = server.renames(&world, ada, "Grace").await;
    assert_eq!(
        (renamed.status.as_u16(), recorded(&renamed).as_str()),
        (200, "journaled"),
        "{what}"
    );
    let created = server.create(&world, "New").await;
    assert_eq!(
        (created.status.as_u16(), recorded(&created).as_str()),
        (201, "journaled"),
        "{what}"
    );
    server.names(&[case.says]).await;
    assert_eq!(server.changes().await, 1, "{what}: the feed answers");
    eventually("it is degraded", || async {
        server.readyz().await.contains("degraded").then_some(())
    })
    .await;
    world.sql(&filled(case.mends)).await;
    world.eventually_named(ada, "Grace").await;
    world.eventually_named(id_of(&created), "New").await;
    server.has_no_problem().await;
    assert_eq!(
        recorded(&server.renames(&world, ada, "Ada again").await),
        "committed",
        "{what}"
    );
    assert!(server.changes().await >= 4, "{what}");
    server.stop().await;
}

impl World {
    fn database(&self) -> String {
        let url: url::Url = self.url.expose_secret().parse().expect("a URL");
        url.path().trim_start_matches('/').to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_locked_for_long_is_named_and_recovered_from() {
    let world = World::of_plain_owner(0).await;
    let server = world.serve().await;
    let ada = server.known(&world, "Ada").await;
    let mut client = postgres::client(&world.url).await;
    let locked = client.transaction().await.expect("a transaction");
    let lock = "LOCK TABLE neon_identity.users_sync IN ACCESS EXCLUSIVE MODE";
    locked.batch_execute(lock).await.expect("a lock");
    let renamed = server.renames(&world, ada, "Grace").await;
    assert_eq!(
        (renamed.status.as_u16(), recorded(&renamed).as_str()),
        (200, "journaled")
    );
    server.names(&["users_sync", "lock"]).await;
    assert_eq!(server.changes().await, 1);
    locked.rollback().await.expect("an end");
    world.eventually_named(ada, "Grace").await;
    server.has_no_problem().await;
    assert_eq!(
        recorded(&server.renames(&world, ada, "Ada again").await),
        "committed"
    );
    server.stop().await;
}

/// Whoever waits for the whole table has everybody else behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_somebody_waits_to_lock_is_named_and_recovered_from() {
    let world = World::of_plain_owner(0).await;
    let server = world.serve().await;
    let ada = server.known(&world, "Ada").await;
    let mut reader = postgres::client(&world.url).await;
    let reads = reader.transaction().await.expect("a transaction");
    let read = "SELECT count(*) FROM neon_identity.users_sync";
    reads.batch_execute(read).await.expect("a lock");
    let alters = postgres::client(&world.url).await;
    let alter = "ALTER TABLE neon_identity.users_sync ALTER COLUMN email SET STATISTICS 10; \
                 ALTER TABLE neon_identity.users_sync ADD COLUMN extra integer";
    let (altered, ()) = tokio::join!(alters.batch_execute(alter), async {
        let waits = "SELECT count(*) FROM pg_locks WHERE relation = 'neon_identity.users_sync'::regclass AND NOT granted
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        eventually("the change of the table waits", || async {
            (world.count(waits).await > 0).then_some(())
        })
        .await;
        let renamed = server.renames(&world, ada, "Grace").await;
        assert_eq!(
            (renamed.status.as_u16(), recorded(&renamed).as_str()),
            (200, "journaled")
        );
        server
            .names(&["not-recording", "users_sync is locked", "transaction"])
            .await;
        reads.rollback().await.expect("an end");
    });
    altered.expect("the table is changed");
    world.eventually_named(ada, "Grace").await;
    server.has_no_problem().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_without_a_cascade_keeps_a_deleted_row_until_it_is_gone() {
    let world = World::of_plain_owner(0).await.and("USERTAP_DELETED", "purge");
    let server = world.serve().await;
    let (kept, free) = (
        server.known(&world, "Kept").await,
        server.known(&world, "Free").await,
    );
    world
        .sql(&format!(
            "CREATE TABLE posts (author uuid REFERENCES neon_identity.users_sync(id));
             INSERT INTO posts VALUES ('{kept}')"
        ))
        .await;
    for user in [kept, free] {
        let gone = server
            .ask(&world, Method::DELETE, &format!("/users/{user}"), &json!({}))
            .await;
        assert_eq!(
            (gone.status.as_u16(), recorded(&gone).as_str()),
            (200, "committed")
        );
    }
    let there = "SELECT count(*) FROM neon_identity.users_sync WHERE deleted_at IS NOT NULL";
    eventually("the one that nothing refers to is gone", || async {
        (world.rows().await == 1 && world.count(there).await == 1).then_some(())
    })
    .await;
    server
        .names(&[
            "set-aside",
            "a foreign key refused the change",
            "posts",
            &kept.to_string(),
        ])
        .await;
    world.sql("DELETE FROM posts").await;
    world
        .once_tried("the row is gone", async || world.rows().await == 0)
        .await;
    server.has_no_problem().await;
    // Created, deleted and purged, each of them.
    assert_eq!(server.changes().await, 6);
    server.stop().await;
}

/// Whoever reads the status waits for that moment and no longer: not for the next look, nor after a start.
#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_was_refused_is_tried_when_the_status_says() {
    let world = World::of_plain_owner(0).await.and("USERTAP_DELETED", "purge");
    let world = world.and("FAILPOINTS", "purge-every=600000ms");
    let server = world.serve().await;
    let (first, second) = (
        server.known(&world, "First").await,
        server.known(&world, "Second").await,
    );
    world
        .sql(&format!(
            "CREATE TABLE posts (author uuid REFERENCES neon_identity.users_sync(id));
             INSERT INTO posts VALUES ('{first}'), ('{second}')"
        ))
        .await;
    server.deletes(&world, first).await;
    server.names(&["set-aside", &first.to_string()]).await;
    let freed = |after: u8, user| {
        format!(
            "DELETE FROM posts WHERE author = '{user}';
             UPDATE usertap.set_aside SET next_try = now() + interval '{after} s' WHERE id = '{user}'"
        )
    };
    world.sql(&freed(1, first)).await;
    server.deletes(&world, second).await;
    eventually("the first is tried again", || async {
        (!world.row(first).await).then_some(())
    })
    .await;
    server.names(&["set-aside", &second.to_string()]).await;
    world.sql(&freed(3, second)).await;
    server.stop().await;
    let server = world.serve().await;
    eventually("so is the second, after a start", || async {
        (!world.row(second).await).then_some(())
    })
    .await;
    server.has_no_problem().await;
    server.stop().await;
}

/// Also where the provider says once more that the user is gone, as it does when a webhook tells so.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_removed_is_named_until_it_is_or_may_stay() {
    let world = World::of_plain_owner(0).await.and("USERTAP_DELETED", "purge");
    let server = world.serve().await;
    let kept = server.known(&world, "Kept").await;
    let posts = format!(
        "CREATE TABLE posts (author uuid REFERENCES neon_identity.users_sync(id));
         INSERT INTO posts VALUES ('{kept}')"
    );
    world.sql(&posts).await;
    let path = format!("/users/{kept}");
    server.ask(&world, Method::DELETE, &path, &json!({})).await;
    server.names(&["set-aside", &kept.to_string()]).await;
    world
        .sql(&format!(
            "UPDATE usertap.user_state SET doubt = position WHERE id = '{kept}'"
        ))
        .await;
    world
        .once_tried("it was read again", async || world.owed().await == 0)
        .await;
    assert_eq!(world.count("SELECT count(*) FROM usertap.set_aside").await, 1);
    server.stop().await;
    let world = world.and("USERTAP_DELETED", "keep");
    let server = world.serve().await;
    server.has_no_problem().await;
    assert_eq!(world.rows().await, 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_character_that_postgres_cannot_hold_leaves_a_skeleton() {
    let world = World::of_plain_owner(3).await;
    let server = world.serve().await;
    let bad = world.control().ids(0)[1];
    let users = world.control().users(0);
    let mut page = json!({ "items": users, "is_paginated": true, "pagination": { "next_cursor": null } });
    page["items"][1]["display_name"] = json!("NU\u{0}L");
    let page = Action::Body(page.to_string().into());
    world.control().fault(Fault::on("/users", page));
    let list = server.get(&world, "/users?limit=100").await;
    assert_eq!((list.status.as_u16(), list.recorded()), (200, "none; set-aside"));
    assert_eq!(world.rows().await, 3, "a skeleton stands in");
    // A foreign key to it holds.
    world
        .sql(&format!(
            "CREATE TABLE posts (author uuid REFERENCES neon_identity.users_sync(id));
             INSERT INTO posts VALUES ('{bad}')"
        ))
        .await;
    server.names(&["set-aside", "U+0000", &bad.to_string()]).await;
    assert_eq!(recorded(&server.renames(&world, bad, "Well").await), "committed");
    world.eventually_named(bad, "Well").await;
    server.has_no_problem().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_none_holds_up_nobody_and_is_told() {
    let world = World::of_plain_owner(0).await;
    let server = world.serve().await;
    let good = world
        .control()
        .create(0, json!({ "display_name": "Good" }))
        .expect("a user");
    let view = world.control().server_view(0, good).expect("a user");
    let mut other = view.clone();
    other["id"] = json!("user_2abc");
    let body = json!({ "items": [other, view], "is_paginated": true, "pagination": { "next_cursor": null } });
    world
        .control()
        .fault(Fault::on("/users", Action::Body(body.to_string().into())));
    let list = server.get(&world, "/users?limit=100").await;
    assert_eq!(list.status, 200);
    assert_eq!(list.json()["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(world.name(good).await.as_deref(), Some("Good"));
    server.names(&["user", "ID_TYPE"]).await;
    assert_eq!(recorded(&server.create(&world, "Another").await), "committed");
    server.stop().await;
}

/// Whatever stands before the provider may answer so once: that is no id of another type.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_shows_nobody_is_no_id_that_is_none() {
    let world = World::of_plain_owner(1).await;
    let server = world.serve().await;
    let id = world.control().ids(0)[0];
    let view = world.control().server_view(0, id).expect("a user");
    let answered = async |path: &str, body: &serde_json::Value| {
        let shown = Action::Body(body.to_string().into());
        world.control().fault(Fault::on(path, shown));
        let reply = server.get(&world, path).await;
        (reply.status.as_u16(), reply.recorded().to_owned())
    };
    for (path, body) in [
        (format!("/users/{id}"), json!({})),
        (format!("/users/{id}"), json!({ "status": "maintenance" })),
        (format!("/users/{id}"), json!({ "id": null })),
        (
            "/users".to_owned(),
            json!({ "items": [{}, view], "is_paginated": false }),
        ),
    ] {
        assert_eq!(
            answered(&path, &body).await,
            (200, "none; malformed".to_owned()),
            "{body}"
        );
    }
    server.has_no_problem().await;
    // Where nothing else comes any more, the file does not fit.
    let path = format!("/users/{id}");
    for _ in 0..10 {
        answered(&path, &json!({ "user": { "id": id } })).await;
    }
    server.names(&["users-unread"]).await;
    assert_eq!(server.get(&world, &path).await.status, 200);
    server.has_no_problem().await;
    server.stop().await;
}

/// What an app sends meanwhile is tried at once, and is no reason to wait the longer once the constraint is mended.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_is_changed_often_is_not_tried_the_later() {
    let world = World::of_plain_owner(1).await;
    let server = world.serve().await;
    let id = world.control().ids(0)[0];
    world
        .sql("ALTER TABLE neon_identity.users_sync ADD CONSTRAINT no_bad CHECK (name NOT LIKE 'Bad%')")
        .await;
    for round in 0..8 {
        let reply = server.renames(&world, id, &format!("Bad {round}")).await;
        assert_eq!(reply.recorded(), "none; set-aside");
    }
    let late = "SELECT count(*) FROM usertap.set_aside WHERE next_try > since + interval '1 minute'";
    assert_eq!(world.count(late).await, 0);
    world
        .sql("ALTER TABLE neon_identity.users_sync DROP CONSTRAINT no_bad")
        .await;
    world.eventually_named(id, "Bad 7").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_megabytes_of_metadata_are_written() {
    let world = World::of_plain_owner(0).await;
    let server = world.serve().await;
    let large = world
        .control()
        .create(
            0,
            json!({ "display_name": "Large", "server_metadata": { "much": "x".repeat(10 << 20) } }),
        )
        .expect("a user");
    let reply = server.get(&world, &format!("/users/{large}")).await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.json()["server_metadata"]["much"].as_str().map(str::len),
        Some(10 << 20)
    );
    // Its own read of so much may take longer than the answer waits.
    let words = ["committed", "none; reread-late"];
    assert!(
        words.iter().any(|word| reply.recorded().starts_with(word)),
        "{}",
        reply.recorded()
    );
    world.eventually_named(large, "Large").await;
    let stored = format!(
        "SELECT length(raw_json->'server_metadata'->>'much') FROM neon_identity.users_sync WHERE id = '{large}'"
    );
    let stored: i32 = world
        .client
        .query_one(&stored, &[])
        .await
        .expect("a query")
        .get(0);
    assert_eq!(stored, 10 << 20);
    assert_eq!(recorded(&server.create(&world, "Another").await), "committed");
    assert_eq!(server.changes().await, 2);
    server.stop().await;
}
