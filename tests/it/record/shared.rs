//! Two recorders on one database at once, as `serve` and a lone backfill for a moment.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use usertap::config::Deleted;
use usertap::db::instances::{self, DEAD_AFTER, Kind, Said};
use usertap::feed::retention::Retention;
use usertap::feed::{Feed, Followed};
use usertap::record::Receipt;
use usertap::tasks::Tasks;
use usertap::user::{IdType, Observation, Origin, Position, Seen, Source};
use uuid::Uuid;

use super::{LONG, Process, user, view};
use crate::support::eventually;
use crate::support::postgres::{self, TestDatabase};

const USERS: u32 = 40;
const ROUNDS: u32 = 30;

/// It has a pool of its own.
async fn started(db: &TestDatabase, shared: bool) -> Process {
    let process = Process::start(&postgres::database(&db.url, IdType::Uuid), Deleted::Keep);
    process.recorder.set_shared(shared);
    process.knows_the_head().await
}

/// A user who is not there where there is no content.
fn seen(process: &Process, n: u32, content: Option<u8>) -> Observation {
    let id = user(n);
    let seen = content.map_or(Seen::Missing, |content| view(&id, &content.to_string()));
    process.seen(&id, seen)
}

/// Every user, some of them in an order of its own, in submissions of a few.
async fn record_all(process: &Process, offset: u32) {
    for round in 0..ROUNDS {
        let all = (0..USERS).map(|n| {
            let user = (n * 7 + offset * 11 + round) % USERS;
            let content = u8::try_from((round / 3 + user) % 4).unwrap_or(0);
            seen(process, user, (content > 0).then_some(content))
        });
        let all: Vec<Observation> = all.collect();
        let receipts: Vec<Receipt> = all.chunks(9).map(|few| process.submit(few.to_vec())).collect();
        for receipt in receipts {
            receipt.fared().await.expect("the recorder runs");
        }
    }
}

/// Follows the feed as a consumer does; what comes late behind what was read is a gap.
async fn follow(db: &TestDatabase, stop: &tokio::sync::Notify) -> Vec<i64> {
    let reader = postgres::client(&db.url).await;
    let (mut read, mut last) = (Vec::new(), 0_i64);
    let mut is_over = false;
    loop {
        let next = "SELECT position FROM usertap.changes WHERE position > $1 ORDER BY position";
        let next = reader.query(next, &[&last]).await.expect("a query");
        read.extend(next.iter().map(|row| row.get::<_, i64>(0)));
        last = read.last().copied().unwrap_or(0);
        if is_over {
            return read;
        }
        tokio::select! {
            () = stop.notified() => is_over = true,
            () = tokio::task::yield_now() => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_recorders_of_the_same_users_agree() {
    let db = TestDatabase::new(IdType::Uuid).await;
    let (one, other) = (started(&db, true).await, started(&db, true).await);
    let stop = tokio::sync::Notify::new();
    let recording = async {
        tokio::join!(record_all(&one, 0), record_all(&other, 1));
        stop.notify_one();
    };
    let (read, ()) = tokio::join!(follow(&db, &stop), recording);
    let all = "SELECT coalesce(array_agg(position ORDER BY position), '{}') FROM usertap.changes";
    let all: Vec<i64> = db.client.query_one(all, &[]).await.expect("a query").get(0);
    assert_eq!(read, all, "a change came behind what a consumer had read");
    assert!(read.len() >= USERS as usize);
    let again = "SELECT count(*) FROM (
        SELECT type, raw, lag(raw) OVER w AS raw_before, lag(type) OVER w AS type_before
        FROM usertap.changes WINDOW w AS (PARTITION BY id ORDER BY position)) c
        WHERE raw = raw_before AND type = type_before";
    assert_eq!(db.count(again).await, 0, "the same change twice");
    let apart =
        "SELECT count(*) FROM usertap.user_state s FULL JOIN neon_identity.users_sync u ON u.id = s.id::uuid
        WHERE (s.standing = 'present') <> (u.id IS NOT NULL AND u.deleted_at IS NULL)
           OR (s.standing = 'deleted') <> (u.deleted_at IS NOT NULL)
           OR s.content IS NOT NULL AND chr(get_byte(s.content, 0)) <> u.name";
    assert_eq!(db.count(apart).await, 0, "states and rows say different things");
    for process in [&one, &other] {
        assert_eq!(process.recorder.figures().trouble, None);
        assert_eq!(process.recorder.figures().set_aside, 0);
    }
    one.end().await;
    other.end().await;
}

#[tokio::test]
async fn a_state_that_moved_while_its_lock_was_waited_for_is_read_as_it_is() {
    let db = TestDatabase::new(IdType::Uuid).await;
    let process = started(&db, true).await;
    // A state without a row: the user was doubted and never shown.
    let mut touched = seen(&process, 1, None);
    touched.seen = Seen::Touched;
    process
        .submit(vec![touched])
        .fared()
        .await
        .expect("the recorder runs");
    let id = user(1);
    let other = format!(
        "BEGIN; SELECT FROM usertap.user_state WHERE id = '{id}' FOR UPDATE;
         INSERT INTO neon_identity.users_sync (id, name, raw_json) VALUES ('{id}', 'Ada', '{{}}');
         UPDATE usertap.user_state SET standing = 'present', content = '\\x00'"
    );
    db.client
        .batch_execute(&other)
        .await
        .expect("another process's transaction");
    let mut late = seen(&process, 1, None);
    late.seen = Seen::Awaited;
    late.source = Arc::new(Source {
        origin: Origin::ProxyWrite,
        ..(*late.source).clone()
    });
    let receipt = process.submit(vec![late]);
    commits_once_waited_for(&db).await;
    receipt.fared().await.expect("the recorder runs");
    let name = db.text("SELECT name FROM neon_identity.users_sync").await;
    assert_eq!(name.as_deref(), Some("Ada"), "no skeleton over a user");
    process.end().await;
}

/// What the test's own client has begun, as soon as the recorder waits for it.
async fn commits_once_waited_for(db: &TestDatabase) {
    let looks = postgres::client(&db.url).await;
    eventually("the recorder waits for the lock", || async {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
            AND datname = current_database()";
        let waiting: i64 = looks.query_one(waiting, &[]).await.expect("a query").get(0);
        (waiting > 0).then_some(())
    })
    .await;
    db.client.batch_execute("COMMIT").await.expect("a commit");
}

/// The other one has seen something newer. Beside somebody who is known: such a batch finds users by their states.
#[tokio::test]
async fn a_user_whom_another_process_makes_meanwhile_is_not_written_over() {
    let db = TestDatabase::new(IdType::Uuid).await;
    let process = started(&db, true).await;
    let known = process.submit(vec![seen(&process, 2, Some(1))]).fared();
    known.await.expect("the recorder runs");
    let both = vec![seen(&process, 2, Some(2)), seen(&process, 1, Some(1))];
    let id = user(1);
    let other = format!(
        "BEGIN; INSERT INTO neon_identity.users_sync (id, name, raw_json) VALUES ('{id}', 'newer', '{{}}');
         WITH head AS (UPDATE usertap.meta SET position = position + 1 RETURNING position)
         INSERT INTO usertap.user_state (id, position, standing, content) SELECT '{id}', position, 'present', '\\x00' FROM head"
    );
    db.client
        .batch_execute(&other)
        .await
        .expect("another process's transaction");
    let receipt = process.submit(both);
    commits_once_waited_for(&db).await;
    receipt.fared().await.expect("the recorder runs");
    let name = format!("SELECT name FROM neon_identity.users_sync WHERE id = '{id}'");
    assert_eq!(db.text(&name).await.as_deref(), Some("newer"));
    process.end().await;
}

#[tokio::test]
async fn a_doubt_of_a_process_that_died_is_settled_by_another() {
    let db = TestDatabase::new(IdType::Uuid).await;
    let process = started(&db, false).await;
    process
        .submit(vec![seen(&process, 1, Some(1))])
        .fared()
        .await
        .expect("the recorder runs");
    let dead = "WITH head AS (UPDATE usertap.meta SET position = position + 5 RETURNING position)
        UPDATE usertap.user_state SET doubt = head.position FROM head";
    db.client
        .batch_execute(dead)
        .await
        .expect("a doubt of another process");
    process.recorder.set_shared(true);
    process.recorder.set_shared(false);
    for _ in 0..2 {
        let read = seen(&process, 1, Some(1));
        process
            .submit(vec![read])
            .fared()
            .await
            .expect("the recorder runs");
    }
    let owed = "SELECT count(*) FROM usertap.user_state WHERE doubt IS NOT NULL";
    assert_eq!(db.count(owed).await, 0);
    assert!(process.head.sent().position > Position(5));
    process.end().await;
}

/// By its notification: asking from time to time alone, it would take minutes.
#[tokio::test]
async fn what_one_process_commits_wakes_the_feed_of_another_each_time() {
    const CHANGES: u32 = 50;
    let db = TestDatabase::new(IdType::Uuid).await;
    let (process, tasks) = (started(&db, false).await, Tasks::default());
    let retention = Retention { keep: 1_000 * LONG };
    let feed = Feed::new(postgres::database(&db.url, IdType::Uuid), "p", retention);
    feed.follow(&tasks);
    eventually("the feed follows", || async { feed.is_following().then_some(()) }).await;
    let mut told = feed.subscribe();
    let following = async {
        for n in 0..CHANGES {
            let change = process.submit(vec![seen(&process, n, Some(1))]).fared();
            change.await.expect("the recorder runs");
            let followed = told.recv().await.expect("a change");
            assert!(
                matches!(&followed, Followed::Change { id, .. } if *id == user(n)),
                "{followed:?}"
            );
        }
    };
    let in_time = tokio::time::timeout(3 * LONG, following).await;
    in_time.expect("a change is told at once");
    tasks.stop();
    process.end().await;
}

const SAID: Said = Said {
    kind: Kind::Serve,
    apps: 1.0,
    own: 1.0,
    everyone_yields: None,
    own_yields: None,
};

/// It may have been the database that was away, for both of them.
#[tokio::test]
async fn who_was_silent_for_long_takes_nobody_for_dead_that_was_as_well() {
    let db = TestDatabase::new(IdType::Uuid).await;
    let [one, other, dead] = [(); 3].map(|()| Uuid::new_v4());
    for process in [one, other, dead] {
        let heard = instances::beat(&db.database, process, SAID, DEAD_AFTER)
            .await
            .expect("a beat");
        assert!(heard.is_new && heard.silence.is_none());
    }
    let silent = format!(
        "UPDATE usertap.instances SET started_at = now() - interval '2 h',
             seen_at = now() - CASE WHEN id = '{dead}' THEN interval '1 h' ELSE interval '10 min' END"
    );
    db.client.batch_execute(&silent).await.expect("a statement");
    let heard = instances::beat(&db.database, one, SAID, DEAD_AFTER)
        .await
        .expect("a beat");
    assert!(heard.silence >= Some(Duration::from_secs(600)));
    assert_eq!(heard.others.len(), 1);
    assert!(!heard.others[0].has_met_us, "it took this one for dead");
}

/// Of the provider's limit: each takes what is left when its turn comes.
#[tokio::test(flavor = "multi_thread")]
async fn parts_that_many_take_at_once_are_never_more_than_the_whole() {
    let db = TestDatabase::new(IdType::Uuid).await;
    let processes: Vec<Uuid> = (0..4).map(|_| Uuid::new_v4()).collect();
    // Nobody counts as dead, however slow the machine.
    let horizon = Duration::from_secs(3_600);
    for round in 0..10 {
        let takes = processes.iter().map(async |process| {
            instances::beat(&db.database, *process, SAID, horizon).await?;
            instances::grow(&db.database, *process, 0.6, horizon).await
        });
        let taken: f64 = join_all(takes).await.into_iter().flatten().sum();
        assert!(taken <= 1.0 + 1e-9, "round {round}: {taken}");
        assert!(taken > 0.0);
        for process in &processes {
            instances::shrink(&db.database, *process, 0.0)
                .await
                .expect("a statement");
        }
    }
}
