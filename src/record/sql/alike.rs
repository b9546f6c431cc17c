//! Numbering users who are all new and all told of by one exchange, as a page of a walk brings them.
//!
//! Their change rows and states differ in little: what is the same of all of them is sent once. It is the same
//! work otherwise, done under the position lock, where everybody waits for it. What must never be: a user numbered
//! here of whom the statement for any users would have written something else.

use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Binary, Integer, Nullable, Text, Timestamptz};

use super::super::batch::{DoubtWrite, Plan, Write};
use super::super::change::{Change, Kind};
use super::super::merge::Standing;
use super::number::{NumberedRow, word};
use super::{Conn, Sql};
use crate::db::DbError;
use crate::db::statement::{Bind, optional, statement};
use crate::user::{ContentHash, Source, UserId};

/// Users in the order of their places, which are counted from 1.
pub(super) struct Alike<'a> {
    source: &'a Source,
    standing: &'static str,
    ids: Vec<&'a str>,
    nonces: Vec<i32>,
    versions: Vec<Option<i64>>,
    contents: Vec<&'a [u8]>,
    volatiles: Vec<Option<&'a [u8]>>,
    volatile_ats: Vec<Option<DateTime<Utc>>>,
}

impl<'a> Alike<'a> {
    /// Nothing where one of them is not as the others.
    pub fn of(plan: &'a Plan) -> Option<Alike<'a>> {
        let first = plan.writes.values().next()?;
        let mut alike = Alike {
            source: &first.change.as_ref()?.source,
            standing: word(first.state.standing),
            ids: Vec::new(),
            nonces: Vec::new(),
            versions: Vec::new(),
            contents: Vec::new(),
            volatiles: Vec::new(),
            volatile_ats: Vec::new(),
        };
        for (id, write) in &plan.writes {
            alike.push(id, write)?;
        }
        Some(alike)
    }

    fn push(&mut self, id: &'a UserId, write: &'a Write) -> Option<()> {
        let (change, content) = made(write)?;
        if *change.source != *self.source {
            return None;
        }
        self.ids.push(id.as_str());
        self.nonces.push(change.nonce);
        self.versions.push(write.state.version);
        self.contents.push(&content.0);
        let volatile = write.state.volatile.as_ref();
        self.volatiles.push(volatile.map(|hash| hash.0.as_slice()));
        self.volatile_ats.push(write.state.volatile_at);
        Some(())
    }
}

/// The change and the content of a user who is there from now on, and of whom nothing else is to be noted.
fn made(write: &Write) -> Option<(&Change, &ContentHash)> {
    let (Some(change), Standing::Present(content)) = (&write.change, &write.state.standing) else {
        return None;
    };
    let is_first = change.kind == Kind::Created && change.before.is_none() && change.changed.is_empty();
    let is_settled = matches!(write.doubt, DoubtWrite::Keep(None) | DoubtWrite::Clear);
    let is_plain = write.is_new && is_settled && write.state.refused.is_none();
    (is_first && is_plain).then_some((change, content))
}

impl Sql {
    pub(super) async fn number_alike(
        &self,
        conn: &mut Conn,
        users: Alike<'_>,
    ) -> Result<Option<NumberedRow>, DbError> {
        let count = users.ids.len() as i64;
        let number = statement(&self.number_alike)
            .bind::<BigInt, _>(count)
            .bind::<Array<BigInt>, _>((1..=count).collect::<Vec<_>>())
            .bind::<Array<Integer>, _>(users.nonces)
            .bind::<Array<Text>, _>(users.ids)
            .bind::<Array<Nullable<BigInt>>, _>(users.versions)
            .bind::<Array<Binary>, _>(users.contents)
            .bind::<Array<Nullable<Binary>>, _>(users.volatiles)
            .bind::<Array<Nullable<Timestamptz>>, _>(users.volatile_ats)
            .bind::<Text, _>(Kind::Created.as_str())
            .bind::<Text, _>(users.source.origin.as_str())
            .bind::<Text, _>(&*users.source.route)
            .bind::<Text, _>(&*users.source.request_id)
            .bind::<Text, _>(users.standing);
        Ok(optional(number, conn).await?)
    }
}
