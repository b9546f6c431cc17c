//! Rows that somebody changed by hand: noted by triggers, given positions here.

use std::collections::BTreeSet;

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text};

use super::super::by_hand::Noted;
use super::{Conn, Id, Sql};
use crate::db::DbError;
use crate::db::statement::{Bind, execute, load, optional, statement};
use crate::user::{Sent, UserId};

#[derive(QueryableByName)]
struct NotedRow {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Nullable<Text>)]
    before: Option<String>,
    #[diesel(sql_type = Bool)]
    raw_differs: bool,
    #[diesel(sql_type = BigInt)]
    changes: i64,
    #[diesel(sql_type = BigInt)]
    transactions: i64,
    #[diesel(sql_type = Bool)]
    nested: bool,
}

#[derive(QueryableByName)]
struct NextRow {
    #[diesel(sql_type = Bool)]
    is_ours: bool,
    #[diesel(sql_type = Nullable<BigInt>)]
    seq: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    id: Option<String>,
}

/// A stretch of the notes.
#[derive(Debug, Default)]
pub struct NextNotes {
    after: i64,
    pub last: i64,
    /// There may be more behind it.
    pub is_full: bool,
    pub users: BTreeSet<UserId>,
    /// Ids that no user can have: their notes only go.
    of_nobody: Vec<String>,
}

impl NextNotes {
    pub fn is_empty(&self) -> bool {
        self.last == self.after
    }
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Bool)]
    yes: bool,
    #[diesel(sql_type = Nullable<Bool>)]
    has_moved: Option<bool>,
    #[diesel(sql_type = Nullable<Bool>)]
    has_gone_back: Option<bool>,
    #[diesel(sql_type = Nullable<Bool>)]
    is_replaced: Option<bool>,
    #[diesel(sql_type = Bool)]
    is_deaf: bool,
}

impl Found {
    fn heard(self) -> Result<Heard, DbError> {
        let ends = [
            (self.has_moved, "it is another server than it was"),
            (self.has_gone_back, HAS_GONE_BACK),
            (self.is_replaced, "users_sync is another table than it was"),
        ];
        match ends.into_iter().find(|(is_so, _)| *is_so == Some(true)) {
            Some((_, why)) => Err(DbError::Away(why.into())),
            None => Ok(Heard {
                has_notes: self.yes,
                is_deaf: self.is_deaf,
            }),
        }
    }
}

/// Why a connection that never broke tells another history.
pub const HAS_GONE_BACK: &str = "older data was put back into its tables";

/// What a look finds without taking anything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Heard {
    pub has_notes: bool,
    /// A trigger that notes changes is disabled or gone.
    pub is_deaf: bool,
}

impl Sql {
    /// Whether anything is noted: asked often, and nearly always in vain. Whoever does nothing else
    /// learns here that it is connected to another server than it was, that older data was put back than what is
    /// `known` to be committed, or that users_sync is another table.
    pub async fn heard(&self, conn: &mut Conn, known: Sent) -> Result<Heard, DbError> {
        let look = statement(&self.has_notes)
            .bind::<BigInt, _>(known.epoch)
            .bind::<BigInt, _>(known.position.0);
        let found: Option<Found> = optional(look, conn).await?;
        match found {
            Some(found) => found.heard(),
            None => Ok(Heard::default()),
        }
    }

    /// Whose notes come next, the oldest first; nothing while another process numbers them. Within a
    /// transaction: until it ends no other process does.
    pub async fn next_notes(
        &self,
        conn: &mut Conn,
        after: i64,
        at_most: i64,
    ) -> Result<Option<NextNotes>, DbError> {
        let next = statement(&self.next_notes)
            .bind::<BigInt, _>(after)
            .bind::<BigInt, _>(at_most);
        let next: Vec<NextRow> = load(next, conn).await?;
        let is_ours = next.iter().all(|row| row.is_ours);
        let last = next.iter().filter_map(|row| row.seq).max();
        let is_full = i64::try_from(next.len()).is_ok_and(|given| given >= at_most);
        let ids: BTreeSet<String> = next.into_iter().filter_map(|row| row.id).collect();
        let mut found = NextNotes {
            after,
            last: last.unwrap_or(after),
            is_full,
            ..NextNotes::default()
        };
        for id in ids {
            match UserId::parse(&id, self.names.id_type) {
                Some(id) => drop(found.users.insert(id)),
                None => found.of_nobody.push(id),
            }
        }
        Ok(is_ours.then_some(found))
    }

    /// The notes of those who are `free`, taken away, one for each user. What is rolled back is there again.
    pub async fn take_notes(
        &self,
        conn: &mut Conn,
        next: &NextNotes,
        free: &BTreeSet<UserId>,
    ) -> Result<Vec<Noted>, DbError> {
        let free = free.iter().map(|id| id.as_str());
        let ids: Vec<&str> = free.chain(next.of_nobody.iter().map(String::as_str)).collect();
        let taken = statement(&self.take_notes)
            .bind::<BigInt, _>(next.last)
            .bind::<Array<Text>, _>(ids);
        let taken: Vec<NotedRow> = load(taken, conn).await?;
        let kind = self.names.id_type;
        let noted = taken.into_iter().filter_map(|row| {
            Some(Noted {
                id: UserId::parse(&row.id, kind)?,
                before: row.before,
                raw_differs: row.raw_differs,
                changes: row.changes,
                transactions: row.transactions,
                is_nested: row.nested,
            })
        });
        Ok(noted.collect())
    }

    /// Makes a state for each of these users who has none.
    pub async fn meet(&self, conn: &mut Conn, ids: &[&UserId]) -> Result<(), DbError> {
        let ids: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
        execute(statement(&self.meet).bind::<Array<Text>, _>(ids), conn).await?;
        Ok(())
    }

    /// Keeps states and rows of these users as they are until the transaction ends; those whom nobody
    /// else has locked.
    pub async fn hold(&self, conn: &mut Conn, ids: &[&UserId]) -> Result<BTreeSet<UserId>, DbError> {
        let ids: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
        let held: Vec<Id> = load(statement(&self.hold).bind::<Array<Text>, _>(ids), conn).await?;
        let id = |row: Id| UserId::parse(&row.id, self.names.id_type);
        Ok(held.into_iter().filter_map(id).collect())
    }
}
