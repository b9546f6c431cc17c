//! A database user that did not make the tables: what it lacks is named with what gives it, by the doctor
//! and wherever it matters.

use secrecy::ExposeSecret;
use tokio_postgres::error::SqlState;

use super::commands::checks;
use super::{Server, World, recorded};
use crate::support::process::{Process, Settings, setting};
use crate::support::{eventually, postgres};

/// A user of the world's database with no right to anything yet, and the settings to come as it.
struct Other {
    name: String,
    settings: Settings,
}

impl World {
    async fn records_what_waited(&self) {
        eventually("what waited is recorded", || async {
            let users = i64::try_from(self.control().ids(0).len()).expect("few");
            (self.rows().await == users).then_some(())
        })
        .await;
    }

    async fn other_user(&self) -> Other {
        let name = format!("other_{}", uuid::Uuid::new_v4().simple());
        self.run(&format!("CREATE ROLE {name} LOGIN PASSWORD 'hush'"))
            .await;
        let mut url: url::Url = self.url.expose_secret().parse().expect("a URL");
        url.set_username(&name).expect("a user");
        url.set_password(Some("hush")).expect("a password");
        Other {
            settings: vec![setting("DATABASE_URL", url)],
            name,
        }
    }

    async fn run(&self, statements: &str) {
        self.client.batch_execute(statements).await.expect("statements");
    }

    /// Tables that another user owns, and rights on their rows.
    async fn with_rights_on_rows(&self) -> Other {
        self.start(&["migrate"]).ended().await.with_code(0);
        let other = self.other_user().await;
        let name = &other.name;
        self.run(&format!(
            "GRANT USAGE ON SCHEMA usertap, neon_identity TO {name};
             GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA usertap, neon_identity TO {name}"
        ))
        .await;
        other
    }

    /// What the doctor finds wrong for this user, and what it says is to be run.
    async fn missing(&self, other: &Other) -> Vec<(String, String)> {
        let output = self
            .start_with(&["doctor", "--json"], &other.settings)
            .ended()
            .await
            .with_code(1);
        let wrong = checks(&output).into_iter().filter(|(_, ok, _)| !ok);
        let with_remedy = wrong.map(|(what, _, found)| {
            let remedy = found.rsplit_once(" run ").map(|(_, remedy)| remedy.to_owned());
            (format!("{what}: {found}"), remedy.expect("what is to be run"))
        });
        with_remedy.collect()
    }
}

impl Other {
    fn and(&self, name: &str, value: &str) -> Settings {
        let also = [setting(name, value)];
        self.settings.iter().cloned().chain(also).collect()
    }

    /// Whoever is not recorded must not wait.
    fn impatient(&self, migrate: &str) -> Settings {
        let also = [
            setting("USERTAP_MIGRATE", migrate),
            setting("USERTAP_SYNC_TIMEOUT", "2s"),
        ];
        self.settings.iter().cloned().chain(also).collect()
    }
}

fn said(process: &Process, text: &str) -> usize {
    process.output().log().matches(text).count()
}

/// An older version needed no right to note rows: its walks go on.
#[tokio::test]
async fn who_may_not_note_rows_is_told_once_what_gives_the_right() {
    let world = World::with_users(250).await;
    let other = world.with_rights_on_rows().await;
    let as_other = |args: &[&str]| {
        let started = world.start_with(args, &other.settings);
        async { started.ended().await.with_code(0) }
    };
    as_other(&["backfill"]).await;
    world
        .run(&format!(
            "REVOKE INSERT ON usertap.sql_changes FROM {}",
            other.name
        ))
        .await;
    let ended = as_other(&["reconcile"]).await;
    let log = ended.log();
    assert_eq!(log.matches("past the triggers").count(), 1, "{log}");
    assert!(log.contains("GRANT INSERT ON usertap.sql_changes TO"), "{log}");
}

#[tokio::test]
async fn who_may_not_make_partitions_is_told_before_they_run_out() {
    for migrate in ["off", "auto"] {
        let world = World::with_users(0).await;
        let other = world.with_rights_on_rows().await;
        world.run("UPDATE usertap.meta SET position = 999990").await;
        let server = Server::of(world.start_with(&["serve"], &other.impatient(migrate))).await;
        let reply = eventually("a user is recorded", || async {
            let reply = server.create(&world, "Ada").await;
            (recorded(&reply) == "committed").then_some(reply)
        })
        .await;
        assert_eq!(reply.status, 201);
        server
            .names(&[
                "partitions-refused",
                &other.name,
                "ALTER SCHEMA \\\"usertap\\\" OWNER TO",
            ])
            .await;
        // An answer may be journaled for being slow, too: the partition is full when the status says so.
        let full = ["not-recording", &other.name, "partitions of", "ALTER TABLE"];
        eventually("the last partition is full", || async {
            server.create(&world, "Grace").await;
            server.is_named(&full).await.then_some(())
        })
        .await;
        let warnings = said(&server.process, "no new partition for the change rows yet");
        assert_eq!(warnings, 1, "{}", server.process.output().log());
        let missing = world.missing(&other).await;
        let [(what, remedy)] = &missing[..] else {
            panic!("{missing:?}")
        };
        assert!(
            what.starts_with("rights: ") && what.contains("partitions"),
            "{what}"
        );
        world.run(remedy).await;
        server.has_no_problem().await;
        world.records_what_waited().await;
        server.stop().await;
    }
}

#[tokio::test]
async fn what_forbids_partitions_keeps_no_start_and_is_named_when_they_run_out() {
    let world = World::with_users(0).await.and("USERTAP_SYNC_TIMEOUT", "2s");
    world.serve().await.stop().await;
    world
        .run(
            "UPDATE usertap.meta SET position = 999990;
             CREATE FUNCTION public.guard() RETURNS event_trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE EXCEPTION 'tables are made by others'; END $$;
             CREATE EVENT TRIGGER guard ON ddl_command_start WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION public.guard()",
        )
        .await;
    let server = world.serve().await;
    eventually("a user is recorded", || async {
        let reply = server.create(&world, "Ada").await;
        (recorded(&reply) == "committed").then_some(())
    })
    .await;
    let full = ["not-recording", "no new partition", "event trigger"];
    eventually("the last partition is full", || async {
        server.create(&world, "Grace").await;
        server.is_named(&full).await.then_some(())
    })
    .await;
    world.run("DROP EVENT TRIGGER guard").await;
    server.has_no_problem().await;
    world.records_what_waited().await;
    server.stop().await;
}

#[tokio::test]
async fn old_changes_that_may_not_be_dropped_are_told_of() {
    let world = World::with_users(0).await;
    let other = world.with_rights_on_rows().await;
    let process = world.start_with(&["serve"], &other.and("USERTAP_FEED_RETENTION", "1s"));
    let server = Server::of(process).await;
    server.create(&world, "Ada").await;
    server.process.line("old partitions of the feed stay").await;
    let log = server.stop().await.log();
    assert!(log.contains("neither make nor drop partitions"), "{log}");
    assert_eq!(log.matches("old partitions of the feed stay").count(), 1, "{log}");
}

#[tokio::test]
async fn an_older_schema_is_migrated_by_its_owner_alone() {
    let world = World::with_users(0).await;
    let other = world.with_rights_on_rows().await;
    world
        .run("ALTER TABLE usertap.unasked_deletions DROP COLUMN key")
        .await;
    for command in ["serve", "migrate"] {
        let ended = world.start_with(&[command], &other.settings).ended().await;
        ended.failed_saying(&[
            "older usertap",
            &other.name,
            "`usertap migrate` as",
            "MIGRATE=off",
        ]);
    }
}

#[tokio::test]
async fn a_start_without_rights_names_them() {
    let world = World::with_users(0).await;
    world.start(&["migrate"]).ended().await.with_code(0);
    let other = world.other_user().await;
    for migrate in ["off", "auto"] {
        let settings = other.and("USERTAP_MIGRATE", migrate);
        let ended = world.start_with(&["serve"], &settings).ended().await;
        ended.failed_saying(&[
            "GRANT USAGE ON SCHEMA neon_identity, usertap TO",
            "GRANT SELECT, INSERT",
            &other.name,
        ]);
    }
}

#[tokio::test]
async fn the_doctor_names_each_missing_right_and_who_gives_it() {
    let world = World::with_users(3).await.and("USERTAP_DELETED", "purge");
    world.start(&["migrate"]).ended().await.with_code(0);
    let other = world.other_user().await;
    let name = &other.name;
    world
        .run(&format!(
            "GRANT USAGE ON SCHEMA usertap, neon_identity TO {name};
             GRANT SELECT ON ALL TABLES IN SCHEMA usertap, neon_identity TO {name}"
        ))
        .await;
    let missing = world.missing(&other).await;
    let [(rows, grants), (partitions, ownership)] = &missing[..] else {
        panic!("{missing:?}")
    };
    for part in [
        "usertap.user_state, neon_identity.users_sync, ",
        "UPDATE ON usertap.feed_floor, usertap.meta, usertap.poll",
        "INSERT, DELETE ON usertap.met,",
        name,
    ] {
        assert!(rows.contains(part), "{part} in {rows}");
    }
    assert!(partitions.contains("neither make nor drop partitions"));
    // They are enough: for the doctor, for a serve, for both walks.
    world.run(grants).await;
    world.run(ownership).await;
    let doctor = world.start_with(&["doctor"], &other.settings).ended().await;
    doctor.with_code(0);
    for walk in ["backfill", "reconcile"] {
        let ended = world.start_with(&[walk, "--json"], &other.settings).ended().await;
        assert_eq!(ended.with_code(0).json()["balanced"], true);
    }
    let server = Server::of(world.start_with(&["serve"], &other.settings)).await;
    assert_eq!(recorded(&server.create(&world, "Ada").await), "committed");
    server.has_no_problem().await;
    server.stop().await;
}

/// Some hosts enable it on every table. Who reads the tables then finds them empty, and nothing fails.
#[tokio::test]
async fn tables_that_row_level_security_hides_are_named_and_not_taken_for_empty() {
    let world = World::with_users(0).await;
    let other = world.with_rights_on_rows().await;
    world
        .run(
            "ALTER TABLE usertap.meta ENABLE ROW LEVEL SECURITY; ALTER TABLE usertap.user_state ENABLE ROW LEVEL SECURITY;
             ALTER TABLE usertap.slots ENABLE ROW LEVEL SECURITY; CREATE POLICY all_of_them ON usertap.slots USING (true)",
        )
        .await;
    for migrate in ["off", "auto"] {
        let start = world.start_with(&["serve"], &other.impatient(migrate)).ended();
        let said = start
            .await
            .failed_saying(&["row-level security hides", &other.name]);
        assert!(!said.log().contains("drop the schemas"), "{}", said.log());
    }
    let missing = world.missing(&other).await;
    let [(what, remedy)] = &missing[..] else {
        panic!("{missing:?}")
    };
    assert!(what.contains("usertap.meta, usertap.user_state from"), "{what}");
    world.run(remedy).await;
    let server = Server::of(world.start_with(&["serve"], &other.settings)).await;
    assert_eq!(recorded(&server.create(&world, "Ada").await), "committed");
    server.stop().await;
}

#[tokio::test]
async fn who_owns_the_tables_may_be_joined() {
    let world = World::with_users(0).await;
    let other = world.with_rights_on_rows().await;
    let owner = format!("owner_of_{}", other.name);
    world
        .run(&format!(
            "CREATE ROLE {owner}; ALTER SCHEMA usertap OWNER TO {owner}; ALTER TABLE usertap.changes OWNER TO {owner}"
        ))
        .await;
    let missing = world.missing(&other).await;
    let [(what, remedy)] = &missing[..] else {
        panic!("{missing:?}")
    };
    assert!(
        remedy.starts_with(&format!("GRANT {owner} TO {}", other.name)),
        "{what}"
    );
    world.run(&format!("GRANT {owner} TO {}", other.name)).await;
    let doctor = world.start_with(&["doctor"], &other.settings).ended().await;
    doctor.with_code(0);
}

/// Every role may connect to a database unless somebody forbids it.
#[tokio::test]
async fn whoever_was_given_nothing_reads_and_does_nothing() {
    let world = World::with_users(1).await;
    world.backfill().await;
    let other = world.other_user().await;
    let everybodys = "SELECT count(*) FROM pg_namespace n, LATERAL (
            SELECT n.nspacl AS acl UNION ALL SELECT c.relacl FROM pg_class c WHERE c.relnamespace = n.oid) g,
            LATERAL aclexplode(g.acl) a
        WHERE n.nspname IN ('usertap', 'neon_identity') AND a.grantee = 0";
    assert_eq!(world.count(everybodys).await, 0, "something is granted to PUBLIC");
    let url = other.settings[0].1.clone().into();
    let nobody = postgres::client(&url).await;
    let changes = "SELECT raw FROM usertap.changes";
    for statement in ["TABLE neon_identity.users_sync", changes, "TABLE usertap.meta"] {
        let refused = nobody.batch_execute(statement).await.expect_err(statement);
        let code = refused.code().map(SqlState::code);
        assert_eq!(code, Some("42501"), "{statement}: {refused}");
    }
}

#[tokio::test]
async fn the_doctor_knows_a_database_that_is_bound_to_nobody() {
    let world = World::with_users(1).await;
    world.start(&["migrate"]).ended().await.with_code(0);
    let told = || async {
        world
            .start(&["doctor"])
            .ended()
            .await
            .with_code(0)
            .stdout
            .join("\n")
    };
    let doctor = told().await;
    assert!(
        doctor.contains("bound to nobody yet") && !doctor.contains("this tenant's"),
        "{doctor}"
    );
    world.backfill().await;
    let doctor = told().await;
    assert!(
        doctor.contains("this tenant's") && !doctor.contains("bound to nobody"),
        "{doctor}"
    );
}

#[tokio::test]
async fn the_doctor_looks_at_the_data_dir() {
    let world = World::with_users(1).await;
    let nowhere = [setting("USERTAP_DATA_DIR", "/proc/nowhere")];
    let doctor = world.start_with(&["doctor", "--json"], &nowhere).ended().await;
    let wrong: Vec<_> = checks(&doctor.with_code(1))
        .into_iter()
        .filter(|(_, ok, _)| !ok)
        .collect();
    assert!(
        matches!(&wrong[..], [(what, _, found)] if what == "DATA_DIR" && found.contains("/proc/nowhere")),
        "{wrong:?}"
    );
    let deep = world.folder.path().join("a/b");
    let there = [setting("USERTAP_DATA_DIR", deep.display())];
    let doctor = world.start_with(&["doctor"], &there).ended().await;
    doctor.with_code(0);
    assert!(!world.folder.path().join("a").exists(), "what was tried is gone");
}

/// What forbids that alone holds nothing else up, and fills the disk.
#[tokio::test]
async fn what_forbids_the_dropping_of_old_changes_is_named_until_it_does_not() {
    let world = World::with_users(0).await.and("USERTAP_FEED_RETENTION", "1s");
    let server = world.serve().await;
    world
        .run(
            "CREATE FUNCTION public.guard() RETURNS event_trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE EXCEPTION 'tables stay'; END $$;
             CREATE EVENT TRIGGER guard ON sql_drop WHEN TAG IN ('DROP TABLE') EXECUTE FUNCTION public.guard()",
        )
        .await;
    server.create(&world, "Ada").await;
    let told = [
        "partitions-refused",
        "FEED_RETENTION stay",
        "event trigger that forbids DROP TABLE",
    ];
    eventually("it is named", || async {
        server.is_named(&told).await.then_some(())
    })
    .await;
    server.process.line("old partitions of the feed stay").await;
    world.run("DROP EVENT TRIGGER guard").await;
    server.has_no_problem().await;
    let log = server.stop().await.log();
    assert_eq!(log.matches("old partitions of the feed stay").count(), 1, "{log}");
}
