//! The database: what the recorder's statements do to its tables, and what can happen to it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use uuid::Uuid;

use super::history::Begun;
use super::provider::{USERS, number};
use super::without::Without;
use crate::clock;
use crate::db::columns::Columns;
use crate::record::batch::{Aside, DoubtWrite, Loaded, Plan, RowWrite, State, Write};
use crate::record::change::Kind;
use crate::record::merge::{Known, Standing, Verdict};
use crate::record::sql::load::standing;
use crate::record::sql::number::{Numbered, word};
use crate::user::{ContentHash, Observation, Position, Seen, Tick, UserId, json};

/// So long a refused row is left alone.
const ASIDE: std::time::Duration = std::time::Duration::from_secs(10);
/// In a row with nothing but the id.
const NOTHING: u8 = 255;

/// A row as the users see it: content and whether it is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub content: u8,
    pub is_deleted: bool,
}

#[derive(Debug, Clone, Default)]
pub struct User {
    pub state: Option<State>,
    pub doubt: Option<Position>,
    pub row: Option<Row>,
    raw: String,
    /// The database refused it; when it may be tried again.
    pub aside: Option<Instant>,
}

#[derive(Debug, Clone)]
pub struct ChangeRow {
    pub position: Position,
    pub nonce: i32,
    pub user: usize,
    pub kind: Kind,
    pub after: Option<Row>,
}

/// What a backup holds.
#[derive(Debug, Clone)]
pub struct Tables {
    pub users: Vec<User>,
    pub changes: Vec<ChangeRow>,
    pub position: i64,
    pub epoch: i64,
    /// The history's own id, and the server that wrote last.
    pub history: Uuid,
    pub timeline: u32,
    pub epochs: Vec<Begun>,
    /// Somebody did not know all of whom it had written before the epoch began.
    pub is_unknown: bool,
    pub recorder: Option<Uuid>,
    /// The latest moment of each user that its row has shown.
    pub shown: Vec<usize>,
}

pub struct Database {
    pub tables: Tables,
    /// What a standby has that lags behind.
    pub standby: Tables,
    /// The server's, another one with each failover.
    pub timeline: u32,
    /// Histories begun so far.
    pub histories: i64,
    /// Every position that was ever committed, lost ones too.
    pub used: BTreeSet<i64>,
    pub is_away: bool,
    /// A CHECK of the users' own.
    pub refuses: Option<u8>,
    /// Users whose state a transaction has locked, and whose it is: machine and lane.
    pub locks: BTreeMap<usize, (usize, usize)>,
    pub without: Without,
}

impl Database {
    pub fn new(without: Without) -> Database {
        let tables = Tables {
            users: vec![User::default(); USERS],
            changes: Vec::new(),
            position: 0,
            epoch: 1,
            history: Uuid::from_u128(1),
            timeline: 1,
            epochs: Vec::new(),
            is_unknown: false,
            recorder: None,
            shown: vec![0; USERS],
        };
        Database {
            standby: tables.clone(),
            tables,
            timeline: 1,
            histories: 1,
            used: BTreeSet::new(),
            is_away: false,
            refuses: None,
            locks: BTreeMap::new(),
            without,
        }
    }

    pub fn load(&self, observations: &[&Observation]) -> BTreeMap<UserId, Loaded> {
        let is_partial = |seen: &&Observation| matches!(seen.seen, Seen::Partial(_));
        let with_raw = observations.iter().any(is_partial);
        let users: BTreeSet<&UserId> = observations.iter().map(|seen| &seen.id).collect();
        let loaded = users.into_iter();
        loaded
            .map(|id| (id.clone(), self.loaded(number(id), with_raw)))
            .collect()
    }

    pub fn loaded(&self, user: usize, with_raw: bool) -> Loaded {
        let user = &self.tables.users[user];
        let Some(state) = &user.state else {
            return Loaded::stranger();
        };
        let content = match state.standing {
            Standing::Present(content) => Some(content),
            _ => None,
        };
        let standing = |has_row| standing(word(state.standing), content, has_row);
        let mut loaded = Loaded {
            known: Known {
                position: state.position,
                mark: Tick::default(),
                standing: standing(user.row.is_some()),
                version: state.version,
                doubt: user.doubt,
            },
            told: standing(true),
            has_state: true,
            volatile: state.volatile,
            volatile_at: state.volatile_at,
            refused: state.refused,
            aside: match user.aside {
                None => Aside::No,
                Some(until) if until <= clock::now() => Aside::Due,
                Some(_) => Aside::Waits,
            },
            row: user.row.map(columns),
            raw: json::exact(&user.raw).filter(|_| with_raw),
        };
        self.sabotage(&mut loaded.known);
        loaded
    }

    fn sabotage(&self, known: &mut Known) {
        match self.without {
            Without::Position => known.position = Position(0),
            Without::ReadAfterDoubt => known.doubt = known.doubt.map(|_| Position(0)),
            Without::TombstoneByPosition if known.standing.is_deleted() => {
                known.standing = Standing::Present(ContentHash([NOTHING; 16]));
            }
            _ => {}
        }
    }

    /// Unless the transaction of another holds one of these users.
    pub fn locks(&mut self, loaded: &BTreeMap<UserId, Loaded>, holder: (usize, usize)) -> bool {
        if self.without == Without::Locks {
            return true;
        }
        if !self.held(loaded, holder).is_empty() {
            return false;
        }
        let with_state = loaded.iter().filter(|(_, loaded)| loaded.has_state);
        self.locks.extend(with_state.map(|(id, _)| (number(id), holder)));
        true
    }

    /// Those whom the transaction of another holds.
    pub fn held(&self, loaded: &BTreeMap<UserId, Loaded>, by: (usize, usize)) -> BTreeSet<UserId> {
        let is_held = |id: &UserId| self.locks.get(&number(id)).is_some_and(|holder| *holder != by);
        let held = loaded
            .iter()
            .filter(|(id, loaded)| loaded.has_state && is_held(id));
        held.map(|(id, _)| id.clone()).collect()
    }

    pub fn is_free(&self, user: usize) -> bool {
        !self.locks.contains_key(&user)
    }

    pub fn unlock(&mut self, holder: (usize, usize)) {
        self.locks.retain(|_, by| *by != holder);
    }

    pub fn refuses(&self, row: &RowWrite) -> bool {
        match row {
            RowWrite::Whole(view) => self.refuses == Some(view.content.0[0]),
            _ => false,
        }
    }

    /// Somebody else made a state that the plan takes for new.
    pub fn conflicts(&self, plan: &Plan) -> bool {
        let has_state = |id: &UserId| self.tables.users[number(id)].state.is_some();
        let is_made = plan
            .writes
            .iter()
            .any(|(id, write)| write.is_new && has_state(id));
        is_made && self.without != Without::OneMakesTheState
    }

    pub fn apply(&mut self, plan: &Plan, numbered: &Numbered) {
        for (id, write) in &plan.writes {
            self.write(id, write, numbered, is_ambiguous(plan));
        }
    }

    fn write(&mut self, id: &UserId, write: &Write, numbered: &Numbered, is_ambiguous: bool) {
        let without = self.without;
        let user = &mut self.tables.users[number(id)];
        user.write_row(&write.row);
        let version = user.state.as_ref().and_then(|state| state.version);
        let mut state = State {
            position: numbered.states.get(id).copied().unwrap_or(write.state.position),
            ..write.state.clone()
        };
        if without == Without::VersionOfEquals && write.change.is_none() {
            state.version = version;
        }
        user.state = Some(state);
        user.doubt = match doubt(without, write, user.doubt, is_ambiguous) {
            DoubtWrite::Keep(doubt) => doubt,
            DoubtWrite::Clear => None,
            DoubtWrite::Raise => numbered.doubts.get(id).copied(),
        };
        if write.ends_set_aside {
            user.aside = None;
        }
        if write.is_aside {
            user.aside = Some(clock::now() + ASIDE);
        }
        if write.leaves_a_stranger() {
            user.forget();
        }
        let after = user.row;
        if let (Some(change), Some((position, nonce))) = (&write.change, numbered.changes.get(id)) {
            self.tables.changes.push(ChangeRow {
                position: *position,
                nonce: *nonce,
                user: number(id),
                kind: change.kind,
                after,
            });
        }
    }

    /// The row of a deleted user goes, and what older changes held of it.
    pub fn purge_row(&mut self, user: usize) {
        self.tables.users[user].row = None;
        self.tables.users[user].aside = None;
        for change in self
            .tables
            .changes
            .iter_mut()
            .filter(|change| change.user == user)
        {
            change.after = None;
        }
    }

    /// That there was nobody is remembered by a process alone.
    pub fn forget_strangers(&mut self) {
        let shown = self.tables.shown.iter_mut().zip(&self.tables.users);
        let strangers = shown.filter(|(_, user)| user.state.is_none());
        strangers.for_each(|(shown, _)| *shown = 0);
    }

    /// Whose read is owed, the oldest doubt first; those set aside wait for their time.
    pub fn doubted(&self) -> Vec<(usize, Position)> {
        let is_due = |user: &User| user.aside.is_none_or(|until| until <= clock::now());
        let users = self.tables.users.iter().enumerate();
        let due = users.filter(|(_, user)| is_due(user));
        let mut doubted: Vec<(usize, Position)> = due
            .filter_map(|(number, user)| Some((number, user.doubt?)))
            .collect();
        doubted.sort_by_key(|(_, doubt)| *doubt);
        doubted
    }

    /// What the row shows of the user; nothing where there is none, or a deleted one.
    pub fn shows(&self, user: usize) -> Option<u8> {
        let row = self.tables.users[user].row.filter(|row| !row.is_deleted);
        row.map(|row| row.content)
    }
}

impl User {
    fn write_row(&mut self, row: &RowWrite) {
        let (content, raw) = match row {
            RowWrite::Nothing => return,
            RowWrite::Deletion => {
                self.row.iter_mut().for_each(|row| row.is_deleted = true);
                return;
            }
            RowWrite::Quiet(raw) => {
                self.raw = raw.to_string();
                return;
            }
            RowWrite::Whole(view) => (view.content.0[0], view.raw.to_string()),
            RowWrite::Skeleton => (NOTHING, "{}".to_owned()),
        };
        let is_deleted = false;
        self.row = Some(Row { content, is_deleted });
        self.raw = raw;
    }

    /// As the statement does it: a state that ever moved stays.
    fn forget(&mut self) {
        let never_was = |state: &State| state.standing == Standing::None && state.position.0 <= 0;
        if self.state.as_ref().is_some_and(never_was) && self.doubt.is_none() && self.aside.is_none() {
            self.state = None;
        }
    }
}

fn columns(row: Row) -> Columns {
    let then = DateTime::<Utc>::UNIX_EPOCH;
    Columns {
        deleted_at: row.is_deleted.then_some(then),
        ..Columns::default()
    }
}

fn doubt(without: Without, write: &Write, old: Option<Position>, is_ambiguous: bool) -> DoubtWrite {
    let is_ignored = match (without, write.doubt) {
        (Without::EqualSettles, DoubtWrite::Clear) => write.change.is_none(),
        (Without::DoubtOfAmbiguous, DoubtWrite::Raise) => is_ambiguous,
        (Without::NewPlaceOfDoubt, DoubtWrite::Raise) => old.is_some(),
        (Without::RefusedIsOwed, DoubtWrite::Raise) => write.is_aside,
        _ => false,
    };
    match is_ignored {
        true => DoubtWrite::Keep(old),
        false => write.doubt,
    }
}

fn is_ambiguous(plan: &Plan) -> bool {
    let mut judged = plan.judged.iter().flatten();
    judged.any(|judged| judged.verdict == Verdict::Ambiguous)
}
