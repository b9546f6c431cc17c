//! The recorder against a real Postgres: what is written, what waits, what is refused.

mod failover;
mod held;
mod pages;
mod partitions;
mod property;
mod shared;
mod unknown;
mod walks;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use usertap::config::Deleted;
use usertap::db::Database;
use usertap::record::{Effect, Owed, Receipt, Recorded, Recorder, Submission, Unrecorded};
use usertap::tasks::Tasks;
use usertap::user::{
    ContentHash, Head, IdType, Observation, Origin, Position, Profile, Seen, Sent, Source, UserId, View,
};

use crate::support::eventually;
use crate::support::postgres::TestDatabase;

/// Longer than any commit takes; a wait this long means that nothing comes.
const LONG: Duration = Duration::from_secs(20);

/// A recorder as a process has it: its memory goes with it.
struct Process {
    recorder: Recorder,
    head: Arc<Head>,
    owed: tokio::sync::mpsc::Receiver<Owed>,
    tasks: Tasks,
}

impl Process {
    fn start(database: &Database, deleted: Deleted) -> Process {
        let (head, tasks) = (Arc::new(Head::default()), Tasks::default());
        let (recorder, owed) = Recorder::start(database.clone(), head.clone(), deleted, &tasks);
        Process {
            recorder,
            head,
            owed,
            tasks,
        }
    }

    async fn knows_the_head(self) -> Process {
        eventually("the recorder knows the head", || async {
            (self.head.sent().epoch > 0).then_some(())
        })
        .await;
        self
    }

    fn submit(&self, observations: Vec<Observation>) -> Receipt {
        self.recorder.submit(observations.into())
    }

    /// What a request sent now would carry.
    fn seen(&self, id: &UserId, seen: Seen) -> Observation {
        observation(id, seen, self.head.sent())
    }

    async fn end(self) {
        self.recorder.close();
        self.tasks.stop();
        assert!(self.tasks.ended(LONG).await, "the writer ends once it is closed");
    }
}

/// One on a database of its own.
struct Rig {
    db: TestDatabase,
    process: Process,
}

impl Deref for Rig {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Rig {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Rig {
    async fn new(deleted: Deleted) -> Rig {
        Rig::on(TestDatabase::new(IdType::Uuid).await, deleted)
    }

    fn on(db: TestDatabase, deleted: Deleted) -> Rig {
        let process = Process::start(&db.database, deleted);
        Rig { db, process }
    }

    async fn record(&self, observation: Observation) -> Recorded {
        self.submit(vec![observation]).recorded(LONG).await
    }

    async fn fared(&self, observation: Observation) -> Effect {
        self.submit(vec![observation])
            .fared()
            .await
            .expect("the recorder runs")
            .effects[0]
    }

    async fn row(&self, id: &UserId) -> Option<String> {
        let sql = format!("SELECT coalesce(name, '-') FROM neon_identity.users_sync WHERE id = '{id}'");
        self.db.text(&sql).await
    }

    /// The database goes back to an earlier state, and nobody stays connected.
    async fn restore(&self, statements: &str) {
        let everybody = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()";
        for part in [statements, everybody] {
            self.db
                .client
                .batch_execute(part)
                .await
                .expect("a restored backup");
        }
    }

    async fn types(&self) -> Vec<String> {
        let rows = self
            .db
            .client
            .query("SELECT type FROM usertap.changes ORDER BY position", &[])
            .await;
        rows.expect("a query").iter().map(|row| row.get(0)).collect()
    }

    async fn end(self) {
        self.process.end().await;
    }
}

fn user(n: u32) -> UserId {
    UserId::parse(&format!("00000000-0000-4000-8000-{n:012}"), IdType::Uuid).expect("an id")
}

fn observation(id: &UserId, seen: Seen, sent: Sent) -> Observation {
    let source = Source {
        origin: Origin::ProxyRead,
        route: "GET /users/{id}".into(),
        request_id: "r".into(),
    };
    Observation {
        id: id.clone(),
        seen,
        sent,
        source: Arc::new(source),
        unsettled: false,
    }
}

fn view(id: &UserId, name: &str) -> Seen {
    let mut content = [0; 16];
    for (place, byte) in name.bytes().take(16).enumerate() {
        content[place] = byte;
    }
    Seen::Whole(Arc::new(View {
        raw: serde_json::json!({ "id": id.as_str(), "display_name": name })
            .to_string()
            .into(),
        profile: Profile {
            name: Some(name.into()),
            ..Profile::default()
        },
        content: ContentHash(content),
        volatile: ContentHash([0; 16]),
        version: None,
    }))
}

fn altered(seen: Seen, alter: impl FnOnce(&mut View)) -> Seen {
    let Seen::Whole(mut view) = seen else {
        unreachable!()
    };
    alter(Arc::make_mut(&mut view));
    Seen::Whole(view)
}

fn position(recorded: &Recorded) -> Option<String> {
    match recorded {
        Recorded::Committed { position } => position.clone(),
        other => panic!("not committed: {other:?}"),
    }
}

#[tokio::test]
async fn a_new_user_is_a_row_and_a_change_before_the_receipt() {
    let rig = Rig::new(Deleted::Keep).await;
    let id = user(1);
    let first = rig.record(rig.seen(&id, view(&id, "Ada"))).await;
    assert!(position(&first).is_some());
    assert_eq!(rig.row(&id).await.as_deref(), Some("Ada"));
    let again = rig.record(rig.seen(&id, view(&id, "Ada"))).await;
    assert_eq!(position(&again), None, "unchanged");
    let second = rig.record(rig.seen(&id, view(&id, "Countess"))).await;
    assert!(position(&second) > position(&first), "positions sort as text");
    assert_eq!(rig.types().await, ["user.created", "user.updated"]);
    let changed = rig
        .db
        .text("SELECT changed::text FROM usertap.changes WHERE type = 'user.updated'")
        .await;
    assert_eq!(changed.as_deref(), Some("{name,raw_json}"));
    rig.end().await;
}

#[tokio::test]
async fn an_older_question_never_overwrites_and_is_read_again() {
    let mut rig = Rig::new(Deleted::Keep).await;
    let id = user(1);
    rig.record(rig.seen(&id, view(&id, "A"))).await;
    let slow = rig.head.sent();
    rig.record(rig.seen(&id, view(&id, "B"))).await;
    let late = rig.submit(vec![observation(&id, view(&id, "A"), slow)]);
    let owed = rig.owed.recv().await.expect("a read is owed");
    assert_eq!((&owed.user, owed.awaited), (&id, true));
    assert_eq!(rig.row(&id).await.as_deref(), Some("B"));
    let reread = rig.head.sent();
    assert!(reread.position >= owed.after);
    rig.record(observation(&id, view(&id, "B"), reread)).await;
    assert!(matches!(late.recorded(LONG).await, Recorded::Committed { .. }));
    assert_eq!(
        rig.db
            .count("SELECT count(*) FROM usertap.user_state WHERE doubt IS NOT NULL")
            .await,
        0
    );
    rig.end().await;
}

#[tokio::test]
async fn a_mark_in_memory_orders_what_no_commit_does() {
    let mut rig = Rig::new(Deleted::Keep).await;
    let id = user(1);
    rig.record(rig.seen(&id, view(&id, "A"))).await;
    let slow = rig.head.sent();
    rig.record(rig.seen(&id, view(&id, "A"))).await;
    assert_eq!(
        rig.fared(observation(&id, view(&id, "old"), slow)).await,
        Effect::Older
    );
    assert!(rig.owed.recv().await.is_some());
    assert_eq!(rig.row(&id).await.as_deref(), Some("A"));
    rig.end().await;
}

#[tokio::test]
async fn an_id_that_nobody_knows_stands_as_a_skeleton_when_its_read_is_late() {
    let mut rig = Rig::new(Deleted::Keep).await;
    let id = user(1);
    eventually("the recorder is connected", || async {
        (rig.head.sent().epoch > 0).then_some(())
    })
    .await;
    let told = rig.submit(vec![rig.seen(&id, Seen::Mentioned)]);
    assert_eq!(
        told.recorded(Duration::from_secs(2)).await,
        Recorded::None(Unrecorded::RereadLate)
    );
    assert_eq!(rig.row(&id).await.as_deref(), Some("-"));
    let raw = rig
        .db
        .text("SELECT raw_json::text FROM neon_identity.users_sync")
        .await;
    assert_eq!(raw, Some(format!("{{\"id\": \"{id}\"}}")));
    assert!(rig.owed.recv().await.is_some_and(|owed| owed.awaited));
    rig.record(rig.seen(&id, view(&id, "Ada"))).await;
    assert_eq!(rig.types().await, ["user.created", "user.updated"]);
    rig.end().await;
}

#[tokio::test]
async fn deletions_are_kept_as_tombstones_and_only_newer_answers_restore() {
    let mut rig = Rig::new(Deleted::Keep).await;
    let id = user(1);
    rig.record(rig.seen(&id, view(&id, "A"))).await;
    let before = rig.head.sent();
    rig.record(rig.seen(&id, Seen::Deleted)).await;
    let gone = "SELECT count(*) FROM neon_identity.users_sync WHERE deleted_at IS NOT NULL";
    assert_eq!(rig.db.count(gone).await, 1);
    assert_eq!(
        rig.fared(observation(&id, view(&id, "A"), before)).await,
        Effect::Older
    );
    assert!(rig.owed.recv().await.is_some());
    assert_eq!(rig.db.count(gone).await, 1);
    rig.record(rig.seen(&id, view(&id, "A"))).await;
    assert_eq!(
        rig.types().await,
        ["user.created", "user.deleted", "user.restored"]
    );
    assert_eq!(rig.db.count(gone).await, 0);
    rig.end().await;
}

#[tokio::test]
async fn a_state_without_a_user_goes_with_its_doubt() {
    let mut rig = Rig::new(Deleted::Keep).await;
    let states = "SELECT count(*) FROM usertap.user_state";
    for id in [user(7), user(8)] {
        rig.fared(rig.seen(&id, Seen::Touched)).await;
        assert!(rig.owed.recv().await.is_some());
    }
    assert_eq!(rig.db.count(states).await, 2);
    rig.fared(rig.seen(&user(7), Seen::Missing)).await;
    assert_eq!(rig.db.count(states).await, 1, "the other is still in doubt");
    // What was asked before the not-found was known cannot plant it, what is asked now can.
    let late = observation(&user(7), view(&user(7), "A"), Sent::NEVER);
    assert_eq!(rig.fared(late).await, Effect::Older);
    assert_eq!(rig.row(&user(7)).await, None);
    assert_eq!(
        rig.fared(rig.seen(&user(7), view(&user(7), "B"))).await,
        Effect::Inserted
    );
    rig.end().await;
}

#[tokio::test]
async fn a_not_found_of_an_unknown_user_leaves_nothing_behind() {
    let rig = Rig::new(Deleted::Keep).await;
    rig.record(rig.seen(&user(7), Seen::Missing)).await;
    assert_eq!(rig.db.count("SELECT count(*) FROM usertap.user_state").await, 0);
    rig.record(rig.seen(&user(8), Seen::Deleted)).await;
    assert_eq!(
        rig.db
            .text("SELECT standing FROM usertap.user_state")
            .await
            .as_deref(),
        Some("purged")
    );
    assert_eq!(
        rig.db
            .count("SELECT count(*) FROM neon_identity.users_sync")
            .await,
        0
    );
    assert!(rig.types().await.is_empty());
    rig.end().await;
}

#[tokio::test]
async fn a_refused_row_is_set_aside_and_holds_up_no_other() {
    let rig = Rig::new(Deleted::Keep).await;
    let check = "ALTER TABLE neon_identity.users_sync ADD CONSTRAINT no_eve CHECK (name <> 'Eve')";
    rig.db.client.batch_execute(check).await.expect("a constraint");
    let names = (0..50).map(|n| {
        if n == 23 {
            "Eve".to_owned()
        } else {
            format!("user {n}")
        }
    });
    let page: Vec<Observation> = names
        .enumerate()
        .map(|(n, name)| rig.seen(&user(n as u32), view(&user(n as u32), &name)))
        .collect();
    let fared = rig.submit(page.clone()).fared().await.expect("the recorder runs");
    assert_eq!(
        fared
            .effects
            .iter()
            .filter(|effect| **effect == Effect::Inserted)
            .count(),
        49
    );
    assert_eq!(fared.effects[23], Effect::SetAside);
    assert_eq!(
        rig.row(&user(23)).await.as_deref(),
        Some("-"),
        "a skeleton stands in"
    );
    let reason = rig
        .db
        .text("SELECT reason FROM usertap.set_aside")
        .await
        .expect("a reason");
    assert_eq!(
        reason,
        "a CHECK constraint refused the row: no_eve (SQLSTATE 23514)"
    );
    let nul = Seen::Whole(Arc::new(View {
        raw: format!("{{\"id\":\"{}\",\"a\":\"\\u0000\"}}", user(99)).into(),
        profile: Profile::default(),
        content: ContentHash([9; 16]),
        volatile: ContentHash([0; 16]),
        version: None,
    }));
    let recorded = rig.record(rig.seen(&user(99), nul)).await;
    assert_eq!(recorded, Recorded::None(Unrecorded::SetAside));
    assert_eq!(rig.db.count("SELECT count(*) FROM usertap.set_aside").await, 2);
    // Not tried again at once, and taken as soon as its data is right.
    assert_eq!(
        rig.fared(rig.seen(&user(23), page[23].seen.clone())).await,
        Effect::SetAside
    );
    rig.record(rig.seen(&user(23), view(&user(23), "Eva"))).await;
    assert_eq!(rig.row(&user(23)).await.as_deref(), Some("Eva"));
    assert_eq!(rig.db.count("SELECT count(*) FROM usertap.set_aside").await, 1);
    rig.end().await;
}

#[tokio::test]
async fn a_purge_fires_the_users_own_on_delete_and_blanks_the_past() {
    let rig = Rig::new(Deleted::Purge {
        after: Duration::ZERO,
    })
    .await;
    let tables = include_str!("../fixtures/foreign-keys.sql");
    rig.db
        .client
        .batch_execute(tables)
        .await
        .expect("the documented examples");
    let (id, held) = (user(1), user(2));
    for id in [&id, &held] {
        rig.record(rig.seen(id, view(id, "A"))).await;
        let rows = format!(
            "INSERT INTO todos (task, user_id) VALUES ('t', '{id}');
             INSERT INTO posts (title, content, author_id) VALUES ('t', 'c', '{id}')"
        );
        rig.db
            .client
            .batch_execute(&rows)
            .await
            .expect("rows that refer to the user");
    }
    let strict = format!(
        "CREATE TABLE bills (user_id uuid NOT NULL REFERENCES neon_identity.users_sync (id));
         INSERT INTO bills VALUES ('{held}')"
    );
    rig.db
        .client
        .batch_execute(&strict)
        .await
        .expect("a foreign key without CASCADE");
    for id in [&id, &held] {
        rig.record(rig.seen(id, Seen::Deleted)).await;
    }
    assert_eq!(rig.row(&id).await, None);
    assert_eq!(rig.db.count("SELECT count(*) FROM todos").await, 1);
    assert_eq!(
        rig.db
            .count("SELECT count(*) FROM posts WHERE author_id IS NULL")
            .await,
        1
    );
    let kept = format!(
        "SELECT count(*) FROM usertap.changes WHERE id = '{id}' AND (name IS NOT NULL OR raw IS NOT NULL)"
    );
    assert_eq!(rig.db.count(&kept).await, 0, "what older changes held is blanked");
    assert_eq!(rig.types().await.last().map(String::as_str), Some("user.deleted"));
    assert_eq!(
        rig.db
            .count("SELECT count(*) FROM usertap.changes WHERE type = 'user.purged'")
            .await,
        1
    );
    let reason = rig
        .db
        .text("SELECT reason FROM usertap.set_aside")
        .await
        .expect("a reason");
    assert!(reason.contains("bills_user_id_fkey"), "{reason}");
    assert_eq!(rig.row(&held).await.as_deref(), Some("A"), "it stays, deleted");
    rig.end().await;
}

#[tokio::test]
async fn volatile_fields_alone_make_no_change() {
    let rig = Rig::new(Deleted::Keep).await;
    let id = user(1);
    rig.record(rig.seen(&id, view(&id, "A"))).await;
    let moved = altered(view(&id, "A"), |moved| {
        moved.volatile = ContentHash([1; 16]);
        moved.raw = "{\"id\":\"x\",\"active\":1}".into();
    });
    assert_eq!(rig.fared(rig.seen(&id, moved.clone())).await, Effect::Unchanged);
    let active = "SELECT raw_json->>'active' FROM neon_identity.users_sync";
    assert_eq!(rig.db.text(active).await, None, "not within the hour");
    // An hour passes; the clock that wrote it was ahead.
    for (n, then) in [
        (2, "now() - interval '61 minutes'"),
        (3, "now() + interval '1 year'"),
    ] {
        let then = format!("UPDATE usertap.user_state SET volatile_at = {then}");
        rig.db.client.batch_execute(&then).await.expect("a statement");
        let moved = altered(moved.clone(), |moved| {
            moved.volatile = ContentHash([n; 16]);
            moved.raw = format!("{{\"id\":\"x\",\"active\":{n}}}").into();
        });
        let (again, _) = Recorder::start(
            rig.db.database.clone(),
            rig.head.clone(),
            Deleted::Keep,
            &rig.tasks,
        );
        let submission = Submission {
            observations: vec![rig.seen(&id, moved)],
            checkpoint: None,
        };
        again.submit(submission).fared().await.expect("the recorder runs");
        assert_eq!(rig.db.text(active).await, Some(n.to_string()));
        again.close();
    }
    assert_eq!(rig.types().await, ["user.created"]);
    rig.end().await;
}

#[tokio::test]
async fn a_renamed_table_stops_nothing_for_good() {
    let rig = Rig::new(Deleted::Keep).await;
    let id = user(1);
    rig.record(rig.seen(&id, view(&id, "A"))).await;
    let rename = |from: &str, to: &str| format!("ALTER TABLE neon_identity.{from} RENAME TO {to}");
    rig.db
        .client
        .batch_execute(&rename("users_sync", "people"))
        .await
        .expect("a rename");
    let queued = rig.record(rig.seen(&id, view(&id, "B"))).await;
    assert_eq!(queued, Recorded::Queued);
    let trouble = rig.recorder.figures().trouble.expect("the trouble is told");
    assert!(
        trouble.contains("42P01") || trouble.contains("name back"),
        "{trouble}"
    );
    rig.db
        .client
        .batch_execute(&rename("people", "users_sync"))
        .await
        .expect("a rename");
    eventually("the queued row is written", || async {
        rig.row(&id).await.filter(|name| name == "B")
    })
    .await;
    rig.end().await;
}

/// Commits that this process knows of only from the database are missed too.
#[tokio::test]
async fn a_history_that_others_made_and_lost_begins_a_new_epoch() {
    let rig = Rig::new(Deleted::Keep).await;
    let id = user(1);
    rig.record(rig.seen(&id, view(&id, "A"))).await;
    rig.record(rig.seen(&id, view(&id, "B"))).await;
    let head = Arc::new(Head::default());
    let (second, _owed) = Recorder::start(rig.db.database.clone(), head.clone(), Deleted::Keep, &rig.tasks);
    eventually("the second knows the head", || async {
        (head.sent().position == rig.head.sent().position).then_some(())
    })
    .await;
    let before = head.sent();
    rig.restore(
        "DELETE FROM usertap.changes WHERE position = (SELECT position FROM usertap.meta);
         UPDATE usertap.user_state SET position = position - 1;
         UPDATE usertap.meta SET position = position - 1",
    )
    .await;
    let newer = observation(&id, view(&id, "D"), before);
    let fared = second.submit(Submission {
        observations: vec![newer],
        checkpoint: None,
    });
    // What was sent before the loss proves nothing any more.
    assert_eq!(
        fared.fared().await.expect("the recorder runs").effects,
        [Effect::Older]
    );
    assert_eq!(head.sent().epoch, before.epoch + 1);
    second.close();
    rig.end().await;
}

#[tokio::test]
async fn a_lost_history_begins_a_new_epoch() {
    let rig = Rig::new(Deleted::Keep).await;
    let id = user(1);
    rig.record(rig.seen(&id, view(&id, "A"))).await;
    let before = rig.head.sent();
    // As after a restored backup: the last change is not the one that was committed.
    rig.restore("UPDATE usertap.changes SET nonce = nonce + 1").await;
    rig.record(rig.seen(&user(2), view(&user(2), "C"))).await;
    assert_eq!(
        rig.db.count("SELECT epoch FROM usertap.meta").await,
        before.epoch + 1
    );
    assert_eq!(
        rig.fared(observation(&id, view(&id, "B"), before)).await,
        Effect::Older
    );
    assert!(rig.head.sent().position > Position(0));
    rig.end().await;
}

#[tokio::test]
async fn a_row_that_no_statement_can_carry_holds_up_no_other() {
    let rig = Rig::new(Deleted::Keep).await;
    let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN IF NEW.name = ''slow'' THEN PERFORM pg_sleep(60); END IF; RETURN NEW; END';
        CREATE TRIGGER slow BEFORE INSERT ON neon_identity.users_sync FOR EACH ROW EXECUTE FUNCTION slow();
        CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN IF NEW.name = ''late'' THEN RAISE EXCEPTION ''no''; END IF; RETURN NULL; END';
        CREATE CONSTRAINT TRIGGER late AFTER INSERT ON neon_identity.users_sync
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late()";
    rig.db.client.batch_execute(slow).await.expect("triggers");
    let ancient = altered(view(&user(4), "ancient"), |ancient| {
        ancient.profile.created_at = Some(chrono::DateTime::<chrono::Utc>::MIN_UTC);
    });
    let page = vec![
        rig.seen(&user(1), view(&user(1), "a\0b")),
        rig.seen(&user(2), view(&user(2), "slow")),
        rig.seen(&user(3), view(&user(3), "late")),
        rig.seen(&user(4), ancient),
        rig.seen(&user(5), view(&user(5), "Ada")),
    ];
    let fared = rig.submit(page).fared().await.expect("the recorder runs");
    let aside = Effect::SetAside;
    assert_eq!(fared.effects, [aside, aside, aside, aside, Effect::Inserted]);
    assert_eq!(rig.row(&user(5)).await.as_deref(), Some("Ada"));
    let codes = "SELECT string_agg(sqlstate, ' ' ORDER BY id) FROM usertap.set_aside";
    assert_eq!(
        rig.db.text(codes).await.as_deref(),
        Some("22021 57014 P0001 untold")
    );
    let skeletons = "SELECT count(*) FROM neon_identity.users_sync WHERE name IS NULL";
    assert_eq!(rig.db.count(skeletons).await, 4, "foreign keys hold");
    rig.end().await;
}

#[tokio::test]
async fn a_row_set_aside_is_well_again_once_the_provider_shows_what_it_holds() {
    let rig = Rig::new(Deleted::Keep).await;
    let check = "ALTER TABLE neon_identity.users_sync ADD CONSTRAINT no_eve CHECK (name <> 'Eve')";
    rig.db.client.batch_execute(check).await.expect("a constraint");
    let id = user(1);
    rig.record(rig.seen(&id, view(&id, "Ada"))).await;
    let refused = rig.record(rig.seen(&id, view(&id, "Eve"))).await;
    assert_eq!(refused, Recorded::None(Unrecorded::SetAside));
    let back = rig.record(rig.seen(&id, view(&id, "Ada"))).await;
    assert_eq!(back, Recorded::Committed { position: None });
    assert_eq!(rig.db.count("SELECT count(*) FROM usertap.set_aside").await, 0);
    rig.end().await;
}

/// Forced, it binds the table's owner too: without a policy nothing is lost, with one all is well.
#[tokio::test]
async fn row_level_security_that_is_forced_needs_a_policy_and_loses_nothing() {
    let db = TestDatabase::of_plain_owner(IdType::Uuid).await;
    let rig = Rig::on(db, Deleted::Keep);
    rig.record(rig.seen(&user(1), view(&user(1), "Ada"))).await;
    let forced = "ALTER TABLE neon_identity.users_sync ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY";
    rig.db
        .client
        .batch_execute(forced)
        .await
        .expect("row-level security");
    let waits = rig.record(rig.seen(&user(2), view(&user(2), "Bea"))).await;
    assert_eq!(waits, Recorded::Queued);
    let trouble = eventually("it is said", || async { rig.recorder.figures().trouble }).await;
    assert!(
        trouble.contains("42501") && trouble.contains("policy"),
        "{trouble}"
    );
    assert_eq!(rig.db.count("SELECT count(*) FROM usertap.set_aside").await, 0);
    let policy = "CREATE POLICY usertap ON neon_identity.users_sync USING (true) WITH CHECK (true)";
    rig.db.client.batch_execute(policy).await.expect("a policy");
    eventually("what waited is written", || async { rig.row(&user(2)).await }).await;
    eventually("nothing is wrong", || async {
        rig.recorder.figures().trouble.is_none().then_some(())
    })
    .await;
    rig.record(rig.seen(&user(1), view(&user(1), "Countess"))).await;
    assert_eq!(rig.row(&user(1)).await.as_deref(), Some("Countess"));
    let deleted = rig.record(rig.seen(&user(2), Seen::Deleted)).await;
    assert!(
        matches!(deleted, Recorded::Committed { position: Some(_) }),
        "{deleted:?}"
    );
    let gone = "SELECT count(*) FROM neon_identity.users_sync WHERE deleted_at IS NOT NULL";
    assert_eq!(rig.db.count(gone).await, 1);
    rig.end().await;
}

/// Whatever a database of the users' own refuses of one row, the others go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_or_a_broken_trigger_that_refuses_some_rows_stops_only_those() {
    let rig = Rig::on(TestDatabase::of_plain_owner(IdType::Uuid).await, Deleted::Keep);
    rig.record(rig.seen(&user(1), view(&user(1), "Ada"))).await;
    let some = "ALTER TABLE neon_identity.users_sync ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
        CREATE POLICY but_one ON neon_identity.users_sync USING (true) WITH CHECK (name IS DISTINCT FROM 'Bea')";
    rig.db.client.batch_execute(some).await.expect("a policy");
    let refused = rig.record(rig.seen(&user(2), view(&user(2), "Bea"))).await;
    assert_eq!(refused, Recorded::None(Unrecorded::SetAside));
    let broken = "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN INSERT INTO gone SELECT 1; RETURN NEW; END';
        CREATE TRIGGER broken BEFORE INSERT ON neon_identity.users_sync FOR EACH ROW
        WHEN (NEW.name = 'Cleo') EXECUTE FUNCTION broken()";
    rig.db.client.batch_execute(broken).await.expect("a trigger");
    let refused = rig.record(rig.seen(&user(3), view(&user(3), "Cleo"))).await;
    assert_eq!(refused, Recorded::None(Unrecorded::SetAside));
    rig.record(rig.seen(&user(4), view(&user(4), "Dora"))).await;
    assert_eq!(rig.row(&user(4)).await.as_deref(), Some("Dora"));
    assert_eq!(rig.recorder.figures().trouble, None);
    let codes = "SELECT count(*) FROM usertap.set_aside WHERE sqlstate IN ('42501', '42P01')";
    assert_eq!(rig.db.count(codes).await, 2);
    assert_eq!(
        rig.db
            .count("SELECT count(*) FROM neon_identity.users_sync")
            .await,
        4
    );
    rig.end().await;
}

#[tokio::test]
async fn two_answers_at_once_of_a_new_user_need_no_other_read() {
    let mut rig = Rig::new(Deleted::Keep).await;
    let id = user(1);
    eventually("the recorder knows the head", || async {
        (rig.head.sent().epoch > 0).then_some(())
    })
    .await;
    let pair = vec![rig.seen(&id, view(&id, "A")), rig.seen(&id, view(&id, "A"))];
    let fared = rig.submit(pair).fared().await.expect("the recorder runs");
    assert_eq!(fared.effects, [Effect::Inserted, Effect::Unchanged]);
    assert!(rig.owed.try_recv().is_err());
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_there_before_its_user_was_known_is_taken_over() {
    let rig = Rig::new(Deleted::Keep).await;
    let (made, new) = (user(1), user(2));
    // As a dump is restored with `--disable-triggers`: no trigger sees it come.
    let insert = format!(
        "BEGIN;
         ALTER TABLE neon_identity.users_sync DISABLE TRIGGER USER;
         INSERT INTO neon_identity.users_sync (id, name, raw_json) VALUES ('{made}', 'By hand', '{{}}');
         ALTER TABLE neon_identity.users_sync ENABLE TRIGGER USER;
         COMMIT"
    );
    rig.db.client.batch_execute(&insert).await.expect("a row");
    let page = vec![
        rig.seen(&made, view(&made, "Ada")),
        rig.seen(&new, view(&new, "Bob")),
    ];
    let fared = rig.submit(page).fared().await.expect("the recorder runs");
    assert_eq!(fared.effects, [Effect::Inserted, Effect::Inserted]);
    assert_eq!(rig.row(&made).await.as_deref(), Some("Ada"));
    assert_eq!(rig.row(&new).await.as_deref(), Some("Bob"));
    rig.end().await;
}
