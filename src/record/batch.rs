//! One batch on its way into one transaction: what the judgements come to, as writes.
//!
//! Pure: given what the database holds of the users concerned (their states locked), it says what
//! is to be written and how each observation fared. A user changes at most once in a batch; what
//! would change it again waits for the next.

mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::Effect;
use super::change::{Change, Kind};
use super::memory::Mark;
use super::merge::{Standing, Verdict, judge, settles, shows, version_of_equals};
use crate::db::columns::Columns;
use crate::user::{Observation, Origin, Position, Seen, Sent, Source, Tick, UserId, json};

pub use write::{Aside, DoubtWrite, Loaded, RowWrite, State, Write, state_of};

/// Everything that a batch comes to.
#[derive(Debug, Default)]
pub struct Plan {
    pub writes: BTreeMap<UserId, Write>,
    /// Of each observation, in order; `None` for those put off to the next batch.
    pub judged: Vec<Option<Judged>>,
    /// When users were last judged equal: to be remembered once the judgement stands, as a
    /// judgement that is repeated must not meet its own mark.
    pub marks: BTreeMap<UserId, Mark>,
    /// Whose later observations wait for the next batch, so that their order stays.
    put_off: BTreeSet<UserId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    pub verdict: Verdict,
    pub effect: Effect,
    /// Whether there was a row when it was judged.
    pub had_row: bool,
}

/// What is the same for a whole batch.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances {
    pub epoch: i64,
    pub now: DateTime<Utc>,
    /// Another process records too.
    pub shared: bool,
}

/// Changes of volatile fields alone are written at most this often for a user.
pub const VOLATILE_EVERY: chrono::TimeDelta = chrono::TimeDelta::hours(1);

/// Judges `observations` in their order. `tick` gives the tick of an equal judgement.
pub fn plan<'a>(
    observations: impl Iterator<Item = &'a Observation>,
    loaded: &mut BTreeMap<UserId, Loaded>,
    at: Circumstances,
    mut tick: impl FnMut() -> Tick,
) -> Plan {
    let mut plan = Plan::default();
    for observation in observations {
        let judged = loaded
            .get_mut(&observation.id)
            .and_then(|loaded| plan.judge_one(observation, loaded, at, &mut tick));
        plan.judged.push(judged);
    }
    plan
}

impl Plan {
    /// Writes that no observation brought.
    pub fn of(writes: BTreeMap<UserId, Write>) -> Plan {
        Plan {
            writes,
            ..Plan::default()
        }
    }

    fn judge_one(
        &mut self,
        observation: &Observation,
        loaded: &mut Loaded,
        at: Circumstances,
        tick: &mut impl FnMut() -> Tick,
    ) -> Option<Judged> {
        if self.put_off.contains(&observation.id) {
            return None;
        }
        let agrees = |part: &Value| self.agrees(&observation.id, loaded, part);
        let verdict = judge(
            &loaded.known,
            at.epoch,
            &observation.seen,
            observation.sent,
            agrees,
        );
        let changes = matches!(verdict, Verdict::Apply | Verdict::Stand);
        if changes && self.is_changed(&observation.id) {
            self.put_off.insert(observation.id.clone());
            return None;
        }
        if changes && is_refused(loaded, &observation.seen) {
            return Some(Judged {
                verdict: Verdict::Idle,
                effect: Effect::SetAside,
                had_row: loaded.known.standing.has_row(),
            });
        }
        let standing = loaded.known.standing;
        let effect = effect(verdict, standing, &observation.seen);
        self.note(observation, loaded, verdict, at, tick);
        Some(Judged {
            verdict,
            effect,
            had_row: standing.has_row(),
        })
    }

    /// A user changes at most once in a transaction.
    fn is_changed(&self, id: &UserId) -> bool {
        let write = self.writes.get(id);
        write.is_some_and(|write| write.change.is_some())
    }

    /// Whether the row shows the same as a partial view, as it is after what came before.
    fn agrees(&self, id: &UserId, loaded: &Loaded, part: &Value) -> bool {
        match self.writes.get(id).map(|write| &write.row) {
            Some(RowWrite::Whole(view)) => json::exact(&view.raw).is_some_and(|raw| shows(&raw, part)),
            _ => loaded.raw.as_ref().is_some_and(|raw| shows(raw, part)),
        }
    }

    fn note(
        &mut self,
        observation: &Observation,
        loaded: &mut Loaded,
        verdict: Verdict,
        at: Circumstances,
        tick: &mut impl FnMut() -> Tick,
    ) {
        let before = loaded.known.standing;
        let settled = verdict.counts_as_applied() && settles(loaded.known.doubt, at.epoch, observation.sent);
        match verdict {
            Verdict::Apply | Verdict::Stand => self.change(observation, loaded, at),
            Verdict::Equal | Verdict::Absent => {
                loaded.known.mark = tick();
                let mark = Mark::of(verdict, loaded.known.mark);
                self.marks.insert(observation.id.clone(), mark);
                self.equal(observation, loaded, at);
            }
            Verdict::Ambiguous | Verdict::Doubt => self.doubt(&observation.id, loaded, DoubtWrite::Raise),
            Verdict::Older | Verdict::Idle => {}
        }
        if settled {
            self.doubt(&observation.id, loaded, DoubtWrite::Clear);
            self.end_set_aside(&observation.id, loaded);
        }
        // What was awaited may have been settled meanwhile, by another process.
        if verdict == Verdict::Stand && loaded.known.doubt.is_none() {
            self.doubt(&observation.id, loaded, DoubtWrite::Raise);
        }
        if verdict.raises_doubt() && !is_told_unasked(observation) {
            self.write(&observation.id, loaded).doubt_is_awaited = true;
        }
        if is_unsettled(observation, verdict, before) {
            self.doubt(&observation.id, loaded, DoubtWrite::Raise);
        }
    }

    /// The database refuses this user's row: it stays as it was (a skeleton `stands` where there was
    /// none), what was refused is noted, and a read is owed.
    pub fn set_aside(&mut self, id: &UserId, stands: bool) {
        let Some(write) = self.writes.get_mut(id) else {
            return;
        };
        let refused = match std::mem::replace(&mut write.row, RowWrite::Nothing) {
            RowWrite::Whole(view) => Some(view.content),
            _ => None,
        };
        let change = write.change.take().filter(|_| stands);
        write.state = State {
            refused,
            ..write.before.clone()
        };
        write.bumps = false;
        if let Some(change) = change {
            write.state.standing = Standing::Skeleton;
            write.change = Some(change.of_skeleton());
        }
        write.doubt = DoubtWrite::Raise;
        write.doubt_is_awaited = false;
        write.ends_set_aside = false;
        write.is_aside = true;
        for judged in self.judged.iter_mut().flatten() {
            *judged = Judged {
                verdict: Verdict::Idle,
                effect: Effect::SetAside,
                had_row: judged.had_row,
            };
        }
    }

    /// The write of a user, begun with what is there.
    fn write(&mut self, id: &UserId, loaded: &Loaded) -> &mut Write {
        self.writes.entry(id.clone()).or_insert_with(|| Write {
            row: RowWrite::Nothing,
            change: None,
            before: state_of(loaded),
            state: state_of(loaded),
            is_new: !loaded.has_state,
            bumps: false,
            doubt: DoubtWrite::Keep(loaded.known.doubt),
            doubt_is_awaited: false,
            ends_set_aside: false,
            is_aside: false,
        })
    }

    fn doubt(&mut self, id: &UserId, loaded: &mut Loaded, doubt: DoubtWrite) {
        loaded.known.doubt = match doubt {
            DoubtWrite::Keep(doubt) => doubt,
            DoubtWrite::Clear => None,
            DoubtWrite::Raise => Some(UNBORN),
        };
        self.write(id, loaded).doubt = doubt;
    }

    /// What was refused is no longer what the provider shows. Of a deleted user it may be the removal of the
    /// row, of which the provider knows nothing.
    fn end_set_aside(&mut self, id: &UserId, loaded: &mut Loaded) {
        let is_removal = loaded.known.standing == Standing::Deleted && loaded.refused.is_none();
        if loaded.aside == Aside::No || is_removal {
            return;
        }
        loaded.aside = Aside::No;
        loaded.refused = None;
        let write = self.write(id, loaded);
        write.ends_set_aside = true;
        write.state.refused = None;
    }

    fn equal(&mut self, observation: &Observation, loaded: &mut Loaded, at: Circumstances) {
        if at.shared {
            self.write(&observation.id, loaded).bumps = true;
            loaded.known.position = UNBORN;
        }
        let Seen::Whole(view) = &observation.seen else {
            return;
        };
        let version = version_of_equals(loaded.known.version, view.version);
        if version != loaded.known.version {
            self.write(&observation.id, loaded).state.version = version;
            loaded.known.version = version;
        }
        if loaded.volatile == Some(view.volatile) || !volatile_is_due(loaded.volatile_at, at.now) {
            return;
        }
        loaded.volatile = Some(view.volatile);
        loaded.volatile_at = Some(at.now);
        let write = self.write(&observation.id, loaded);
        if write.change.is_none() {
            write.row = RowWrite::Quiet(view.raw.clone());
            write.state.volatile = Some(view.volatile);
            write.state.volatile_at = Some(at.now);
        }
    }

    fn change(&mut self, observation: &Observation, loaded: &mut Loaded, at: Circumstances) {
        let before = loaded.known.standing;
        let row = row_write(&observation.seen, before);
        let after = columns_after(&row, loaded.row.as_ref(), at.now);
        let change = draft(loaded, &row, &after, &observation.source);
        let ends_set_aside = loaded.aside != Aside::No;
        loaded.refused = None;
        loaded.aside = Aside::No;
        let write = self.write(&observation.id, loaded);
        write.change = change;
        write.ends_set_aside |= ends_set_aside;
        write.bumps = true;
        write.state.refused = None;
        match &row {
            RowWrite::Whole(view) => {
                write.state.standing = Standing::Present(view.content);
                write.state.version = view.version;
                write.state.volatile = Some(view.volatile);
                write.state.volatile_at = Some(at.now);
            }
            RowWrite::Skeleton => write.state.standing = Standing::Skeleton,
            RowWrite::Deletion => write.state.standing = Standing::Deleted,
            // A deletion of a user who has no row leaves a tombstone alone.
            RowWrite::Nothing | RowWrite::Quiet(_) => write.state.standing = Standing::Purged,
        }
        write.row = row;
        loaded.known.standing = write.state.standing;
        loaded.known.version = write.state.version;
        loaded.known.position = UNBORN;
        loaded.volatile = write.state.volatile;
        loaded.volatile_at = write.state.volatile_at;
        loaded.row = Some(after);
        loaded.raw = None;
    }
}

/// Stands for the position that the transaction will give: later than anything sent so far.
const UNBORN: Position = Position(i64::MAX);

/// Whether a read is owed although it counts as applied. An event that makes a user may be a late one
/// of somebody who is gone since and of whom nothing is remembered.
fn is_unsettled(observation: &Observation, verdict: Verdict, before: Standing) -> bool {
    let makes_user = verdict == Verdict::Apply && before == Standing::None;
    let by_event = is_told_unasked(observation) && observation.sent == Sent::NEVER;
    (observation.unsettled && verdict.counts_as_applied()) || (makes_user && by_event)
}

/// By the provider itself: no answer waits for what follows.
fn is_told_unasked(observation: &Observation) -> bool {
    matches!(observation.source.origin, Origin::Webhook | Origin::Poll)
}

fn is_refused(loaded: &Loaded, seen: &Seen) -> bool {
    let same = match seen {
        Seen::Whole(view) => loaded.refused == Some(view.content),
        seen => seen.is_deletion() && loaded.refused.is_none(),
    };
    loaded.aside == Aside::Waits && same
}

pub fn volatile_is_due(written: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    // One that is later than now was written by a clock that is not to be believed.
    written.is_none_or(|written| now - written >= VOLATILE_EVERY || written > now)
}

fn row_write(seen: &Seen, before: Standing) -> RowWrite {
    match seen {
        Seen::Whole(view) => RowWrite::Whole(view.clone()),
        Seen::Awaited => RowWrite::Skeleton,
        _ if before.has_row() => RowWrite::Deletion,
        _ => RowWrite::Nothing,
    }
}

fn columns_after(row: &RowWrite, before: Option<&Columns>, now: DateTime<Utc>) -> Columns {
    match row {
        RowWrite::Whole(view) => view.profile.clone().into(),
        RowWrite::Deletion => Columns {
            deleted_at: Some(now),
            ..before.cloned().unwrap_or_default()
        },
        _ => Columns::default(),
    }
}

/// The change row, unless a user who never had a row is deleted.
fn draft(loaded: &Loaded, row: &RowWrite, after: &Columns, source: &Arc<Source>) -> Option<Change> {
    let kind = match (row, loaded.known.standing) {
        (RowWrite::Nothing | RowWrite::Quiet(_), _) => return None,
        (RowWrite::Deletion, _) => Kind::Deleted,
        (RowWrite::Whole(_) | RowWrite::Skeleton, Standing::None) => Kind::Created,
        (RowWrite::Whole(_) | RowWrite::Skeleton, Standing::Deleted | Standing::Purged) => Kind::Restored,
        (RowWrite::Whole(_) | RowWrite::Skeleton, _) => Kind::Updated,
    };
    let (before, raw_differs) = (loaded.row.as_ref(), raw_differs(row, loaded.raw.as_ref()));
    Some(Change::new(kind, before, after, raw_differs, source.clone()))
}

/// Where what stands there was not loaded, it is known to be other content.
fn raw_differs(row: &RowWrite, before: Option<&Value>) -> bool {
    match row {
        RowWrite::Whole(view) => before.is_none_or(|before| json::exact(&view.raw).as_ref() != Some(before)),
        row => *row != RowWrite::Deletion,
    }
}

fn effect(verdict: Verdict, standing: Standing, seen: &Seen) -> Effect {
    match verdict {
        Verdict::Apply | Verdict::Stand if !standing.has_row() => Effect::Inserted,
        Verdict::Apply if seen.is_deletion() => Effect::Deleted,
        Verdict::Apply | Verdict::Stand => Effect::Updated,
        Verdict::Equal | Verdict::Idle => Effect::Unchanged,
        Verdict::Absent => Effect::Absent,
        Verdict::Older | Verdict::Ambiguous | Verdict::Doubt => Effect::Older,
    }
}
