//! Which history the database tells: the epoch, the server's timeline, and what became of others.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::super::writer::past::Believed;
use super::{Conn, Sql};
use crate::db::DbError;
use crate::db::statement::{Bind, execute, optional, statement};
use crate::user::Position;

/// Where the history of this database stands.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct History {
    /// Another one with each epoch.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    #[diesel(sql_type = BigInt)]
    pub epoch: i64,
    #[diesel(sql_type = BigInt)]
    pub position: i64,
    /// Of the server that wrote last, where it told.
    #[diesel(sql_type = Nullable<Text>)]
    pub timeline: Option<String>,
    /// When the tables were made: tells this database, and its backups, from every other.
    #[diesel(sql_type = BigInt)]
    pub made_at: i64,
    /// Up to where the history that this process knew is a part of this one, where it is another.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub certain: Option<i64>,
    /// Positions left out at the beginnings of epochs.
    #[diesel(sql_type = BigInt)]
    pub skipped: i64,
    /// What this process knew to be committed is still there.
    #[diesel(sql_type = Bool)]
    pub is_ours: bool,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub newest: Option<i64>,
    #[diesel(sql_type = Nullable<Integer>)]
    pub nonce: Option<i32>,
}

impl History {
    /// The last change row, with its nonce.
    pub fn newest(&self) -> Option<(Position, i32)> {
        Some((Position(self.newest?), self.nonce?))
    }
}

/// The epoch that is to follow the history that was found.
#[derive(Debug, Clone, Copy)]
pub struct Following<'a> {
    pub found: &'a History,
    /// No epoch that anybody has seen is begun again.
    pub behind_epoch: i64,
    /// The last position that is left out.
    pub from: Position,
    /// Up to where what was committed in the history that is followed is certain.
    pub certain: Position,
    pub timeline: Option<&'a str>,
}

#[derive(QueryableByName)]
struct Told {
    #[diesel(sql_type = Nullable<Text>)]
    timeline: Option<String>,
}

#[derive(QueryableByName)]
struct Before {
    #[diesel(sql_type = Nullable<SqlUuid>)]
    recorder: Option<Uuid>,
}

impl Sql {
    /// The server's identity and timeline: another one after each failover and each restore. Nothing
    /// where it does not tell, as on a standby and on servers that keep it to themselves.
    pub async fn timeline(&mut self, conn: &mut Conn) -> Result<Option<String>, DbError> {
        let told: Result<Option<Told>, DbError> = optional(statement(super::text::TIMELINE), conn)
            .await
            .map_err(DbError::from);
        let timeline = match told {
            Ok(told) => told.and_then(|told| told.timeline),
            Err(away @ DbError::Away(_)) => return Err(away),
            Err(_) => None,
        };
        self.tells_timeline(timeline.is_some());
        Ok(timeline)
    }

    /// The history, held against what this process believes to be committed.
    pub async fn history(&self, conn: &mut Conn, believed: &Believed) -> Result<Option<History>, DbError> {
        let history = statement(&self.history)
            .bind::<BigInt, _>(believed.known.0)
            .bind::<Nullable<BigInt>, _>(believed.last.map(|(position, _)| position.0))
            .bind::<Nullable<Integer>, _>(believed.last.map(|(_, nonce)| nonce))
            .bind::<Nullable<SqlUuid>, _>(believed.at.map(|(id, _)| id))
            .bind::<BigInt, _>(believed.at.map_or(0, |(_, epoch)| epoch));
        Ok(optional(history, conn).await?)
    }

    /// Commits may be lost: what was sent before proves nothing any more. Nothing where another process
    /// was quicker.
    pub async fn new_epoch(&self, conn: &mut Conn, next: Following<'_>) -> Result<Option<History>, DbError> {
        let begun = statement(&self.new_epoch)
            .bind::<SqlUuid, _>(next.found.id)
            .bind::<BigInt, _>(next.behind_epoch)
            .bind::<BigInt, _>(next.from.0)
            .bind::<Nullable<Text>, _>(next.timeline)
            .bind::<BigInt, _>(next.certain.0)
            .bind::<BigInt, _>(next.found.position);
        Ok(optional(begun, conn).await?)
    }

    /// Notes that this process records, and where; the one that did before.
    pub async fn take_place(
        &self,
        conn: &mut Conn,
        process: Uuid,
        timeline: Option<&str>,
    ) -> Result<Option<Uuid>, DbError> {
        let take = statement(&self.take_place)
            .bind::<SqlUuid, _>(process)
            .bind::<Nullable<Text>, _>(timeline);
        let before: Option<Before> = optional(take, conn).await?;
        Ok(before.and_then(|before| before.recorder))
    }

    /// This process does not know all of whom it had written before the epoch began.
    pub async fn note_unknown(&self, conn: &mut Conn) -> Result<(), DbError> {
        execute(statement(&self.note_unknown), conn).await?;
        Ok(())
    }
}
