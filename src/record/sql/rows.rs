//! Writing the rows of `users_sync`: users' triggers and cascades run here, before any position
//! is given out.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, Nullable, Text, Timestamptz};
use diesel_async::SimpleAsyncConnection;

use super::super::batch::{Plan, RowWrite};
use super::text::{TRY_FOUND, TRY_GIVEN};
use super::{Conn, Sql, Users, Yes};
use crate::db::statement::{Bind, execute, optional, statement};
use crate::db::{DbError, Refusal};
use crate::user::{UserId, View, json};

#[derive(QueryableByName)]
pub(super) struct Tried {
    #[diesel(sql_type = Nullable<Text>)]
    pub code: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub place: Option<String>,
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = Text)]
    version: String,
}

/// How the database refused a row; the message is left out, it may quote the user's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowRefusal {
    pub code: String,
    pub place: Option<String>,
}

impl Sql {
    /// Writes the rows of a plan; the states stay for [`Sql::number`].
    ///
    /// # Errors
    /// [`Refusal::Suppressed`] where the table took fewer rows than it was given.
    pub async fn write_rows(&self, conn: &mut Conn, plan: &Plan, users: Users) -> Result<(), DbError> {
        self.upsert(conn, plan, users).await?;
        self.write_quietly(conn, plan).await?;
        self.mark_deleted(conn, plan).await
    }

    async fn upsert(&self, conn: &mut Conn, plan: &Plan, users: Users) -> Result<(), DbError> {
        let mut rows = Rows::default();
        for (id, write) in &plan.writes {
            match &write.row {
                RowWrite::Whole(view) => rows.push_view(id, view),
                RowWrite::Skeleton => rows.push_skeleton(id),
                _ => {}
            }
        }
        if rows.ids.is_empty() {
            return Ok(());
        }
        let upsert = match users {
            Users::Any => &self.upsert,
            Users::Strangers => &self.insert,
        };
        let given = rows.ids.len();
        let upsert = statement(upsert)
            .bind::<Array<Text>, _>(rows.ids)
            .bind::<Array<Nullable<Text>>, _>(rows.names)
            .bind::<Array<Nullable<Text>>, _>(rows.emails)
            .bind::<Array<Nullable<Timestamptz>>, _>(rows.created)
            .bind::<Array<Nullable<Timestamptz>>, _>(rows.updated)
            .bind::<Array<Text>, _>(rows.raws);
        all_taken(given, execute(upsert, conn).await?)
    }

    async fn write_quietly(&self, conn: &mut Conn, plan: &Plan) -> Result<(), DbError> {
        let quiet = plan.writes.iter().filter_map(|(id, write)| match &write.row {
            RowWrite::Quiet(raw) => Some((id.as_str(), &**raw)),
            _ => None,
        });
        let (ids, raws): (Vec<&str>, Vec<&str>) = quiet.unzip();
        if ids.is_empty() {
            return Ok(());
        }
        let given = ids.len();
        let quiet = statement(&self.quiet)
            .bind::<Array<Text>, _>(ids)
            .bind::<Array<Text>, _>(raws);
        all_taken(given, execute(quiet, conn).await?)
    }

    /// By the database's clock, by which rows go after a while: of all that there are it is the one.
    async fn mark_deleted(&self, conn: &mut Conn, plan: &Plan) -> Result<(), DbError> {
        let deleted = plan
            .writes
            .iter()
            .filter(|(_, write)| write.row == RowWrite::Deletion);
        let ids: Vec<&str> = deleted.map(|(id, _)| id.as_str()).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let given = ids.len();
        let delete = statement(&self.delete).bind::<Array<Text>, _>(ids);
        all_taken(given, execute(delete, conn).await?)
    }

    /// Writes one row and says how the database refused it; the transaction stays usable.
    pub async fn try_row(
        &self,
        conn: &mut Conn,
        id: &UserId,
        row: &RowWrite,
    ) -> Result<Option<RowRefusal>, DbError> {
        let mut rows = Rows::default();
        match row {
            RowWrite::Whole(view) => rows.push_view(id, view),
            RowWrite::Skeleton => rows.push_skeleton(id),
            RowWrite::Deletion => return self.try_update(conn, &self.try_deletion, id, None).await,
            RowWrite::Quiet(raw) => return self.try_update(conn, &self.try_quiet, id, Some(raw)).await,
            RowWrite::Nothing => return Ok(None),
        }
        self.try_upsert(conn, id, rows).await
    }

    async fn try_upsert(
        &self,
        conn: &mut Conn,
        id: &UserId,
        mut rows: Rows<'_>,
    ) -> Result<Option<RowRefusal>, DbError> {
        if let Some(refusal) = rows.refusal() {
            return Ok(Some(refusal));
        }
        let before = self.version(conn, id).await?;
        let row = rows.clone();
        let tried = statement(&self.try_row)
            .bind::<Text, _>(id.as_str())
            .bind::<Nullable<Text>, _>(rows.names.pop().flatten())
            .bind::<Nullable<Text>, _>(rows.emails.pop().flatten())
            .bind::<Nullable<Timestamptz>, _>(rows.created.pop().flatten())
            .bind::<Nullable<Timestamptz>, _>(rows.updated.pop().flatten())
            .bind::<Nullable<Text>, _>(rows.raws.pop());
        let tried: Option<Tried> = optional(tried, conn).await?;
        match tried.and_then(Tried::refusal) {
            None if !self.is_taken(conn, before, row).await? => Ok(Some(RowRefusal::suppressed())),
            refusal => Ok(refusal),
        }
    }

    /// The same of a row that stands, by a block that takes and gives its values in settings.
    async fn try_update(
        &self,
        conn: &mut Conn,
        update: &str,
        id: &UserId,
        raw: Option<&str>,
    ) -> Result<Option<RowRefusal>, DbError> {
        let raw = raw.unwrap_or_default();
        if raw.contains('\0') {
            return Ok(Some(RowRefusal::nul()));
        }
        let given = statement(TRY_GIVEN)
            .bind::<Text, _>(id.as_str())
            .bind::<Text, _>(raw);
        execute(given, conn).await?;
        conn.batch_execute(update).await?;
        let tried: Option<Tried> = optional(statement(TRY_FOUND), conn).await?;
        Ok(tried.and_then(Tried::refusal))
    }

    /// Another one after each write of the row; nothing where there is none.
    async fn version(&self, conn: &mut Conn, id: &UserId) -> Result<Option<String>, DbError> {
        let version = statement(&self.version).bind::<Text, _>(id.as_str());
        let found: Option<Version> = optional(version, conn).await?;
        Ok(found.map(|found| found.version))
    }

    /// Whether the row was written, or stood there as it was to be written: triggers may leave out what
    /// changes nothing.
    async fn is_taken(
        &self,
        conn: &mut Conn,
        before: Option<String>,
        mut row: Rows<'_>,
    ) -> Result<bool, DbError> {
        let taken = statement(&self.taken)
            .bind::<Nullable<Text>, _>(row.ids.pop())
            .bind::<Nullable<Text>, _>(before)
            .bind::<Nullable<Text>, _>(row.names.pop().flatten())
            .bind::<Nullable<Text>, _>(row.emails.pop().flatten())
            .bind::<Nullable<Text>, _>(row.raws.pop());
        let found: Option<Yes> = optional(taken, conn).await?;
        Ok(found.is_some_and(|found| found.yes))
    }

    /// Removes a deleted user's row, firing the users' own `ON DELETE`.
    ///
    /// # Errors
    /// [`Refusal::Suppressed`] where the row stands all the same.
    pub async fn purge(&self, conn: &mut Conn, id: &UserId) -> Result<(), DbError> {
        let gone = execute(statement(&self.purge).bind::<Text, _>(id.as_str()), conn).await?;
        if gone > 0 {
            return Ok(());
        }
        let stays = statement(&self.stays_deleted).bind::<Text, _>(id.as_str());
        let stays: Option<Yes> = optional(stays, conn).await?;
        match stays.is_some_and(|stays| stays.yes) {
            true => Err(suppressed()),
            false => Ok(()),
        }
    }
}

/// A trigger or a policy of the users' own can leave rows out without a word.
fn all_taken(given: usize, taken: usize) -> Result<(), DbError> {
    match given == taken {
        true => Ok(()),
        false => Err(suppressed()),
    }
}

fn suppressed() -> DbError {
    DbError::Refused {
        kind: Refusal::Suppressed,
        place: None,
    }
}

impl Tried {
    fn refusal(self) -> Option<RowRefusal> {
        let place = self.place.filter(|place| !place.is_empty());
        Some(RowRefusal {
            code: self.code?,
            place,
        })
    }
}

#[derive(Default, Clone)]
struct Rows<'a> {
    ids: Vec<&'a str>,
    names: Vec<Option<&'a str>>,
    emails: Vec<Option<&'a str>>,
    created: Vec<Option<DateTime<Utc>>>,
    updated: Vec<Option<DateTime<Utc>>>,
    raws: Vec<std::borrow::Cow<'a, str>>,
}

impl<'a> Rows<'a> {
    /// A text with U+0000 is refused before the statement runs, and takes the transaction with it. What
    /// could not be read as text is marked with it.
    fn refusal(&self) -> Option<RowRefusal> {
        let texts = || self.names.iter().chain(&self.emails).flatten();
        if texts().any(|text| json::is_marked(text)) {
            return Some(RowRefusal::unread());
        }
        let raws = self.raws.iter().map(|raw| &**raw);
        let is_nul = texts().copied().chain(raws).any(|text| text.contains('\0'));
        is_nul.then(RowRefusal::nul)
    }

    fn push_view(&mut self, id: &'a UserId, view: &'a View) {
        self.ids.push(id.as_str());
        self.names.push(view.profile.name.as_deref());
        self.emails.push(view.profile.email.as_deref());
        self.created.push(view.profile.created_at);
        self.updated.push(view.profile.updated_at);
        self.raws.push((&*view.raw).into());
    }

    fn push_skeleton(&mut self, id: &'a UserId) {
        self.ids.push(id.as_str());
        self.names.push(None);
        self.emails.push(None);
        self.created.push(None);
        self.updated.push(None);
        self.raws
            .push(serde_json::json!({ "id": id.as_str() }).to_string().into());
    }
}
