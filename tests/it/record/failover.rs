//! A database that may have lost commits: who is read again, and that no position is used twice.

use usertap::db::{epochs, partitions};

use super::*;

/// Everything after this position is lost, as on a standby that had not got it.
fn lost_after(position: Position) -> String {
    let Position(position) = position;
    format!(
        "DELETE FROM neon_identity.users_sync u USING usertap.user_state s WHERE u.id::text = s.id AND s.position > {position};
         DELETE FROM usertap.user_state WHERE position > {position};
         DELETE FROM usertap.changes WHERE position > {position};
         UPDATE usertap.meta SET position = {position}, timeline = 'another'"
    )
}

/// A standby that had got everything has taken over.
const MOVED: &str = "UPDATE usertap.meta SET timeline = 'another'";

impl Rig {
    async fn doubted(&self) -> Vec<String> {
        let sql = "SELECT id FROM usertap.user_state WHERE doubt IS NOT NULL ORDER BY id";
        let rows = self.db.client.query(sql, &[]).await.expect("a query");
        rows.iter().map(|row| row.get(0)).collect()
    }

    async fn in_epoch(&self, epoch: i64) {
        eventually("the new epoch is noticed", || async {
            (self.head.sent().epoch == epoch).then_some(())
        })
        .await;
    }

    async fn position(&self) -> i64 {
        self.db.count("SELECT position FROM usertap.meta").await
    }
}

#[tokio::test]
async fn whoever_was_written_since_the_last_certain_commit_is_read_again() {
    let mut rig = Rig::new(Deleted::Keep).await;
    rig.record(rig.seen(&user(1), view(&user(1), "A"))).await;
    let certain = rig.head.sent();
    for n in [2, 3] {
        rig.record(rig.seen(&user(n), view(&user(n), "B"))).await;
    }
    let known = rig.head.sent().position;
    rig.restore(&lost_after(certain.position)).await;
    rig.in_epoch(certain.epoch + 1).await;
    let doubted = eventually("the reads are owed", || async {
        Some(rig.doubted().await).filter(|doubted| !doubted.is_empty())
    })
    .await;
    assert_eq!(doubted, [user(2).to_string(), user(3).to_string()]);
    let hint = rig.owed.recv().await.expect("a hint");
    assert!(
        hint.after > Position(known.0 + (1 << 32)),
        "no position is used twice"
    );
    // A read that was sent before the failover proves nothing, one after it does.
    let late = observation(&user(2), view(&user(2), "B"), certain);
    assert_eq!(rig.fared(late).await, Effect::Older);
    let read = rig.seen(&user(2), view(&user(2), "B"));
    assert!(matches!(rig.record(read).await, Recorded::Committed { .. }));
    assert_eq!(rig.doubted().await, [user(3).to_string()]);
    assert_eq!(epochs::unknown(&rig.db.database).await.expect("an answer"), None);
    rig.end().await;
}

#[tokio::test]
async fn a_failover_that_lost_nothing_owes_no_read() {
    let rig = Rig::new(Deleted::Keep).await;
    rig.record(rig.seen(&user(1), view(&user(1), "A"))).await;
    let before = rig.head.sent();
    rig.restore(MOVED).await;
    rig.in_epoch(before.epoch + 1).await;
    assert_eq!(rig.doubted().await, [""; 0]);
    assert_eq!(epochs::unknown(&rig.db.database).await.expect("an answer"), None);
    assert!(rig.position().await > before.position.0 + (1 << 32));
    rig.end().await;
}

/// A pooler keeps the connections: the writer has nothing to do and notices all the same.
#[tokio::test]
async fn a_failover_is_noticed_on_connections_that_never_broke() {
    let rig = Rig::new(Deleted::Keep).await;
    rig.record(rig.seen(&user(1), view(&user(1), "A"))).await;
    let before = rig.head.sent();
    rig.db.client.batch_execute(MOVED).await.expect("a failover");
    rig.in_epoch(before.epoch + 1).await;
    rig.end().await;
}

#[tokio::test]
async fn each_process_has_those_read_again_whom_it_had_written() {
    let rig = Rig::new(Deleted::Keep).await;
    rig.record(rig.seen(&user(1), view(&user(1), "A"))).await;
    let other = Rig::on(rig.db.again().await, Deleted::Keep);
    other.in_epoch(rig.head.sent().epoch).await;
    for process in [&rig, &other] {
        process.recorder.set_shared(true);
    }
    let certain = rig.head.sent();
    rig.record(rig.seen(&user(2), view(&user(2), "B"))).await;
    other.record(other.seen(&user(3), view(&user(3), "C"))).await;
    rig.restore(&lost_after(certain.position)).await;
    for process in [&rig, &other] {
        process.in_epoch(certain.epoch + 1).await;
    }
    eventually("both have said whom they had written", || async {
        (rig.doubted().await == [user(2).to_string(), user(3).to_string()]).then_some(())
    })
    .await;
    assert_eq!(rig.db.count("SELECT count(*) FROM usertap.epochs").await, 1);
    other.end().await;
    rig.end().await;
}

/// Restored to a state of before the last epoch: that epoch is not begun a second time, and nothing is
/// certain but that all have to be read.
#[tokio::test]
async fn a_backup_of_an_earlier_epoch_begins_a_third() {
    let rig = Rig::new(Deleted::Keep).await;
    rig.record(rig.seen(&user(1), view(&user(1), "A"))).await;
    let first = rig.head.sent();
    let history = "SELECT history::text FROM usertap.meta";
    let history = rig.db.text(history).await.expect("a history");
    rig.restore(MOVED).await;
    rig.in_epoch(first.epoch + 1).await;
    rig.record(rig.seen(&user(2), view(&user(2), "B"))).await;
    let second = rig.head.sent();
    let earlier = format!(
        "DELETE FROM usertap.epochs; UPDATE usertap.meta SET epoch = {}, history = '{history}'; {}",
        first.epoch,
        lost_after(first.position)
    );
    rig.restore(&earlier).await;
    rig.in_epoch(second.epoch + 1).await;
    eventually("the reads are owed", || async {
        (rig.doubted().await == [user(1).to_string(), user(2).to_string()]).then_some(())
    })
    .await;
    let unknown = epochs::unknown(&rig.db.database).await.expect("an answer");
    assert_eq!(unknown, Some(second.epoch + 1));
    rig.end().await;
}

/// `committed` means that the row is there.
#[tokio::test]
async fn a_doubt_that_finds_nobody_is_no_commit() {
    let rig = Rig::new(Deleted::Keep).await;
    let id = user(1);
    let partial = Seen::Partial(Box::new(serde_json::json!({ "id": id.as_str() })));
    let receipt = rig.submit(vec![rig.seen(&id, partial)]);
    let owed = async {
        eventually("the read is owed", || async {
            (!rig.doubted().await.is_empty()).then_some(())
        })
        .await;
        rig.fared(rig.seen(&id, Seen::Missing)).await
    };
    let (recorded, effect) = tokio::join!(receipt.recorded(LONG), owed);
    assert_eq!(effect, Effect::Absent);
    assert_eq!(recorded, Recorded::None(Unrecorded::NoUser));
    rig.end().await;
}

/// After one every process needs the same partition at the same moment.
#[tokio::test]
async fn a_partition_that_another_process_has_made_meanwhile_is_as_good() {
    let db = TestDatabase::new(IdType::Text).await;
    let other = db.again().await;
    let makes = "BEGIN; CREATE TABLE usertap.changes_90 (LIKE usertap.changes INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
        ALTER TABLE usertap.changes ATTACH PARTITION usertap.changes_90 FOR VALUES FROM (45000000) TO (45500000)";
    other.client.batch_execute(makes).await.expect("a partition");
    let making = async {
        let mut conn = db.database.connect().await.expect("a connection");
        partitions::at(&db.database, &mut conn, Position(45_000_000)).await
    };
    let meanwhile = async {
        eventually("it waits", || async {
            let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid IN (
                SELECT pid FROM pg_stat_activity WHERE datname = current_database())";
            (db.count(waiting).await > 0).then_some(())
        })
        .await;
        other.client.batch_execute("COMMIT").await.expect("a commit");
    };
    let (made, ()) = tokio::join!(making, meanwhile);
    made.expect("it is there");
}
