//! A lane's own connection, and the history behind it.
//!
//! After each new connection the database is asked whether it still tells the history that this process
//! was in (see [`super::past`]). If not, a new epoch begins: what was sent before it proves nothing any
//! more, and whom this process had written since the last certain commit is in doubt before anything
//! else is written on that connection.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncPgConnection};
use tokio::time::{sleep, timeout};

use super::super::batch::{Loaded, Plan};
use super::super::refusal;
use super::super::sql::{Following, HAS_GONE_BACK, History, Numbered, Patience};
use super::super::{Changed, Shared};
use super::past::{Believed, Compared, apart, compare};
use super::print::{agreed, print};
use super::{Failure, Flight, GivenUp, REFUSED_PAUSE, Writer};
use crate::clock;
use crate::db::users_table::{self, UsersTable};
use crate::db::{DbError, Refusal, Wire, partitions};
use crate::failpoint;
use crate::user::{Position, UserId};

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

/// Between attempts to make partitions, of all lanes together.
const PARTITIONS_PAUSE: Duration = Duration::from_secs(60);

/// A lane's connection.
#[derive(Default)]
pub(super) struct Link {
    conn: Option<AsyncPgConnection>,
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
        self.shared.silence.commits(self.number);
        self.sql.commit(self.link.conn_or_away()?).await
    }

    /// A connection on which not even this works is dropped.
    pub(super) async fn rollback(&mut self) {
        if let Ok(conn) = self.link.conn()
            && self.sql.rollback(conn).await.is_err()
        {
            self.link.drop_connection();
        }
    }

    /// Another process may have begun a new epoch, or somebody has put back older data beneath this very
    /// connection: nothing that was judged before holds then.
    pub(super) fn in_our_epoch(&mut self, numbered: &Numbered) -> Result<(), DbError> {
        let known = self.shared.head.sent();
        let is_ours = numbered.epoch == self.shared.epoch.load(Ordering::Acquire);
        // Where none was given out nobody else was kept from it.
        let gives = numbered.behind < numbered.last;
        let has_gone_back = gives && known.epoch == numbered.epoch && numbered.behind < known.position;
        if is_ours && !has_gone_back {
            return Ok(());
        }
        self.link.drop_connection();
        let why = match is_ours {
            true => HAS_GONE_BACK,
            false => "another process began a new epoch",
        };
        Err(DbError::Away(why.into()))
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

    /// The history behind this connection, and whether it is another one than this process was in.
    async fn history(
        &self,
        conn: &mut AsyncPgConnection,
        timeline: Option<&str>,
    ) -> Result<(History, bool), DbError> {
        let past = &self.shared.past;
        loop {
            let believed = past.believed(self.shared.head.sent());
            let found = self.sql.history(conn, &believed).await?;
            let found = found.ok_or_else(DbError::without_meta)?;
            match compare(&found, timeline, &believed) {
                Compared::Same => return Ok((found, false)),
                Compared::Foreign => past.forget_note(),
                Compared::Followed(certain) => {
                    tracing::warn!(
                        epoch = found.epoch,
                        "another process noticed a failover or a restored backup"
                    );
                    past.lose(certain);
                    return Ok((found, true));
                }
                Compared::Lost { found: certain, ours } => {
                    let now = clock::wall().timestamp_millis();
                    let next = following(&found, &believed, certain, timeline, now);
                    partitions::at(&self.database, conn, next.from).await?;
                    if let Some(begun) = self.sql.new_epoch(conn, next).await? {
                        tracing::warn!(
                            epoch = begun.epoch,
                            "the database may lack changes that were committed (a failover or a restored backup): a \
                             new epoch begins, and whoever was written since is read again"
                        );
                        past.lose(ours);
                        return Ok((begun, true));
                    }
                }
            }
        }
    }

    /// Notes that this process records now. If another did since this one (or those whose journal
    /// it has) did last, what that one judged in its memory is not known here.
    async fn take_place(&self, conn: &mut AsyncPgConnection, timeline: Option<&str>) -> Result<(), DbError> {
        let process = self.shared.past.process();
        let before = self.sql.take_place(conn, process, timeline).await?;
        if self.shared.past.took_place(before) {
            self.shared.memory.distrust(clock::now());
            self.shared.anybody_changed();
        }
        Ok(())
    }

    /// Waits a moment while the database refuses everything.
    pub(super) async fn pause(&mut self, reason: String) -> Result<(), GivenUp> {
        self.note_trouble(&reason);
        if self.shared.close.is_cancelled() {
            return Err(GivenUp);
        }
        sleep(REFUSED_PAUSE).await;
        self.reconnect().await
    }

    /// Why even one user alone cannot be written.
    pub(super) async fn diagnose(&mut self) -> String {
        let found = match self.link.conn_or_away() {
            Ok(conn) => self.sql.diagnose_all(conn).await,
            Err(error) => Err(error),
        };
        match found {
            Ok(Some((_, Some(who)))) => refusal::kept_from_positions(&who),
            Ok(Some((code, None))) => refusal::trouble(&code),
            Err(DbError::Unfit(why)) => why,
            Ok(None) | Err(_) => refusal::UNKNOWN_TROUBLE.to_owned(),
        }
    }

    pub(super) fn note_trouble(&mut self, reason: &str) {
        self.shared.health.note_writing(reason);
        self.is_in_trouble = true;
    }

    /// New positions need a partition before they are given out.
    pub(super) async fn renew_partitions(&mut self) {
        let last = self.shared.head.sent().position;
        if !self.shared.past.is_past(last, partitions::RENEW_EVERY) {
            return;
        }
        let shared = self.shared.clone();
        let _alone = shared.past.looking.lock().await;
        let Some(mut conn) = self.link.conn.take() else {
            return;
        };
        self.make_partitions(&mut conn, last).await;
        self.link.conn = Some(conn);
    }

    /// Where it cannot be done yet, what is there lasts a while: it is tried again every
    /// [`PARTITIONS_PAUSE`], and said.
    async fn make_partitions(&self, conn: &mut AsyncPgConnection, last: Position) {
        let past = &self.shared.past;
        if past.is_not_ahead(PARTITIONS_PAUSE) {
            return;
        }
        match partitions::ahead(&self.database, conn).await {
            Ok(()) => past.ahead(last),
            Err(error) => {
                past.not_ahead();
                tracing::warn!(%error, "no new partition for the change rows yet");
            }
        }
    }
}

impl Shared {
    /// What is sent from now on is sent in this history. Where it is another one than before, what was
    /// remembered may be of what was lost.
    pub(in crate::record) fn connected(&self, history: &History, is_new: bool) {
        if is_new {
            self.memory.forget_all();
        }
        self.past.is_in(history, is_new);
        self.epoch.store(history.epoch, Ordering::Release);
        let position = Position(history.position);
        self.head.committed(history.epoch, position, clock::now());
    }

    /// What is remembered is of the rows of one table.
    fn is_on(&self, table: &UsersTable) {
        let oid = table.oid.unwrap_or_default();
        if self.users_table.swap(oid, Ordering::AcqRel) != oid {
            self.memory.forget_all();
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
        let memory = &self.memory;
        for (&place, judged) in todo.iter().zip(&plan.judged) {
            let observation = flight.observation(place);
            let id = &observation.id;
            let (Some(judged), Some(loaded), None) = (judged, loaded.get(id), plan.writes.get(id)) else {
                continue;
            };
            let print = print(loaded, agreed(memory, &observation.seen, judged.verdict));
            memory.remember(id, print, flight.keep(place));
        }
    }
}

/// The epoch that must follow what was found.
pub fn following<'a>(
    found: &'a History,
    believed: &Believed,
    certain: Position,
    timeline: Option<&'a str>,
    now_millis: i64,
) -> Following<'a> {
    Following {
        found,
        behind_epoch: believed.at.map_or(believed.stamped_in, |(_, epoch)| epoch),
        from: apart(Position(found.position), believed.known, now_millis),
        certain,
        timeline,
    }
}

/// Remembers what was committed last, and tells of all of it, whoever keeps answers first.
pub fn tell(shared: &Shared, numbered: &Numbered, plan: &Plan) {
    let written = numbered.states.keys().chain(numbered.doubts.keys());
    shared.past.touched(written, numbered.last);
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
