//! Named consumers whose position usertap keeps.
//!
//! A slot holds back the dropping of what it has not taken, for a while (see
//! [`super::retention`]): `reserved` while that is younger than the retention anyway, `extended`
//! while only the slot keeps it, `unreserved` once not even the slot does, `lost` when it is gone.
//! One reader at a time: see [`Feed::lease_slot`].

mod lease;

pub use lease::Reading;

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Double, Integer, Nullable, Text, Timestamptz};
use serde::Serialize;

use super::read::{BOUNDS, IS_VALID, Since, pos};
use super::retention::Retention;
use super::{Feed, FeedError};
use crate::db::DbError;
use crate::db::statement::{Bind, execute, load, statement};
use crate::user::Pos;

/// Events that are counted for a lag.
pub const COUNTED: i64 = 1_000_000;
/// Those where somebody only looks, every few seconds, or has done something else to the slot.
pub const AT_A_GLANCE: i64 = 10_000;

/// What [`is_name`] asks for.
pub const NAMES: &str =
    "a slot's name has 1 to 63 letters, digits, `-`, `_` and `.`, and is neither `.` nor `..`";

pub fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    // In a path they mean another one: nobody could ask for such a slot.
    let is_step = matches!(name, "." | "..");
    (1..=63).contains(&name.len()) && name.bytes().all(fits) && !is_step
}

/// As Postgres has them for its own slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Reserved,
    Extended,
    Unreserved,
    Lost,
}

/// How a slot stands.
#[derive(Debug, Clone, Serialize)]
pub struct Slot {
    pub name: String,
    pub pos: String,
    pub status: Status,
    /// Nothing where it is lost: what it has not taken cannot be counted any more.
    pub lag: Option<Lag>,
    /// Until when its reader holds it.
    pub leased_until: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub advanced_at: DateTime<Utc>,
}

/// How far a slot is behind.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Lag {
    /// Changes not taken; not counted beyond what was asked for.
    pub events: i64,
    /// As many were counted as were to be: there may be more.
    #[serde(skip)]
    pub is_at_least: bool,
    /// Age of the oldest of them.
    pub seconds: i64,
}

/// Why a slot did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    #[error("there is no slot of that name: make it with PUT /v1/slots/{{name}}")]
    Unknown,
    #[error("another reader holds the slot, at most until {0}")]
    Leased(DateTime<Utc>),
    #[error(
        "only the reader that holds the slot advances it: send the `lease` that its changes came with; where it was, \
         another reader has taken the slot since"
    )]
    NotYours,
    #[error("a slot only advances; it stands at {0}")]
    Backwards(Pos),
    #[error("there are 1,000 slots: delete those that nobody uses")]
    TooMany,
    #[error(transparent)]
    Feed(#[from] FeedError),
}

impl From<DbError> for SlotError {
    fn from(error: DbError) -> SlotError {
        SlotError::Feed(error.into())
    }
}

#[derive(QueryableByName)]
struct SlotRow {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = BigInt)]
    position: i64,
    #[diesel(sql_type = Integer)]
    nonce: i32,
    #[diesel(sql_type = Bool)]
    valid: bool,
    #[diesel(sql_type = BigInt)]
    events: i64,
    #[diesel(sql_type = Double)]
    seconds: f64,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    leased_until: Option<DateTime<Utc>>,
    #[diesel(sql_type = Timestamptz)]
    created_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    advanced_at: DateTime<Utc>,
}

impl SlotRow {
    fn slot(self, retention: Retention, counted: i64) -> Slot {
        let lag = Lag {
            events: self.events,
            is_at_least: self.events >= counted,
            seconds: self.seconds as i64,
        };
        Slot {
            name: self.name,
            pos: pos(self.position, self.nonce).to_string(),
            status: status(self.valid, self.seconds, retention),
            lag: Some(lag).filter(|_| self.valid),
            leased_until: self.leased_until,
            created_at: self.created_at,
            advanced_at: self.advanced_at,
        }
    }
}

fn status(valid: bool, behind: f64, retention: Retention) -> Status {
    match behind {
        _ if !valid => Status::Lost,
        behind if behind <= retention.keep.as_secs_f64() => Status::Reserved,
        behind if behind <= retention.for_slots().as_secs_f64() => Status::Extended,
        _ => Status::Unreserved,
    }
}

/// Slots there may be; each costs a look at every drop.
const MOST: i64 = 1_000;

impl Feed {
    /// The slot of that name, made at `since` where there is none. Says whether it was made.
    ///
    /// # Errors
    /// [`FeedError::Gone`] where a new one would start at a position that is.
    pub async fn make_slot(&self, name: &str, since: Since) -> Result<(Slot, bool), SlotError> {
        match self.slot(name, AT_A_GLANCE).await {
            Err(SlotError::Unknown) => {}
            found => return Ok((found?, false)),
        }
        let (reader, _) = self
            .reader(since, 1, super::Filter::default(), super::Shape::default())
            .await?;
        let at = match since {
            Since::At(pos) => pos,
            Since::Now => reader.at(),
            Since::Oldest => self.bounds().await?.oldest,
        };
        drop(reader);
        let made = self.insert_slot(name, at).await?;
        Ok((self.slot(name, AT_A_GLANCE).await?, made))
    }

    async fn insert_slot(&self, name: &str, at: Pos) -> Result<bool, SlotError> {
        let mut conn = self.database.get().await?;
        let sql = self.database.names.sql(
            "INSERT INTO {state}.slots (name, position, nonce) SELECT $1, $2, $3
             WHERE (SELECT count(*) FROM {state}.slots) < $4 OR EXISTS (SELECT FROM {state}.slots WHERE name = $1)
             ON CONFLICT DO NOTHING",
        );
        let insert = statement(&sql)
            .bind::<Text, _>(name)
            .bind::<BigInt, _>(at.position.0)
            .bind::<Integer, _>(at.nonce)
            .bind::<BigInt, _>(MOST);
        let made = execute(insert, &mut conn).await.map_err(DbError::from)? > 0;
        drop(conn);
        match made || self.slot_rows(Some(name), 0).await?.len() == 1 {
            true => Ok(made),
            false => Err(SlotError::TooMany),
        }
    }

    /// # Errors
    /// [`SlotError::Unknown`].
    pub async fn slot(&self, name: &str, counted: i64) -> Result<Slot, SlotError> {
        let mut rows = self.slot_rows(Some(name), counted).await?;
        let row = rows.pop().ok_or(SlotError::Unknown)?;
        Ok(row.slot(self.shared.retention, counted))
    }

    /// All of them, by name, each with its lag counted up to so many events.
    ///
    /// # Errors
    /// As the database gives them.
    pub async fn slots(&self, counted: i64) -> Result<Vec<Slot>, DbError> {
        let rows = self.slot_rows(None, counted).await?.into_iter();
        Ok(rows.map(|row| row.slot(self.shared.retention, counted)).collect())
    }

    async fn slot_rows(&self, name: Option<&str>, counted: i64) -> Result<Vec<SlotRow>, DbError> {
        let mut conn = self.database.get().await?;
        let valid = IS_VALID.replace("$1", "s.position").replace("$2", "s.nonce");
        let sql = self.database.names.sql(&format!(
            "WITH {BOUNDS}
             SELECT s.name, s.position, s.nonce, {valid} AS valid,
                 (SELECT count(*) FROM (SELECT FROM {{state}}.changes c WHERE c.position > s.position LIMIT $2) n)
                     AS events,
                 coalesce((SELECT greatest(extract(epoch FROM now() - c.committed_at), 0)::double precision
                     FROM {{state}}.changes c WHERE c.position > s.position ORDER BY c.position LIMIT 1), 0) AS seconds,
                 CASE WHEN s.leased_until > now() THEN s.leased_until END AS leased_until, s.created_at, s.advanced_at
             FROM {{state}}.slots s CROSS JOIN bounds WHERE $1 IS NULL OR s.name = $1 ORDER BY s.name"
        ));
        let slots = statement(&sql)
            .bind::<Nullable<Text>, _>(name)
            .bind::<BigInt, _>(counted);
        Ok(load(slots, &mut conn).await?)
    }

    /// # Errors
    /// [`SlotError::Unknown`].
    pub async fn delete_slot(&self, name: &str) -> Result<(), SlotError> {
        let mut conn = self.database.get().await?;
        let sql = self
            .database
            .names
            .sql("DELETE FROM {state}.slots WHERE name = $1");
        let deleted = execute(statement(&sql).bind::<Text, _>(name), &mut conn).await;
        self.moved().remove(name);
        match deleted.map_err(DbError::from)? {
            0 => Err(SlotError::Unknown),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_name_is_one_that_a_path_can_have() {
        for fit in ["mailer", "a.b", "...", ".a", "_-", &"x".repeat(63)] {
            assert!(is_name(fit), "{fit}");
        }
        for wrong in ["", ".", "..", "a/b", "a b", &"x".repeat(64)] {
            assert!(!is_name(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_slot_that_nobody_reads_is_given_up_in_the_end() {
        let retention = Retention {
            keep: Duration::from_secs(100),
        };
        let stands = |valid, behind| status(valid, behind, retention);
        assert_eq!(stands(true, 0.0), Status::Reserved);
        assert_eq!(stands(true, 101.0), Status::Extended);
        assert_eq!(stands(true, 401.0), Status::Unreserved);
        assert_eq!(stands(false, 0.0), Status::Lost);
    }
}
