//! Two recorders on one database at once, as `serve` and a lone backfill for a moment.

use std::sync::Arc;
use std::time::Duration;

use usertap::config::Deleted;
use usertap::feed::retention::Retention;
use usertap::feed::{Feed, Followed};
use usertap::record::{Receipt, Recorder, Submission};
use usertap::tasks::Tasks;
use usertap::user::{
    ContentHash, Head, IdType, Observation, Origin, Position, Profile, Seen, Source, UserId, View,
};

use crate::support::eventually;
use crate::support::postgres::{self, TestDatabase};

const LONG: Duration = Duration::from_secs(20);
const USERS: usize = 40;
const ROUNDS: usize = 30;

struct Process {
    recorder: Recorder,
    head: Arc<Head>,
    /// Kept open, as a reader would.
    _owed: tokio::sync::mpsc::Receiver<usertap::record::Owed>,
    tasks: Tasks,
}

impl Process {
    async fn start(db: &TestDatabase, shared: bool) -> Process {
        let (head, tasks) = (Arc::new(Head::default()), Tasks::default());
        let database = postgres::database(&db.url, IdType::Uuid);
        let (recorder, _owed) = Recorder::start(database, head.clone(), Deleted::Keep, &tasks);
        recorder.set_shared(shared);
        eventually("the recorder knows the head", || async {
            (head.sent().epoch > 0).then_some(())
        })
        .await;
        Process {
            recorder,
            head,
            _owed,
            tasks,
        }
    }

    fn submit(&self, observations: Vec<Observation>) -> Receipt {
        self.recorder.submit(Submission {
            observations,
            checkpoint: None,
        })
    }

    fn seen(&self, n: usize, content: Option<u8>) -> Observation {
        let id = user(n);
        let seen = content.map_or(Seen::Missing, |content| view(&id, content));
        let source = Source {
            origin: Origin::ProxyRead,
            route: "GET /users/{id}".into(),
            request_id: "r".into(),
        };
        Observation {
            id,
            seen,
            sent: self.head.sent(),
            source: Arc::new(source),
            unsettled: false,
        }
    }

    async fn end(self) {
        self.recorder.close();
        self.tasks.stop();
        assert!(self.tasks.ended(LONG).await, "the writer ends");
    }
}

fn user(n: usize) -> UserId {
    UserId::parse(&format!("00000000-0000-4000-8000-{n:012}"), IdType::Uuid).expect("an id")
}

fn view(id: &UserId, content: u8) -> Seen {
    Seen::Whole(Arc::new(View {
        raw: format!("{{\"id\":\"{id}\",\"content\":{content}}}").into(),
        profile: Profile {
            name: Some(content.to_string()),
            ..Profile::default()
        },
        content: ContentHash([content; 16]),
        volatile: ContentHash([0; 16]),
        version: None,
    }))
}

/// Every user, some of them in an order of its own, in submissions of a few.
async fn record_all(process: &Process, offset: usize) {
    for round in 0..ROUNDS {
        let all = (0..USERS).map(|n| {
            let user = (n * 7 + offset * 11 + round) % USERS;
            let content = u8::try_from((round / 3 + user) % 4).unwrap_or(0);
            process.seen(user, (content > 0).then_some(content))
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
    let (one, other) = (Process::start(&db, true).await, Process::start(&db, true).await);
    let stop = tokio::sync::Notify::new();
    let recording = async {
        tokio::join!(record_all(&one, 0), record_all(&other, 1));
        stop.notify_one();
    };
    let (read, ()) = tokio::join!(follow(&db, &stop), recording);
    let all = "SELECT coalesce(array_agg(position ORDER BY position), '{}') FROM usertap.changes";
    let all: Vec<i64> = db.client.query_one(all, &[]).await.expect("a query").get(0);
    assert_eq!(read, all, "a change came behind what a consumer had read");
    assert!(read.len() >= USERS);
    let again = "SELECT count(*) FROM (
        SELECT type, raw, lag(raw) OVER w AS raw_before, lag(type) OVER w AS type_before
        FROM usertap.changes WINDOW w AS (PARTITION BY id ORDER BY position)) c
        WHERE raw = raw_before AND type = type_before";
    assert_eq!(db.count(again).await, 0, "the same change twice");
    let apart =
        "SELECT count(*) FROM usertap.user_state s FULL JOIN neon_identity.users_sync u ON u.id = s.id::uuid
        WHERE (s.standing = 'present') <> (u.id IS NOT NULL AND u.deleted_at IS NULL)
           OR (s.standing = 'deleted') <> (u.deleted_at IS NOT NULL)
           OR s.content IS NOT NULL AND get_byte(s.content, 0)::text <> u.name";
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
    let process = Process::start(&db, true).await;
    // A state without a row: the user was doubted and never shown.
    let mut touched = process.seen(1, None);
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
    let mut late = process.seen(1, None);
    late.seen = Seen::Awaited;
    late.source = Arc::new(Source {
        origin: Origin::ProxyWrite,
        ..(*late.source).clone()
    });
    let receipt = process.submit(vec![late]);
    let waits = postgres::client(&db.url).await;
    eventually("the recorder waits for the lock", || async {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
            AND datname = current_database()";
        let waiting: i64 = waits.query_one(waiting, &[]).await.expect("a query").get(0);
        (waiting > 0).then_some(())
    })
    .await;
    db.client.batch_execute("COMMIT").await.expect("a commit");
    receipt.fared().await.expect("the recorder runs");
    let name = db.text("SELECT name FROM neon_identity.users_sync").await;
    assert_eq!(name.as_deref(), Some("Ada"), "no skeleton over a user");
    process.end().await;
}

#[tokio::test]
async fn a_doubt_of_a_process_that_died_is_settled_by_another() {
    let db = TestDatabase::new(IdType::Uuid).await;
    let process = Process::start(&db, false).await;
    process
        .submit(vec![process.seen(1, Some(1))])
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
        let read = process.seen(1, Some(1));
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
    const CHANGES: usize = 50;
    let db = TestDatabase::new(IdType::Uuid).await;
    let (process, tasks) = (Process::start(&db, false).await, Tasks::default());
    let retention = Retention { keep: 1_000 * LONG };
    let feed = Feed::new(postgres::database(&db.url, IdType::Uuid), "p", retention);
    feed.follow(&tasks);
    eventually("the feed follows", || async { feed.is_following().then_some(()) }).await;
    let mut told = feed.subscribe();
    let following = async {
        for n in 0..CHANGES {
            let change = process.submit(vec![process.seen(n, Some(1))]).fared();
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
