//! One reader of a slot at a time: peeking takes a lease, and only who holds it may advance, never back.
//!
//! A database that was restored, or a standby that took over, has a slot as it was then. Whoever goes on reading has
//! taken what is lost, and must begin anew as any consumer; this process knows how far it has moved a slot.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Double, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use super::super::read::{BOUNDS, BoundsRow, IS_VALID, pos};
use super::super::{Feed, FeedError};
use super::SlotError;
use crate::db::DbError;
use crate::db::statement::{Bind, optional, statement};
use crate::user::Pos;

/// How long a reader may be silent before another takes its place.
const LEASE: Duration = Duration::from_secs(30);

/// Where a slot stands.
#[derive(QueryableByName)]
struct StandRow {
    #[diesel(embed)]
    bounds: BoundsRow,
    #[diesel(sql_type = BigInt)]
    position: i64,
    #[diesel(sql_type = Integer)]
    nonce: i32,
    /// What is asked for belongs to this history and is still kept.
    #[diesel(sql_type = Bool)]
    valid: bool,
}

#[derive(QueryableByName)]
struct LeaseRow {
    #[diesel(embed)]
    stand: StandRow,
    #[diesel(sql_type = Bool)]
    is_taken: bool,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    leased_until: Option<DateTime<Utc>>,
}

#[derive(QueryableByName)]
struct AdvanceRow {
    #[diesel(embed)]
    stand: StandRow,
    #[diesel(sql_type = Bool)]
    is_yours: bool,
}

impl StandRow {
    fn at(&self) -> Pos {
        pos(self.position, self.nonce)
    }
}

/// Who asks for a lease.
#[derive(Debug, Clone, Copy)]
pub enum Reading {
    Begins(Uuid),
    /// With the lease that it was given.
    GoesOn(Uuid),
}

impl Reading {
    pub fn lease(self) -> Uuid {
        match self {
            Reading::Begins(lease) | Reading::GoesOn(lease) => lease,
        }
    }
}

impl Feed {
    /// Takes or renews the lease, for `LEASE` and as long as the reader will wait; gives where it reads
    /// from: the slot's position, or `ahead` where that is beyond it.
    ///
    /// # Errors
    /// [`FeedError::Gone`] where nothing can be read from there, or the reader has taken what is lost;
    /// [`SlotError::Leased`] while another reader holds it; neither takes the lease.
    pub async fn lease_slot(
        &self,
        name: &str,
        reading: Reading,
        waits: Duration,
        ahead: Option<Pos>,
    ) -> Result<Pos, SlotError> {
        let mut conn = self.database.get().await?;
        let moved = match reading {
            Reading::Begins(_) => None,
            Reading::GoesOn(_) => self.moved().get(name).copied(),
        };
        let valid = IS_VALID.replace("$1", "f.position").replace("$2", "f.nonce");
        let known = IS_VALID.replace("$1", "$6").replace("$2", "$7");
        let sql = self.database.names.sql(&format!(
            "WITH {BOUNDS}, start AS (
                 SELECT f.*, ({valid}) AND ($6 IS NULL OR $6 <= f.stands OR ({known})) AS valid FROM (
                     SELECT s.name, s.leased_until, s.position AS stands, greatest(s.position, $4) AS position,
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
            .bind::<SqlUuid, _>(reading.lease())
            .bind::<Double, _>((LEASE + waits).as_secs_f64())
            .bind::<Nullable<BigInt>, _>(ahead.map(|ahead| ahead.position.0))
            .bind::<Nullable<Integer>, _>(ahead.map(|ahead| ahead.nonce))
            .bind::<Nullable<BigInt>, _>(moved.map(|moved| moved.position.0))
            .bind::<Nullable<Integer>, _>(moved.map(|moved| moved.nonce));
        let row: Option<LeaseRow> = optional(taken, &mut conn).await.map_err(DbError::from)?;
        match row {
            None => Err(SlotError::Unknown),
            Some(row) if !row.stand.valid => Err(FeedError::Gone(row.stand.bounds.bounds()).into()),
            Some(row) if row.is_taken => Ok(row.stand.at()),
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
        judged(&row.ok_or(SlotError::Unknown)?, to)?;
        self.moved().insert(name.into(), to);
        Ok(())
    }

    /// How far this process has moved slots.
    pub(super) fn moved(&self) -> MutexGuard<'_, BTreeMap<Box<str>, Pos>> {
        self.shared.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn judged(row: &AdvanceRow, to: Pos) -> Result<(), SlotError> {
    let at = row.stand.at();
    match row {
        row if !row.is_yours => Err(SlotError::NotYours),
        _ if to.position < at.position => Err(SlotError::Backwards(at)),
        row if !row.stand.valid => Err(FeedError::Gone(row.stand.bounds.bounds()).into()),
        _ => Ok(()),
    }
}
