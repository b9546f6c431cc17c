//! Giving out positions: change rows and states in one statement under the position lock.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Integer, Nullable, Text, Timestamptz};
use diesel_async::SimpleAsyncConnection;

use super::super::batch::{DoubtWrite, Plan, RowWrite, Write};
use super::super::change::Change;
use super::super::merge::Standing;
use super::alike::Alike;
use super::{Conn, Sql, Users};
use crate::db::DbError;
use crate::db::statement::{Bind, execute, optional, statement};
use crate::user::{ContentHash, Origin, Position, UserId};

/// Positions given out by one transaction.
#[derive(Debug, Clone)]
pub struct Numbered {
    pub epoch: i64,
    /// The last one that was given out before.
    pub behind: Position,
    pub last: Position,
    /// Position and nonce of each change, by user.
    pub changes: BTreeMap<UserId, (Position, i32)>,
    /// Position of each doubt raised, by user.
    pub doubts: BTreeMap<UserId, Position>,
    /// Position of each state that moved.
    pub states: BTreeMap<UserId, Position>,
}

#[derive(QueryableByName)]
pub(super) struct NumberedRow {
    #[diesel(sql_type = BigInt)]
    base: i64,
    #[diesel(sql_type = BigInt)]
    epoch: i64,
    #[diesel(sql_type = BigInt)]
    states: i64,
    #[diesel(sql_type = Nullable<Bool>)]
    is_replaced: Option<bool>,
    #[diesel(sql_type = Nullable<Bool>)]
    has_moved: Option<bool>,
}

impl Sql {
    /// Gives out positions and writes change rows and states. `Err(Refused{Serialization})` where
    /// another process made one of the users meanwhile: the transaction must begin anew.
    pub async fn number(&self, conn: &mut Conn, plan: &Plan, users: Users) -> Result<Numbered, DbError> {
        let numbering = Numbering::of(plan);
        if numbering.taken > 0 {
            conn.batch_execute(&self.position_lock).await?;
        }
        let alike = match users {
            Users::Strangers => Alike::of(plan),
            Users::Any => None,
        };
        let numbered = match alike {
            Some(alike) => self.number_alike(conn, alike).await?,
            None => self.number_each(conn, plan, &numbering, users).await?,
        };
        let numbered = numbered.ok_or_else(DbError::without_meta)?;
        if numbered.is_replaced == Some(true) {
            // A new connection looks closer and says what is to be done.
            return Err(DbError::Away("users_sync is another table than it was".into()));
        }
        if numbered.has_moved == Some(true) {
            return Err(DbError::Away("it is another server than it was".into()));
        }
        if usize::try_from(numbered.states) != Ok(plan.writes.len()) {
            return Err(DbError::Refused {
                kind: crate::db::Refusal::Serialization,
                place: None,
            });
        }
        self.forget_strangers(conn, plan).await?;
        Ok(numbering.numbered(plan, numbered.base, numbered.epoch))
    }

    async fn number_each(
        &self,
        conn: &mut Conn,
        plan: &Plan,
        numbering: &Numbering,
        users: Users,
    ) -> Result<Option<NumberedRow>, DbError> {
        let (changes, states) = (ChangeRows::of(plan, numbering), StateRows::of(plan, numbering));
        let number = match users {
            Users::Any => &self.number,
            Users::Strangers => &self.number_new,
        };
        let number = statement(number)
            .bind::<BigInt, _>(numbering.taken)
            .bind::<Array<BigInt>, _>(changes.places)
            .bind::<Array<Integer>, _>(changes.nonces)
            .bind::<Array<Text>, _>(changes.ids)
            .bind::<Array<Text>, _>(changes.types)
            .bind::<Array<Text>, _>(changes.changed)
            .bind::<Array<Nullable<Text>>, _>(changes.before)
            .bind::<Array<Text>, _>(changes.origins)
            .bind::<Array<Text>, _>(changes.routes)
            .bind::<Array<Text>, _>(changes.requests)
            .bind::<Array<Text>, _>(states.ids)
            .bind::<Array<Bool>, _>(states.is_new)
            .bind::<Array<BigInt>, _>(states.positions)
            .bind::<Array<Nullable<BigInt>>, _>(states.places)
            .bind::<Array<Text>, _>(states.standings)
            .bind::<Array<Nullable<BigInt>>, _>(states.versions)
            .bind::<Array<Nullable<Binary>>, _>(states.contents)
            .bind::<Array<Nullable<Binary>>, _>(states.volatiles)
            .bind::<Array<Nullable<Timestamptz>>, _>(states.volatile_ats)
            .bind::<Array<Nullable<BigInt>>, _>(states.doubts)
            .bind::<Array<Nullable<BigInt>>, _>(states.doubt_places)
            .bind::<Array<Nullable<Binary>>, _>(states.refused);
        Ok(optional(number, conn).await?)
    }
}

impl Sql {
    /// Deletions that no DELETE through usertap asked for count towards reconcile's hourly bound. Whom it
    /// has read itself, after its list, was counted before.
    pub async fn count_unasked(&self, conn: &mut Conn, plan: &Plan, are_listed: bool) -> Result<(), DbError> {
        let counted = |origin| match origin {
            Origin::ProxyWrite => false,
            Origin::Reconcile => are_listed,
            _ => true,
        };
        let deletions = plan
            .writes
            .values()
            .filter(|write| write.row == RowWrite::Deletion);
        let unasked = deletions
            .filter(|write| {
                write
                    .change
                    .as_ref()
                    .is_none_or(|change| counted(change.source.origin))
            })
            .count();
        if unasked > 0 {
            let count = statement(&self.unasked).bind::<BigInt, _>(unasked as i64);
            execute(count, conn).await?;
        }
        Ok(())
    }

    /// States of users who never were and whose position is old.
    pub async fn forget_strangers_up_to(
        &self,
        conn: &mut Conn,
        position: Position,
    ) -> Result<usize, DbError> {
        let forget = statement(&self.forget_old).bind::<BigInt, _>(position.0);
        Ok(execute(forget, conn).await?)
    }

    /// States of users who never were, once they are no longer doubted: whoever names ids at random
    /// must not make the table grow.
    async fn forget_strangers(&self, conn: &mut Conn, plan: &Plan) -> Result<(), DbError> {
        let strangers = plan.writes.iter().filter(|(_, write)| write.leaves_a_stranger());
        let ids: Vec<&str> = strangers.map(|(id, _)| id.as_str()).collect();
        if !ids.is_empty() {
            execute(statement(&self.forget).bind::<Array<Text>, _>(ids), conn).await?;
        }
        Ok(())
    }
}

/// Which write takes which place in the order, counted from 1.
#[derive(Debug, Default)]
pub struct Numbering {
    pub taken: i64,
    /// Of a change, or of a state that moves without one.
    state: BTreeMap<UserId, i64>,
    doubt: BTreeMap<UserId, i64>,
}

impl Numbering {
    pub fn of(plan: &Plan) -> Numbering {
        let mut numbering = Numbering::default();
        for (id, write) in &plan.writes {
            if write.change.is_some() || write.bumps {
                numbering.taken += 1;
                numbering.state.insert(id.clone(), numbering.taken);
            }
            if write.doubt == DoubtWrite::Raise {
                numbering.taken += 1;
                numbering.doubt.insert(id.clone(), numbering.taken);
            }
        }
        numbering
    }

    /// Once it is known behind which position, and in which epoch.
    pub fn numbered(&self, plan: &Plan, base: i64, epoch: i64) -> Numbered {
        let at = |place: i64| Position(base + place);
        let changes = plan.writes.iter().filter_map(|(id, write)| {
            let nonce = write.change.as_ref()?.nonce;
            Some((id.clone(), (at(*self.state.get(id)?), nonce)))
        });
        Numbered {
            epoch,
            behind: at(0),
            last: at(self.taken),
            changes: changes.collect(),
            doubts: self
                .doubt
                .iter()
                .map(|(id, place)| (id.clone(), at(*place)))
                .collect(),
            states: self
                .state
                .iter()
                .map(|(id, place)| (id.clone(), at(*place)))
                .collect(),
        }
    }
}

#[derive(Default)]
struct ChangeRows<'a> {
    places: Vec<i64>,
    nonces: Vec<i32>,
    ids: Vec<&'a str>,
    types: Vec<&'static str>,
    changed: Vec<String>,
    before: Vec<Option<&'a str>>,
    origins: Vec<&'static str>,
    routes: Vec<&'a str>,
    requests: Vec<&'a str>,
}

impl<'a> ChangeRows<'a> {
    fn of(plan: &'a Plan, numbering: &Numbering) -> ChangeRows<'a> {
        let mut rows = ChangeRows::default();
        for (id, write) in &plan.writes {
            if let (Some(change), Some(place)) = (&write.change, numbering.state.get(id)) {
                rows.push(id, change, *place);
            }
        }
        rows
    }

    fn push(&mut self, id: &'a UserId, change: &'a Change, place: i64) {
        self.places.push(place);
        self.nonces.push(change.nonce);
        self.ids.push(id.as_str());
        self.types.push(change.kind.as_str());
        self.changed.push(change.changed_literal());
        self.before.push(change.before.as_deref());
        self.origins.push(change.source.origin.as_str());
        self.routes.push(&change.source.route);
        self.requests.push(&change.source.request_id);
    }
}

#[derive(Default)]
struct StateRows<'a> {
    ids: Vec<&'a str>,
    is_new: Vec<bool>,
    positions: Vec<i64>,
    places: Vec<Option<i64>>,
    standings: Vec<&'static str>,
    versions: Vec<Option<i64>>,
    contents: Vec<Option<Vec<u8>>>,
    volatiles: Vec<Option<Vec<u8>>>,
    volatile_ats: Vec<Option<DateTime<Utc>>>,
    doubts: Vec<Option<i64>>,
    doubt_places: Vec<Option<i64>>,
    refused: Vec<Option<Vec<u8>>>,
}

impl<'a> StateRows<'a> {
    fn of(plan: &'a Plan, numbering: &Numbering) -> StateRows<'a> {
        let mut rows = StateRows::default();
        for (id, write) in &plan.writes {
            rows.push(id, write, numbering);
        }
        rows
    }

    fn push(&mut self, id: &'a UserId, write: &Write, numbering: &Numbering) {
        let bytes = |hash: Option<ContentHash>| hash.map(|hash| hash.0.to_vec());
        let state = &write.state;
        let content = match state.standing {
            Standing::Present(content) => Some(content),
            _ => None,
        };
        self.ids.push(id.as_str());
        self.is_new.push(write.is_new);
        self.positions.push(state.position.0);
        self.places.push(numbering.state.get(id).copied());
        self.standings.push(word(state.standing));
        self.versions.push(state.version);
        self.contents.push(bytes(content));
        self.volatiles.push(bytes(state.volatile));
        self.volatile_ats.push(state.volatile_at);
        self.doubts.push(match write.doubt {
            DoubtWrite::Keep(doubt) => doubt.map(|doubt| doubt.0),
            DoubtWrite::Clear | DoubtWrite::Raise => None,
        });
        self.doubt_places.push(numbering.doubt.get(id).copied());
        self.refused.push(bytes(state.refused));
    }
}

pub fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::None => "none",
        Standing::Skeleton => "skeleton",
        Standing::Present(_) => "present",
        Standing::Deleted => "deleted",
        Standing::Purged => "purged",
    }
}
