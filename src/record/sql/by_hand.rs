//! Rows that somebody changed by hand: noted by triggers, given positions here.

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text};

use super::super::by_hand::Noted;
use super::{Conn, Sql};
use crate::db::DbError;
use crate::db::statement::{Bind, execute, load, optional, statement};
use crate::user::UserId;

#[derive(QueryableByName)]
struct NotedRow {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Nullable<Text>)]
    before: Option<String>,
    #[diesel(sql_type = Bool)]
    raw_differs: bool,
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Bool)]
    yes: bool,
    #[diesel(sql_type = Nullable<Bool>)]
    has_moved: Option<bool>,
}

impl Sql {
    /// Whether anything is noted: asked often, and nearly always in vain. Whoever does nothing else
    /// learns here that it is connected to another server than it was.
    pub async fn has_notes(&self, conn: &mut Conn) -> Result<bool, DbError> {
        let found: Option<Found> = optional(statement(&self.has_notes), conn).await?;
        if found.as_ref().is_some_and(|found| found.has_moved == Some(true)) {
            return Err(DbError::Away("it is another server than it was".into()));
        }
        Ok(found.is_some_and(|found| found.yes))
    }

    /// The oldest notes, taken away, one for each user; none while another process has them. Within
    /// a transaction: what is rolled back is there again.
    pub async fn take_notes(&self, conn: &mut Conn, at_most: i64) -> Result<Vec<Noted>, DbError> {
        let taken = statement(&self.take_notes).bind::<BigInt, _>(at_most);
        let taken: Vec<NotedRow> = load(taken, conn).await?;
        let kind = self.names.id_type;
        let noted = taken.into_iter().filter_map(|row| {
            Some(Noted {
                id: UserId::parse(&row.id, kind)?,
                before: row.before,
                raw_differs: row.raw_differs,
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

    /// Keeps the rows as they are until the transaction ends. The states must be locked before:
    /// in that order everybody else does it.
    pub async fn hold_rows(&self, conn: &mut Conn, ids: &[&UserId]) -> Result<(), DbError> {
        let ids: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
        execute(statement(&self.hold_rows).bind::<Array<Text>, _>(ids), conn).await?;
        Ok(())
    }
}
