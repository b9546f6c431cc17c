//! Reads what is new, once for everybody in the process.
//!
//! A notification (of this process or, through LISTEN, of any other) says that there is something;
//! the database says what, and a slow poll asks without being told. What no change tells of, processes let
//! each other know the same way. A history that is no longer
//! the one that was followed (a restored backup) makes it begin anew: streams of the old one end.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use futures_util::{FutureExt, StreamExt};
use tokio::time::{interval, sleep, timeout};

use super::event::Shape;
use super::filter::Filter;
use super::read::{self, Query, Read, Since, Stretch};
use super::{Followed, Shared};
use crate::clock::{self, Instant};
use crate::db::DbError;
use crate::db::statement::{Bind, execute, statement};
use crate::user::{Pos, UserId};

/// Changes read at once.
const BATCH: i64 = 500;
/// How often it asks without being told.
const POLL: Duration = Duration::from_secs(5);
/// Its one statement is planned once, not at each wake: that took longer than running it. The role's own
/// level of isolation may be one that costs the writers.
const PLAN_ONCE: &str = "SET plan_cache_mode = force_generic_plan; SET jit = off; \
    SET default_transaction_isolation = 'read committed'";
/// Between attempts to connect.
const PAUSE: Duration = Duration::from_millis(250);
/// A read that takes longer is on a connection that is dead.
const SILENT: Duration = Duration::from_secs(30);
/// In a notification, before the name of who says so: anybody may have changed. A position is a number.
const ANYBODY: &str = "anybody";
/// How often an idle stream says where it stands.
const BEAT: Duration = Duration::from_secs(10);

pub async fn run(shared: Arc<Shared>) {
    loop {
        if let Err(error) = follow(&shared).await {
            tracing::debug!(%error, "the feed's tail waits for the database");
        }
        shared.is_following.store(false, Ordering::Relaxed);
        sleep(PAUSE).await;
    }
}

/// One timer for all idle streams.
pub async fn beat(shared: Arc<Shared>) {
    let mut beats = interval(BEAT);
    loop {
        beats.tick().await;
        shared.pulse.send_modify(|pulse| pulse.beats += 1);
    }
}

pub(super) async fn tell_of_anybody(shared: &Shared) -> Result<(), DbError> {
    let mut conn = shared.database.get().await?;
    let told = statement("SELECT pg_notify($1, $2)")
        .bind::<Text, _>(shared.database.names.channel())
        .bind::<Text, _>(format!("{ANYBODY} {}", shared.name));
    execute(told, &mut conn).await?;
    Ok(())
}

/// Until something fails, or the database is left alone.
async fn follow(shared: &Shared) -> Result<(), DbError> {
    let database = shared.database.in_passing();
    let mut conn = database.connect_directly().await?;
    let listen = format!("{PLAN_ONCE}; LISTEN {}", shared.database.names.channel());
    conn.batch_execute(&listen).await?;
    // What was changed by hand before anybody listened, and what was said.
    shared.by_hand.notify_one();
    follow_on(shared, Followed::Anybody);
    loop {
        let told = shared.told.load(Ordering::Acquire);
        let caught_up = timeout(SILENT, catch_up(shared, &mut conn)).await;
        caught_up.map_err(|_| DbError::Away("it is silent".into()))??;
        shared.is_following.store(true, Ordering::Relaxed);
        tokio::select! {
            biased;
            () = database.idle().until_left() => return Ok(()),
            told = wait(shared, &mut conn, shared.read_of(told)) => told?,
        }
    }
}

/// Until more is told than what has been read.
async fn wait(shared: &Shared, conn: &mut AsyncPgConnection, read: i64) -> Result<(), DbError> {
    let mut poll = pin!(sleep(POLL));
    let mut notes = pin!(conn.notifications_stream());
    // What was said meanwhile is heard before anything else is known.
    while let Some(Some(Ok(note))) = notes.next().now_or_never() {
        hear(shared, &note.payload);
    }
    while shared.told.load(Ordering::Acquire) <= read {
        tokio::select! {
            () = &mut poll => return Ok(()),
            () = shared.look.notified() => return Ok(()),
            () = shared.wake.notified() => {}
            note = notes.next() => match note {
                Some(Ok(note)) => hear(shared, &note.payload),
                _ => return Err(DbError::Away("the connection broke".into())),
            }
        }
    }
    Ok(())
}

impl Shared {
    /// Up to where what was told by then has been read. Another history may have begun, with lower positions; and
    /// whoever may connect may say a position that nobody has committed: it counts for what there is.
    fn read_of(&self, told: i64) -> i64 {
        let head = self.head().map_or(0, |head| head.position.0);
        let _told_more =
            self.told
                .compare_exchange(told, told.min(head), Ordering::AcqRel, Ordering::Acquire);
        told.min(head).min(self.told.load(Ordering::Acquire))
    }
}

fn hear(shared: &Shared, payload: &str) {
    if let Some(name) = payload.strip_prefix(ANYBODY) {
        if name.trim() != shared.name.to_string() {
            follow_on(shared, Followed::Anybody);
        }
        return;
    }
    match payload.parse() {
        Ok(position) => drop(shared.told.fetch_max(position, Ordering::AcqRel)),
        Err(_) => shared.by_hand.notify_one(),
    }
}

async fn catch_up(shared: &Shared, conn: &mut AsyncPgConnection) -> Result<(), DbError> {
    let names = &shared.database.names;
    loop {
        let asked_at = clock::now();
        let Some(head) = shared.head() else {
            let head = read::bounds(names, conn).await?.head;
            begin(shared, head);
            continue;
        };
        let shape = Shape {
            before: true,
            raw: shared.raw_readers.load(Ordering::Relaxed) > 0,
        };
        let query = Query {
            since: Since::At(head),
            limit: BATCH,
            shape,
            filter: &Filter::default(),
        };
        match read::read(names, &shared.provider, conn, query).await? {
            Read::Gone(bounds) => begin_anew(shared, bounds),
            Read::Stretch(stretch) => {
                let is_all = stretch.next == stretch.bounds.head;
                take(shared, stretch, asked_at, is_all);
                if is_all {
                    return Ok(());
                }
            }
        }
    }
}

/// What is committed up to there comes as no change, and what a subscriber holds may be of another history.
fn begin(shared: &Shared, head: Pos) {
    shared.ring_mut().begin(head);
    follow_on(shared, Followed::Anybody);
}

/// What was followed is no longer there.
fn begin_anew(shared: &Shared, bounds: read::Bounds) {
    tracing::warn!("the feed's history is another one now: its consumers begin anew");
    begin(shared, bounds.head);
    shared.told.store(bounds.head.position.0, Ordering::Release);
    shared.pulse.send_modify(|pulse| pulse.news += 1);
}

fn take(shared: &Shared, stretch: Stretch, asked_at: Instant, is_all: bool) {
    let is_news = !stretch.events.is_empty();
    {
        let mut ring = shared.ring_mut();
        for event in stretch.events {
            if let Some(id) = UserId::parse(&event.id, shared.database.names.id_type) {
                let position = event.pos.position;
                follow_on(shared, Followed::Change { id, position });
            }
            ring.push(Arc::new(event));
        }
    }
    {
        let mut known = shared.known();
        known.bounds = Some(stretch.bounds);
        if is_all {
            known.at = Some(asked_at);
        }
    }
    if is_news {
        shared.pulse.send_modify(|pulse| pulse.news += 1);
    }
}

fn follow_on(shared: &Shared, followed: Followed) {
    // Nobody may be subscribed.
    let _ = shared.followed.send(followed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Database, Names, Reach, Way};
    use crate::feed::retention::Retention;
    use crate::feed::{Bounds, Feed};
    use crate::user::{IdType, Position};

    /// One that is connected to nothing.
    fn feed() -> Feed {
        let url = secrecy::SecretString::from("postgres://nobody@localhost/nothing");
        let names = Names {
            users_schema: "neon_identity".into(),
            state_schema: "usertap".into(),
            id_type: IdType::Text,
        };
        let reach = Reach::by(Way::new(url, None).expect("no file is read"));
        let keep = Duration::from_secs(60);
        Feed::new(Database::new(reach, names), "p", Retention { keep })
    }

    #[tokio::test]
    async fn every_change_until_then_is_known_only_once_nothing_more_is_to_be_read() {
        let at = |position| Pos {
            position: Position(position),
            nonce: 1,
        };
        let stretch = |next| Stretch {
            bounds: Bounds {
                oldest: at(0),
                head: at(1_000),
            },
            events: Vec::new(),
            next: at(next),
        };
        let (feed, began) = (feed(), clock::now());
        let (first, then) = (began + PAUSE, began + POLL);
        take(&feed.shared, stretch(500), first, false);
        assert_eq!(feed.known_at(), None);
        take(&feed.shared, stretch(1_000), then, true);
        assert_eq!(feed.known_at(), Some(then));
        take(&feed.shared, stretch(500), then + POLL, false);
        assert_eq!(feed.known_at(), Some(then));
    }

    /// What was committed until then comes as no change.
    #[tokio::test]
    async fn whoever_follows_is_told_where_the_tail_begins_anew() {
        let feed = feed();
        let mut followed = feed.subscribe();
        let at = Pos {
            position: Position(1_000),
            nonce: 1,
        };
        let bounds = Bounds { oldest: at, head: at };
        begin_anew(&feed.shared, bounds);
        assert_eq!(followed.try_recv(), Ok(Followed::Anybody));
    }
}
