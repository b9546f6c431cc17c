//! Partitions of the change rows, where positions leave some of them out.

use std::time::Duration;

use usertap::db::partitions::{self, Closing};
use usertap::user::IdType;

use crate::support::postgres::TestDatabase;

const HOUR: Duration = Duration::from_secs(3_600);
const CLOSING: Closing = Closing {
    after: HOUR,
    drop_after: HOUR,
    drop_for_slots_after: HOUR,
};

async fn is_there(db: &TestDatabase, number: u32) -> bool {
    let found =
        format!("SELECT count(*) FROM pg_inherits WHERE inhrelid = to_regclass('usertap.changes_{number}')");
    db.count(&found).await == 1
}

async fn sql(db: &TestDatabase, statements: &str) {
    db.client.batch_execute(statements).await.expect("statements");
}

#[tokio::test]
async fn what_the_next_position_needs_is_made_where_the_last_one_is_full() {
    let db = TestDatabase::new(IdType::Uuid).await;
    sql(
        &db,
        "UPDATE usertap.meta SET position = 499999; DROP TABLE usertap.changes_1",
    )
    .await;
    let mut conn = db.database.get().await.unwrap();
    partitions::next(&db.database, &mut conn).await.unwrap();
    assert!(is_there(&db, 1).await);
}

/// Positions are passed over after a failover, and what was made ahead of them holds nothing.
#[tokio::test]
async fn one_without_a_change_keeps_nothing_behind_it() {
    let db = TestDatabase::new(IdType::Uuid).await;
    sql(&db, "UPDATE usertap.meta SET position = 2500000").await;
    let mut conn = db.database.get().await.unwrap();
    partitions::ahead(&db.database, &mut conn).await.unwrap();
    for is_dropped in [true, true, false] {
        let dropped = partitions::drop_oldest(&db.database, &mut conn, &CLOSING).await;
        assert_eq!(dropped.unwrap(), is_dropped);
    }
    assert!(is_there(&db, 5).await && is_there(&db, 6).await);
}

#[tokio::test]
async fn whoever_holds_a_lock_is_not_waited_for_and_the_connection_stays_of_use() {
    let db = TestDatabase::new(IdType::Uuid).await;
    sql(&db, "UPDATE usertap.meta SET position = 2500000").await;
    let mut conn = db.database.get().await.unwrap();
    sql(&db, "BEGIN; LOCK TABLE usertap.changes IN ACCESS SHARE MODE").await;
    let refused = partitions::drop_oldest(&db.database, &mut conn, &CLOSING).await;
    assert!(refused.is_err());
    sql(&db, "COMMIT").await;
    let dropped = partitions::drop_oldest(&db.database, &mut conn, &CLOSING).await;
    assert!(dropped.unwrap());
}
