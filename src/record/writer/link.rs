//! A lane's own connection, and what the lanes know of the history behind it.
//!
//! After each new connection the database is asked whether it still holds the last change that
//! this process knows to be committed, and every position that it has seen. If not (a failover, a
//! restored backup), a new epoch begins: what was sent before it proves nothing any more.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use diesel_async::AsyncPgConnection;
use tokio::time::sleep;
use uuid::Uuid;

use super::super::batch::{Loaded, Plan};
use super::super::refusal;
use super::super::sql::{History, Numbered, Patience};
use super::super::{Changed, Shared};
use super::print::{agreed, print};
use super::{Failure, Flight, GivenUp, REFUSED_PAUSE, Writer};
use crate::clock;
use crate::db::{DbError, Refusal, partitions};
use crate::failpoint;
use crate::user::{Position, Sent, UserId};

/// Foreign keys follow a table that is renamed: whatever took its name is not what they point to.
const REPLACED: &str = "users_sync is not the table that usertap made: that one was renamed, and foreign keys still \
    point to it. Give it its name back";

/// Pauses between attempts to connect: the first short, as most outages are a restart.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
];

/// A lane's connection.
#[derive(Default)]
pub(super) struct Link {
    conn: Option<AsyncPgConnection>,
    floor: Position,
}

/// What all lanes know of the history, and of each other.
#[derive(Debug, Default)]
pub struct Past {
    known: Mutex<Known>,
    /// One lane at a time looks at the history, or begins a new epoch.
    looking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    /// This process, as the database knows it.
    process: Uuid,
    /// Those whose observations this process has: itself, and who left the journal.
    ours: Vec<Uuid>,
    /// The last change this process knows to be committed, with its nonce.
    last: Option<(Position, i32)>,
    /// Where partitions were made ahead last.
    ahead: Position,
    lanes: usize,
    gave_up: bool,
}

impl Past {
    pub(in crate::record) fn begin(&self, process: Uuid, ours: Vec<Uuid>, lanes: usize) {
        *self.lock() = Known {
            process,
            ours,
            lanes,
            ..Known::default()
        };
    }

    pub(super) fn committed(&self, position: Position, nonce: i32) {
        let mut known = self.lock();
        if known.last.is_none_or(|(last, _)| last < position) {
            known.last = Some((position, nonce));
        }
    }

    /// What this process knows to be committed, given what it would stamp now: all positions up to the
    /// first, and the change that is the second.
    pub(in crate::record) fn known(&self, sent: Sent) -> (Position, Option<(Position, i32)>) {
        let last = self.lock().last;
        let changed = last.map_or(Position(0), |(position, _)| position);
        (sent.position.max(changed), last)
    }

    /// Whether this history lacks what was known to be committed, and nobody has said so yet.
    pub(in crate::record) fn is_lost(&self, found: &History, sent: Sent) -> bool {
        if !found.is_ours && found.epoch == sent.epoch {
            return true;
        }
        if let Some((position, nonce)) = found.newest() {
            self.committed(position, nonce);
        }
        false
    }

    /// This process records now. True where another one did since it (or those whose journal it has)
    /// did last.
    pub(in crate::record) fn took_place(&self, before: Option<Uuid>) -> bool {
        let mut known = self.lock();
        let is_foreign = before.is_some_and(|before| !known.ours.contains(&before));
        known.ours = vec![known.process];
        is_foreign
    }

    /// True for the last one.
    pub(super) fn lane_ended(&self, gave_up: bool) -> bool {
        let mut known = self.lock();
        known.lanes = known.lanes.saturating_sub(1);
        known.gave_up |= gave_up;
        known.lanes == 0
    }

    pub(super) fn gave_up(&self) -> bool {
        self.lock().gave_up
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Link {
    pub fn conn(&mut self) -> Result<&mut AsyncPgConnection, Failure> {
        self.conn.as_mut().ok_or(Failure::Away)
    }

    pub fn conn_or_away(&mut self) -> Result<&mut AsyncPgConnection, DbError> {
        self.conn
            .as_mut()
            .ok_or_else(|| DbError::Away("not connected".into()))
    }

    pub fn drop_connection(&mut self) {
        self.conn = None;
    }

    pub fn floor(&self) -> Position {
        self.floor
    }
}

impl Writer {
    pub(super) async fn begin(&mut self, patience: Patience) -> Result<(), Failure> {
        let begun = self.sql.begin(self.link.conn()?, patience).await;
        begun.map_err(|_| Failure::Away)
    }

    /// A connection on which not even this works is dropped.
    pub(super) async fn rollback(&mut self) {
        if let Ok(conn) = self.link.conn()
            && self.sql.rollback(conn).await.is_err()
        {
            self.link.drop_connection();
        }
    }

    /// Another process may have begun a new epoch: nothing that was judged before holds then.
    pub(super) fn in_our_epoch(&mut self, epoch: i64) -> Result<(), DbError> {
        if epoch == self.shared.epoch.load(Ordering::Acquire) {
            return Ok(());
        }
        self.link.drop_connection();
        Err(DbError::Away("another process began a new epoch".into()))
    }

    /// Tries until there is a connection whose history is known. One that broke while it was made is
    /// no outage yet.
    pub(super) async fn reconnect(&mut self) -> Result<(), GivenUp> {
        self.link.drop_connection();
        let last = PAUSES[PAUSES.len() - 1];
        for attempt in 0.. {
            match self.connect().await {
                Ok(()) => break,
                Err(DbError::Away(_)) if attempt == 0 => {}
                Err(error) => self.note_trouble(why(&error)),
            }
            if self.shared.close.is_cancelled() {
                return Err(GivenUp);
            }
            sleep(*PAUSES.get(attempt).unwrap_or(&last)).await;
        }
        Ok(())
    }

    pub(super) async fn connect(&mut self) -> Result<(), DbError> {
        self.database.open().await?;
        let mut conn = self.database.connect().await?;
        let shared = self.shared.clone();
        let _alone = shared.past.looking.lock().await;
        let history = self.history(&mut conn).await?;
        partitions::ahead(&self.database, &mut conn).await?;
        self.take_place(&mut conn).await?;
        let position = Position(history.position);
        shared.past.lock().ahead = position;
        self.sql.grown_to(position);
        self.link.floor = Position(history.floor);
        self.link.conn = Some(conn);
        failpoint::reached("writer.connected");
        shared.connected(&history);
        Ok(())
    }

    /// The history behind this connection: the one that is known here, or a new epoch.
    async fn history(&self, conn: &mut AsyncPgConnection) -> Result<History, DbError> {
        let past = &self.shared.past;
        let sent = self.shared.head.sent();
        let (known, last) = past.known(sent);
        let found = self.sql.history(conn, known, last).await?;
        let found = found
            .ok_or_else(|| DbError::Unfit("the table meta is empty: restore it from a backup".into()))?;
        if found.is_replaced {
            return Err(DbError::Unfit(REPLACED.into()));
        }
        if past.is_lost(&found, sent) {
            return self.begin_epoch(conn, known).await;
        }
        Ok(found)
    }

    /// Notes that this process records now. If another did since this one (or those whose journal
    /// it has) did last, what that one judged in its memory is not known here.
    async fn take_place(&self, conn: &mut AsyncPgConnection) -> Result<(), DbError> {
        let process = self.shared.past.lock().process;
        let before = self.sql.take_place(conn, process).await?;
        if self.shared.past.took_place(before) {
            self.shared.memory.distrust();
        }
        Ok(())
    }

    async fn begin_epoch(&self, conn: &mut AsyncPgConnection, known: Position) -> Result<History, DbError> {
        let history = self.sql.new_epoch(conn, known).await?;
        let history = history.ok_or_else(|| DbError::Unfit("the table meta is empty: restore it".into()))?;
        tracing::warn!(
            epoch = history.epoch,
            "the database lacks changes that were committed (a failover or a restored backup): a new epoch begins; \
             run a backfill"
        );
        self.shared.begun(&history);
        Ok(history)
    }

    /// Waits a moment while the database refuses everything.
    pub(super) async fn pause(&mut self, reason: String) -> Result<(), GivenUp> {
        self.note_trouble(reason);
        if self.shared.close.is_cancelled() {
            return Err(GivenUp);
        }
        sleep(REFUSED_PAUSE).await;
        self.reconnect().await
    }

    /// Why even one user alone cannot be written.
    pub(super) async fn diagnose(&mut self) -> String {
        let found = match self.link.conn_or_away() {
            Ok(conn) => self.sql.diagnose(conn).await,
            Err(error) => Err(error),
        };
        match found {
            Ok(Some(code)) => refusal::trouble(&code),
            Err(DbError::Unfit(why)) => why,
            Ok(None) | Err(_) => refusal::trouble("unknown"),
        }
    }

    fn note_trouble(&self, reason: String) {
        self.shared.health.trouble.send_if_modified(|trouble| {
            if trouble.as_deref() == Some(reason.as_str()) {
                return false;
            }
            tracing::warn!(reason, "answers leave unrecorded until the database takes them");
            *trouble = Some(Arc::from(reason));
            true
        });
    }

    pub(super) fn clear_trouble(&self) {
        self.shared.health.trouble.send_if_modified(|trouble| {
            if trouble.is_some() {
                tracing::info!("the database takes what was seen again");
            }
            trouble.take().is_some()
        });
    }

    /// New positions need a partition before they are given out.
    pub(super) async fn renew_partitions(&mut self) {
        let Some((last, _)) = self.shared.past.lock().last else {
            return;
        };
        if last.0 - self.shared.past.lock().ahead.0 < partitions::RENEW_EVERY {
            return;
        }
        let Ok(conn) = self.link.conn() else { return };
        let _alone = self.shared.past.looking.lock().await;
        match partitions::ahead(&self.database, conn).await {
            Ok(()) => self.shared.past.lock().ahead = last,
            Err(error) => tracing::warn!(%error, "no new partition for the change rows yet"),
        }
    }
}

impl Shared {
    /// A new epoch has begun: what was remembered may be of what was lost.
    pub(in crate::record) fn begun(&self, history: &History) {
        self.past.lock().last = history.newest();
        self.memory.forget_all();
    }

    /// What is sent from now on is sent in this history.
    pub(in crate::record) fn connected(&self, history: &History) {
        self.epoch.store(history.epoch, Ordering::Release);
        let position = Position(history.position);
        self.head.committed(history.epoch, position, clock::now());
    }

    /// Fingerprints of users that were looked up and change nothing.
    pub(super) fn remember_loaded(
        &self,
        flight: &Flight,
        todo: &[usize],
        plan: &Plan,
        loaded: &std::collections::BTreeMap<UserId, Loaded>,
    ) {
        let memory = &self.memory;
        for (&place, judged) in todo.iter().zip(&plan.judged) {
            let observation = flight.observation(place);
            let id = &observation.id;
            let (Some(judged), Some(loaded), None) = (judged, loaded.get(id), plan.writes.get(id)) else {
                continue;
            };
            let print = print(loaded, agreed(memory, &observation.seen, judged.verdict));
            memory.remember(id, print, flight.keep(&[place], id));
        }
    }
}

/// Remembers what was committed last, and tells of all of it, whoever keeps answers first.
pub fn tell(shared: &Shared, numbered: &Numbered, plan: &Plan) {
    for (id, (position, nonce)) in &numbered.changes {
        shared.past.committed(*position, *nonce);
        let by = plan.writes.get(id).and_then(|write| write.change.as_ref());
        shared.tell(id, by.map_or("", |change| &change.source.request_id));
        let changed = Changed {
            id: id.clone(),
            position: *position,
        };
        // Nobody may be subscribed.
        let _ = shared.changed.send(changed);
    }
}

/// Why there is no connection on which anything could be written.
fn why(error: &DbError) -> String {
    match error {
        DbError::Refused {
            kind: Refusal::ReadOnly,
            ..
        } => refusal::trouble("25006"),
        error => error.to_string(),
    }
}
