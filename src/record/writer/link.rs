//! A lane's own connection.
//!
//! Nothing is written on a new one before the history behind it is known (see [`super::past`]).

use std::pin::pin;
use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncPgConnection};
use tokio::time::{sleep, timeout};

use super::super::refusal;
use super::super::sql::Patience;
use super::{Failure, GivenUp, Writer};
use crate::db::{DbError, Refusal, Wire, partitions, users_table};
use crate::failpoint;
use crate::user::Position;

/// Pauses between attempts to connect: the first short, as most outages are a restart.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
];

/// A connection that takes longer waits for another to end.
const GIVE_UP_EVERY: Duration = Duration::from_secs(1);

const TAKES_LONG: &str = "there is no connection to the database yet";

/// A lane's connection.
#[derive(Default)]
pub(super) struct Link {
    pub(super) conn: Option<AsyncPgConnection>,
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

    pub fn is_connected(&self) -> bool {
        self.conn.is_some()
    }

    pub fn drop_connection(&mut self) {
        self.conn = None;
    }
}

impl Writer {
    pub(super) async fn begin(&mut self, patience: Patience) -> Result<(), Failure> {
        let begun = self.sql.begin(self.link.conn()?, patience).await;
        begun.map_err(|_| Failure::Away)
    }

    /// It may take as long as another server does.
    pub(super) async fn commit(&mut self) -> Result<(), DbError> {
        self.shared.silence.may_last(self.number);
        let committed = self.sql.commit(self.link.conn_or_away()?).await;
        self.is_unsure |= matches!(committed, Err(DbError::Away(_)));
        committed
    }

    /// What a commit without an answer has changed is found equal from now on, and announced to nobody.
    fn tell_of_unsure(&mut self) {
        if std::mem::take(&mut self.is_unsure) {
            self.shared.anybody_changed();
            self.shared.purges.notify_one();
        }
    }

    /// A connection on which not even this works is dropped.
    pub(super) async fn rollback(&mut self) {
        if let Ok(conn) = self.link.conn()
            && self.sql.rollback(conn).await.is_err()
        {
            self.link.drop_connection();
        }
    }

    /// Tries until there is a connection whose history is known. One that broke while it was made is
    /// no outage yet.
    pub(super) async fn reconnect(&mut self) -> Result<(), GivenUp> {
        self.link.drop_connection();
        let last = PAUSES[PAUSES.len() - 1];
        for attempt in 0.. {
            match self.connect_or_tell().await {
                Ok(()) => break,
                Err(DbError::Away(_)) if attempt == 0 => {}
                Err(error) => self.shared.health.note_connecting(&why(&error)),
            }
            if self.shared.close.is_cancelled() {
                return Err(GivenUp);
            }
            sleep(*PAUSES.get(attempt).unwrap_or(&last)).await;
        }
        Ok(())
    }

    /// What takes longer than an answer may wait is no connection yet, whatever comes of it.
    async fn connect_or_tell(&mut self) -> Result<(), DbError> {
        let shared = self.shared.clone();
        let mut connecting = pin!(self.connect());
        if let Ok(connected) = timeout(shared.while_silent(), connecting.as_mut()).await {
            return connected;
        }
        if !shared.health.is_in_trouble() {
            shared.health.note_connecting(TAKES_LONG);
        }
        connecting.await
    }

    pub(super) async fn connect(&mut self) -> Result<(), DbError> {
        self.database.open().await?;
        let mut conn = self.dial().await?;
        let shared = self.shared.clone();
        let _alone = shared.past.looking.lock().await;
        let timeline = self.sql.timeline(&mut conn).await?;
        let (history, is_new) = self.history(&mut conn, timeline.as_deref()).await?;
        let table = users_table::find(&self.database.names, &mut conn).await?;
        shared.is_on(&table);
        if let Some(unfit) = table.unfit {
            return Err(unfit.into());
        }
        partitions::next(&self.database, &mut conn).await?;
        self.take_place(&mut conn, timeline.as_deref()).await?;
        let position = Position(history.position);
        self.make_partitions(&mut conn, position).await;
        self.sql.skipped(history.skipped, position);
        self.link.conn = Some(conn);
        failpoint::reached("writer.connected");
        shared.connected(&history, is_new);
        self.tell_of_unsure();
        self.doubt_lost().await?;
        shared.write_note(false).await;
        shared.health.connected();
        Ok(())
    }

    /// A connection that breaks when it is cut.
    async fn dial(&self) -> Result<AsyncPgConnection, DbError> {
        let (mut conn, wire) = self.connection().await?;
        let (ear, cut) = self.shared.silence.listen_to(self.number);
        self.tasks.spawn(async move {
            tokio::select! {
                () = wire => {}
                () = cut.cancelled() => {}
            }
        });
        conn.set_instrumentation(ear);
        Ok(conn)
    }

    /// While nothing is recorded, reads give up the connections that they do not use: a pooler, or the server,
    /// may have no other.
    async fn connection(&self) -> Result<(AsyncPgConnection, Wire), DbError> {
        let mut connecting = pin!(self.database.connect_on_wire());
        while self.is_first && self.shared.health.is_in_trouble() {
            self.database.forget_connections();
            if let Ok(connected) = timeout(GIVE_UP_EVERY, &mut connecting).await {
                return connected;
            }
        }
        connecting.await
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
