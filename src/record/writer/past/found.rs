//! What a new connection finds of the history, and what a lane makes of it.

use std::sync::atomic::Ordering;

use diesel_async::AsyncPgConnection;

use super::super::Writer;
use super::{Compared, compare, following};
use crate::clock;
use crate::db::users_table::UsersTable;
use crate::db::{DbError, partitions};
use crate::record::Shared;
use crate::record::sql::{HAS_GONE_BACK, History, Numbered};
use crate::user::Position;

impl Writer {
    /// The history behind this connection, and whether it is another one than this process was in.
    pub(in crate::record::writer) async fn history(
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
    pub(in crate::record::writer) async fn take_place(
        &self,
        conn: &mut AsyncPgConnection,
        timeline: Option<&str>,
    ) -> Result<(), DbError> {
        let process = self.shared.past.process();
        let before = self.sql.take_place(conn, process, timeline).await?;
        if self.shared.past.took_place(before) {
            self.shared.memory.distrust(clock::now());
            self.shared.anybody_changed();
        }
        Ok(())
    }

    /// Another process may have begun a new epoch, or somebody has put back older data beneath this very
    /// connection: nothing that was judged before holds then.
    pub(in crate::record::writer) fn in_our_epoch(&mut self, numbered: &Numbered) -> Result<(), DbError> {
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
}

impl Shared {
    /// What is sent from now on is sent in this history. Where it is another one than before, what was
    /// remembered, or kept, may be of what was lost.
    pub(in crate::record) fn connected(&self, history: &History, is_new: bool) {
        if is_new {
            self.anybody_changed();
        }
        self.past.is_in(history, is_new);
        self.epoch.store(history.epoch, Ordering::Release);
        let position = Position(history.position);
        self.head.committed(history.epoch, position, clock::now());
    }

    /// What is remembered is of the rows of one table.
    pub(in crate::record::writer) fn is_on(&self, table: &UsersTable) {
        let oid = table.oid.unwrap_or_default();
        if self.users_table.swap(oid, Ordering::AcqRel) != oid {
            self.memory.forget_all();
        }
    }
}
