//! Named consumers whose position usertap keeps.
//!
//! A slot holds back the dropping of what it has not taken, for a while (see
//! [`super::retention`]): `reserved` while that is younger than the retention anyway, `extended`
//! while only the slot keeps it, `unreserved` once not even the slot does, `lost` when it is gone.
//! One reader at a time: peeking takes a lease, and only who holds it may advance, never back.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Double, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use serde::Serialize;
use uuid::Uuid;

use super::read::{BOUNDS, Bounds, BoundsRow, IS_VALID, Since, pos};
use super::retention::Retention;
use super::{Feed, FeedError};
use crate::db::DbError;
use crate::db::statement::{Bind, execute, load, optional, statement};
use crate::user::{Pos, Position};

/// How long a reader may be silent before another takes its place.
pub const LEASE: Duration = Duration::from_secs(30);
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

#[derive(QueryableByName)]
struct LeaseRow {
    #[diesel(embed)]
    bounds: BoundsRow,
    #[diesel(sql_type = BigInt)]
    position: i64,
    #[diesel(sql_type = Integer)]
    nonce: i32,
    #[diesel(sql_type = Bool)]
    valid: bool,
    #[diesel(sql_type = Bool)]
    is_taken: bool,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    leased_until: Option<DateTime<Utc>>,
}

#[derive(QueryableByName)]
struct AdvanceRow {
    #[diesel(embed)]
    bounds: BoundsRow,
    #[diesel(sql_type = BigInt)]
    position: i64,
    #[diesel(sql_type = Integer)]
    nonce: i32,
    #[diesel(sql_type = Bool)]
    valid: bool,
    #[diesel(sql_type = Bool)]
    is_yours: bool,
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
            .shared
            .database
            .names
            .sql("DELETE FROM {state}.slots WHERE name = $1");
        let deleted = execute(statement(&sql).bind::<Text, _>(name), &mut conn).await;
        match deleted.map_err(DbError::from)? {
            0 => Err(SlotError::Unknown),
            _ => Ok(()),
        }
    }

    /// Takes or renews the lease for [`LEASE`] and as long as the reader will wait; gives where it reads
    /// from: the slot's position, or `ahead` where that is beyond it.
    ///
    /// # Errors
    /// [`FeedError::Gone`] where nothing can be read from there, [`SlotError::Leased`] while another
    /// reader holds it; neither takes the lease.
    pub async fn lease_slot(
        &self,
        name: &str,
        lease: Uuid,
        waits: Duration,
        ahead: Option<Pos>,
    ) -> Result<Pos, SlotError> {
        let mut conn = self.database.get().await?;
        let valid = IS_VALID.replace("$1", "f.position").replace("$2", "f.nonce");
        let sql = self.database.names.sql(&format!(
            "WITH {BOUNDS}, start AS (
                 SELECT f.*, {valid} AS valid FROM (
                     SELECT s.name, s.leased_until, greatest(s.position, $4) AS position,
                            CASE WHEN $4 > s.position THEN $5 ELSE s.nonce END AS nonce
                     FROM {{state}}.slots s WHERE s.name = $1 FOR UPDATE) f CROSS JOIN bounds
             ), taken AS (
                 UPDATE {{state}}.slots t SET lease = $2, leased_until = now() + make_interval(secs => $3)
                 FROM start WHERE t.name = start.name AND start.valid
                   AND (t.lease = $2 OR t.leased_until IS NULL -- nor is any so long: a clock was set back since
                     OR t.leased_until NOT BETWEEN now() AND now() + interval '2 minutes')
                 RETURNING t.name)
             SELECT bounds.*, f.position, f.nonce, f.valid, f.leased_until, EXISTS (SELECT FROM taken) AS is_taken
             FROM start f CROSS JOIN bounds"
        ));
        let taken = statement(&sql)
            .bind::<Text, _>(name)
            .bind::<SqlUuid, _>(lease)
            .bind::<Double, _>((LEASE + waits).as_secs_f64())
            .bind::<Nullable<BigInt>, _>(ahead.map(|ahead| ahead.position.0))
            .bind::<Nullable<Integer>, _>(ahead.map(|ahead| ahead.nonce));
        let row: Option<LeaseRow> = optional(taken, &mut conn).await.map_err(DbError::from)?;
        match row {
            None => Err(SlotError::Unknown),
            Some(row) if !row.valid => Err(FeedError::Gone(row.bounds.bounds()).into()),
            Some(row) if row.is_taken => Ok(pos(row.position, row.nonce)),
            Some(row) => Err(SlotError::Leased(row.leased_until.unwrap_or_default())),
        }
    }

    /// Moves a slot on to a position up to which everything was taken. A lease that is over is as good as
    /// long as nobody has taken the slot since: whoever does has another.
    ///
    /// # Errors
    /// [`SlotError::Backwards`], [`SlotError::NotYours`], or [`FeedError::Gone`] for a position
    /// that is none of this history.
    pub async fn advance_slot(&self, name: &str, lease: Option<Uuid>, to: Pos) -> Result<(), SlotError> {
        let mut conn = self.database.get().await?;
        let sql = self.database.names.sql(&format!(
            "WITH {BOUNDS}, judged AS (
                 SELECT s.name, s.position, s.nonce, {IS_VALID} AS valid,
                        coalesce(s.lease = $4, false) AS is_yours
                 FROM {{state}}.slots s CROSS JOIN bounds WHERE s.name = $3 FOR UPDATE OF s
             ), moved AS (
                 UPDATE {{state}}.slots t SET position = $1, nonce = $2, advanced_at = now(),
                        leased_until = now() + make_interval(secs => $5)
                 FROM judged j WHERE t.name = j.name AND j.valid AND t.position <= $1
                   AND t.lease = $4
                 RETURNING t.name
             )
             SELECT bounds.*, j.position, j.nonce, j.valid, j.is_yours FROM judged j CROSS JOIN bounds"
        ));
        let moved = statement(&sql)
            .bind::<BigInt, _>(to.position.0)
            .bind::<Integer, _>(to.nonce)
            .bind::<Text, _>(name)
            .bind::<Nullable<SqlUuid>, _>(lease)
            .bind::<Double, _>(LEASE.as_secs_f64());
        let row: Option<AdvanceRow> = optional(moved, &mut conn).await.map_err(DbError::from)?;
        judged(&row.ok_or(SlotError::Unknown)?, to)
    }
}

fn judged(row: &AdvanceRow, to: Pos) -> Result<(), SlotError> {
    let bounds: Bounds = row.bounds.bounds();
    match row {
        row if !row.is_yours => Err(SlotError::NotYours),
        row if to.position < Position(row.position) => {
            Err(SlotError::Backwards(pos(row.position, row.nonce)))
        }
        row if !row.valid => Err(FeedError::Gone(bounds).into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
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
