//! Who walks, what becomes of a walk, and who may be deleted unasked, as the tables have it.

use std::time::Duration;

use usertap::db::missing::{self, Counts};
use usertap::db::runs::{self, Kind, Run};
use usertap::db::{Database, due};
use usertap::user::{IdType, Position};
use uuid::Uuid;

use crate::support::postgres::TestDatabase;

const HOUR: Duration = Duration::from_secs(3_600);

async fn asked_for(database: &Database, kind: Kind) -> Uuid {
    runs::request_a(database, kind).await.expect("a walk")
}

async fn taken(database: &Database, owner: Uuid) -> Run {
    let taken = runs::take(database, owner).await;
    taken.expect("a look").expect("a walk")
}

async fn one(database: &Database, run: Uuid) -> Run {
    let one = runs::one(database, run).await;
    one.expect("a look").expect("a walk")
}

/// Taken, and failed.
async fn fails(database: &Database, is_spoilt: bool) {
    let owner = Uuid::new_v4();
    let run = taken(database, owner).await.run;
    let failed = runs::fail(database, run, owner, "a fault", is_spoilt).await;
    failed.expect("a note");
}

async fn sql(db: &TestDatabase, statements: &str) {
    db.client.batch_execute(statements).await.expect("statements");
}

#[tokio::test]
async fn whoever_has_lost_a_walk_says_nothing_of_it_any_more() {
    let db = TestDatabase::new(IdType::Uuid).await;
    let database = &db.database;
    let (run, lost) = (asked_for(database, Kind::Reconcile).await, Uuid::new_v4());
    taken(database, lost).await;
    let theirs = taken(database, Uuid::new_v4()).await;
    assert_eq!(theirs.run, run);
    let counts = Counts {
        deleted: 1,
        ..Counts::default()
    };
    assert!(!missing::add(database, run, lost, counts).await.unwrap());
    runs::held_up(database, lost, "a reason").await.unwrap();
    runs::end(database, run, lost, 3).await.unwrap();
    runs::fail(database, run, lost, "a fault", true).await.unwrap();
    runs::release(database, run, lost).await.unwrap();
    assert_eq!(one(database, run).await, theirs);
    assert_eq!(theirs.state, "running");
}

#[tokio::test]
async fn what_was_asked_for_first_is_taken_first_and_by_its_owner_again() {
    let db = TestDatabase::new(IdType::Uuid).await;
    let (database, owner) = (&db.database, Uuid::new_v4());
    let alive = format!("INSERT INTO usertap.instances (id, kind) VALUES ('{owner}', 'serve')");
    sql(&db, &alive).await;
    sql(&db, "UPDATE usertap.meta SET position = 7").await;
    let first = asked_for(database, Kind::Reconcile).await;
    asked_for(database, Kind::Backfill).await;
    for _ in 0..2 {
        let run = taken(database, owner).await;
        assert_eq!((run.run, run.resumed), (first, 0), "it has nothing to go on from");
        assert_eq!(
            run.since(),
            Position(7),
            "who has changed since then is not missing"
        );
    }
    sql(&db, "UPDATE usertap.instances SET seen_at = now()").await;
    let other = taken(database, Uuid::new_v4()).await;
    assert_eq!(other.kind(), Kind::Backfill, "the first one's owner lives");
}

#[tokio::test]
async fn a_walk_that_failed_last_goes_on_unless_what_it_kept_is_spoilt() {
    let db = TestDatabase::new(IdType::Uuid).await;
    let database = &db.database;
    let first = asked_for(database, Kind::Backfill).await;
    let walked =
        "UPDATE usertap.backfill SET checkpoint = '{}', fetched = 5, moved_at = now() - interval '1 day'";
    sql(&db, walked).await;
    fails(database, false).await;
    sql(&db, walked).await;
    assert_eq!(asked_for(database, Kind::Backfill).await, first);
    fails(database, true).await;
    let second = asked_for(database, Kind::Backfill).await;
    assert_ne!(second, first);
    // Nor does one go on that another has followed.
    sql(
        &db,
        &format!("{walked}; UPDATE usertap.backfill SET state = 'done' WHERE run = '{second}'"),
    )
    .await;
    let third = asked_for(database, Kind::Backfill).await;
    assert!(third != first && third != second);
}

#[tokio::test]
async fn a_reconcile_that_failed_goes_on_for_an_hour_and_without_its_yes() {
    let db = TestDatabase::new(IdType::Uuid).await;
    let database = &db.database;
    let first = asked_for(database, Kind::Reconcile).await;
    runs::lift(database, first).await.unwrap();
    fails(database, false).await;
    assert_eq!(asked_for(database, Kind::Reconcile).await, first);
    assert!(!one(database, first).await.lifted);
    fails(database, false).await;
    sql(
        &db,
        "UPDATE usertap.backfill SET moved_at = now() - interval '61 minutes'",
    )
    .await;
    assert_ne!(asked_for(database, Kind::Reconcile).await, first);
}

#[tokio::test]
async fn a_walk_is_short_of_the_fewest_that_were_said_to_be_there() {
    let db = TestDatabase::new(IdType::Uuid).await;
    let database = &db.database;
    let run = asked_for(database, Kind::Backfill).await;
    for total in [150, 100, 120] {
        runs::set_total(database, run, total).await.unwrap();
    }
    assert_eq!(one(database, run).await.total, Some(100));
    // Begun anew, it has fetched more than it has met.
    for (met, is_short) in [(89, true), (90, false)] {
        let met = format!(
            "UPDATE usertap.backfill SET fetched = 200, checkpoint = jsonb_build_object('met', {met})"
        );
        sql(&db, &met).await;
        assert_eq!(one(database, run).await.is_short(), is_short, "{met}");
    }
}

#[tokio::test]
async fn missing_is_who_has_a_row_was_not_met_and_has_not_changed_since() {
    let db = TestDatabase::new(IdType::Text).await;
    let (database, since) = (&db.database, Position(5));
    assert!(!missing::is_anyone_known(database).await.unwrap());
    sql(
        &db,
        "INSERT INTO usertap.user_state (id, position, standing) VALUES ('a', 5, 'deleted'), ('b', 5, 'purged')",
    )
    .await;
    assert!(!missing::is_anyone_known(database).await.unwrap());
    sql(
        &db,
        "INSERT INTO usertap.user_state (id, position, standing) VALUES ('c', 5, 'present'), ('d', 1, 'skeleton'),
             ('e', 6, 'present'), ('f', 5, 'present'), ('g', 5, 'present')",
    )
    .await;
    assert!(missing::is_anyone_known(database).await.unwrap());
    missing::met(database, &["f"]).await.unwrap();
    let missing = async |after, limit| {
        let found = missing::not_met(database, since, after, limit).await.unwrap();
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(missing("", 64).await, ["c", "d", "g"]);
    assert_eq!(missing("c", 1).await, ["d"]);
    assert_eq!(missing::how_many(database, since, "c").await.unwrap(), 2);
    missing::forget_met(database).await.unwrap();
    assert_eq!(missing("d", 64).await, ["f", "g"]);
}

#[tokio::test]
async fn ten_or_a_hundredth_of_those_there_are_may_go_unasked_within_an_hour() {
    let db = TestDatabase::new(IdType::Text).await;
    let database = &db.database;
    let users = |standing: &str, users: u32| {
        format!(
            "INSERT INTO usertap.user_state (id, position, standing)
             SELECT '{standing}' || n, 1, '{standing}' FROM generate_series(1, {users}) n"
        )
    };
    sql(&db, &users("deleted", 2_000)).await;
    sql(&db, &users("present", 100)).await;
    assert_eq!(missing::bound(database).await.unwrap(), 10);
    sql(&db, &users("skeleton", 1)).await;
    sql(&db, "DELETE FROM usertap.user_state WHERE standing = 'present'").await;
    sql(&db, &users("present", 1_299)).await;
    assert_eq!(missing::bound(database).await.unwrap(), 12);
    let may = async || missing::may_delete(database, 2).await.unwrap();
    assert_eq!([may().await, may().await, may().await], [true, true, false]);
    let passed = "UPDATE usertap.unasked_deletions SET at = at - interval '1 hour' WHERE ctid = (
        SELECT min(ctid) FROM usertap.unasked_deletions)";
    sql(&db, passed).await;
    assert_eq!([may().await, may().await], [true, false]);
    let mut conn = database.get().await.unwrap();
    missing::forget_unasked(database, &mut conn).await.unwrap();
    let kept = "SELECT count(*) FROM usertap.unasked_deletions";
    assert_eq!(db.count(kept).await, 2);
}

#[tokio::test]
async fn a_reconcile_is_due_so_long_after_the_last_began_or_the_database() {
    let db = TestDatabase::new(IdType::Uuid).await;
    let database = &db.database;
    let asked = async || {
        due::reconcile(database, HOUR).await.unwrap();
        db.count("SELECT count(*) FROM usertap.backfill").await
    };
    assert_eq!(asked().await, 0);
    sql(
        &db,
        "UPDATE usertap.meta SET made_at = now() - interval '2 hours'",
    )
    .await;
    assert_eq!((asked().await, asked().await), (1, 1), "once");
    sql(&db, "UPDATE usertap.backfill SET state = 'done'").await;
    assert_eq!(asked().await, 1, "it has just begun");
    // The clock was set back since.
    sql(
        &db,
        "UPDATE usertap.backfill SET started_at = now() + interval '1 day'",
    )
    .await;
    assert_eq!(asked().await, 2);
    let latest = runs::latest(database, Kind::Reconcile).await.unwrap();
    let latest = latest.expect("a walk").state;
    assert_eq!(latest, "requested", "whoever asked for it follows it");
}
