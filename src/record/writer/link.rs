//! The writer's own connection, and what it knows of the history behind it.
//!
//! After each new connection the database is asked whether it still holds the last change that
//! this process saw committed. If not (a failover, a restored backup), a new epoch begins: what
//! was sent before it proves nothing any more.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use diesel_async::AsyncPgConnection;
use tokio::time::sleep;

use super::super::batch::{DoubtWrite, Loaded, Plan, VOLATILE_EVERY, Write};
use super::super::memory::{Memory, Print};
use super::super::merge::{Known, Verdict};
use super::super::sql::{History, Numbered};
use super::super::{Changed, Shared};
use super::{Failure, Flight, GivenUp, REFUSED_PAUSE, Writer};
use crate::clock;
use crate::db::{DbError, partitions};
use crate::user::{Position, Seen, Tick, UserId};

/// Pauses between attempts to connect: the first short, as most outages are a restart.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
];

#[derive(Default)]
pub(super) struct Link {
    conn: Option<AsyncPgConnection>,
    floor: Position,
    /// The last change this process saw committed, with its nonce.
    last: Option<(Position, i32)>,
    /// Where partitions were made ahead last.
    ahead: Position,
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

    /// Remembers what was committed last, and tells subscribers of all of it.
    pub fn tell(&mut self, shared: &Shared, numbered: &Numbered) {
        for (id, (position, nonce)) in &numbered.changes {
            self.committed(*position, *nonce);
            let changed = Changed {
                id: id.clone(),
                position: *position,
            };
            // Nobody may be subscribed.
            let _ = shared.changed.send(changed);
        }
    }

    fn committed(&mut self, position: Position, nonce: i32) {
        if self.last.is_none_or(|(last, _)| last < position) {
            self.last = Some((position, nonce));
        }
    }
}

impl Writer {
    pub(super) async fn begin(&mut self) -> Result<(), Failure> {
        let begun = self.sql.begin(self.link.conn()?).await;
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

    /// Tries until there is a connection whose history is known.
    pub(super) async fn reconnect(&mut self) -> Result<(), GivenUp> {
        self.link.drop_connection();
        let mut pauses = PAUSES.iter().chain(std::iter::repeat(&PAUSES[PAUSES.len() - 1]));
        loop {
            let reason = match self.connect().await {
                Ok(()) => return Ok(()),
                Err(error) => error.to_string(),
            };
            self.note_trouble(reason);
            if self.shared.close.is_cancelled() {
                return Err(GivenUp);
            }
            sleep(*pauses.next().unwrap_or(&REFUSED_PAUSE)).await;
        }
    }

    pub(super) async fn connect(&mut self) -> Result<(), DbError> {
        self.database.open().await?;
        let mut conn = self.database.connect().await?;
        let (last, nonce) = self
            .link
            .last
            .map_or((Position(0), None), |(last, nonce)| (last, Some(nonce)));
        let history = self.sql.history(&mut conn, last, nonce).await?;
        let history = match history {
            Some(history) if history.is_ours => history,
            Some(_) => self.begin_epoch(&mut conn, last).await?,
            None => {
                return Err(DbError::Unfit(
                    "the table meta is empty: restore it from a backup".into(),
                ));
            }
        };
        partitions::ahead(&self.database, &mut conn).await?;
        self.link.floor = Position(history.floor);
        self.link.ahead = Position(history.position);
        self.link.conn = Some(conn);
        self.shared.epoch.store(history.epoch, Ordering::Release);
        self.shared
            .head
            .committed(history.epoch, Position(history.position), clock::now());
        Ok(())
    }

    async fn begin_epoch(
        &mut self,
        conn: &mut AsyncPgConnection,
        last: Position,
    ) -> Result<History, DbError> {
        let history = self.sql.new_epoch(conn, last).await?;
        let history = history.ok_or_else(|| DbError::Unfit("the table meta is empty: restore it".into()))?;
        tracing::warn!(
            epoch = history.epoch,
            "the database lacks changes that were committed (a failover or a restored backup): a new epoch begins; \
             run a backfill"
        );
        self.link.last = None;
        self.shared.memory.forget_all();
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

    /// Why even one user alone cannot be written, as an SQLSTATE.
    pub(super) async fn diagnose(&mut self) -> String {
        let found = match self.link.conn_or_away() {
            Ok(conn) => self.sql.diagnose(conn).await,
            Err(error) => Err(error),
        };
        found.ok().flatten().unwrap_or_else(|| "unknown".into())
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
        let (Some((last, _)), Some(conn)) = (self.link.last, self.link.conn.as_mut()) else {
            return;
        };
        if last.0 - self.link.ahead.0 < partitions::RENEW_EVERY {
            return;
        }
        match partitions::ahead(&self.database, conn).await {
            Ok(()) => self.link.ahead = last,
            Err(error) => tracing::warn!(%error, "no new partition for the change rows yet"),
        }
    }

    /// Fingerprints of users that were looked up and change nothing.
    pub(super) fn remember_loaded(
        &self,
        flight: &Flight,
        todo: &[usize],
        plan: &Plan,
        loaded: &std::collections::BTreeMap<UserId, Loaded>,
    ) {
        let memory = &self.shared.memory;
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

fn agreed(memory: &Memory, seen: &Seen, verdict: Verdict) -> Option<u64> {
    match (seen, verdict) {
        (Seen::Partial(value), Verdict::Idle) => Some(memory.fingerprint_of(value)),
        _ => None,
    }
}

fn print(loaded: &Loaded, agreed: Option<u64>) -> Print {
    Print {
        known: loaded.known,
        volatile: loaded.volatile,
        volatile_due: due(loaded.volatile_at),
        agreed,
    }
}

/// The fingerprint of what was just committed.
pub(super) fn print_of(write: &Write, numbered: &Numbered, id: &UserId) -> Print {
    let state = &write.state;
    let known = Known {
        position: numbered.states.get(id).copied().unwrap_or(state.position),
        mark: Tick::default(),
        standing: state.standing,
        version: state.version,
        doubt: match write.doubt {
            DoubtWrite::Keep(doubt) => doubt,
            DoubtWrite::Clear => None,
            DoubtWrite::Raise => numbered.doubts.get(id).copied(),
        },
    };
    Print {
        known,
        volatile: state.volatile,
        volatile_due: due(state.volatile_at),
        agreed: None,
    }
}

fn due(written: Option<chrono::DateTime<chrono::Utc>>) -> clock::Instant {
    let age = written.map_or(VOLATILE_EVERY, |written| clock::wall() - written);
    let left = (VOLATILE_EVERY - age).to_std().unwrap_or_default();
    clock::now() + left.min(Duration::from_secs(3_600))
}
