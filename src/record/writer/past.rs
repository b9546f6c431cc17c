//! What the lanes know of the history behind their connections, and of each other.
//!
//! A failover or a restored backup may take away what was committed. It is noticed by the server's
//! timeline, by the counter, and by the last change that is known here; then a new epoch begins, far
//! beyond every position that anybody can have seen, and each process has those read again whom it had
//! written since the last commit that is certain. What must never be: a position used twice; a loss
//! that is noticed by one process and not by another; users whom nobody reads and nobody tells of.

mod compare;
mod found;
pub(in crate::record) mod lost;
pub(super) mod note;
#[cfg(test)]
mod tests;
mod touched;

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::sql::History;
use crate::user::{Position, Sent, UserId};
use touched::Touched;

pub(in crate::record) use compare::{Believed, Compared, compare, following};

/// What all lanes know of the history, and of each other.
#[derive(Debug, Default)]
pub struct Past {
    known: Mutex<Known>,
    /// One lane at a time looks at the history, or begins a new epoch.
    pub(super) looking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    /// This process, as the database knows it.
    process: Uuid,
    /// Those whose observations this process has: itself, and who left the journal.
    ours: Vec<Uuid>,
    /// The history that this process is in, and its epoch.
    at: Option<(Uuid, i64)>,
    made_at: Option<i64>,
    /// The last change this process knows to be committed, with its nonce.
    last: Option<(Position, i32)>,
    /// Where an earlier process of this folder stood.
    stood: Position,
    /// The history that is noted, and whether as the last.
    noted: Option<(Uuid, bool)>,
    touched: Touched,
    /// Users who were written by commits that may be lost, and are not yet in doubt.
    lost: BTreeSet<UserId>,
    /// There are more of them than are known.
    is_unknown: bool,
    lanes: usize,
    gave_up: bool,
}

/// What outlives the process, so that the next one notices what was lost in between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    made_at: i64,
    history: Uuid,
    epoch: i64,
    position: i64,
    last: Option<(i64, i32)>,
    /// Written at its end: nothing was committed since.
    is_last: bool,
}

impl Past {
    pub(in crate::record) fn begin(&self, process: Uuid, ours: Vec<Uuid>, lanes: usize) {
        *self.lock() = Known {
            process,
            ours,
            lanes,
            ..Known::default()
        };
    }

    pub fn process(&self) -> Uuid {
        self.lock().process
    }

    /// What an earlier process of this folder knew.
    pub(in crate::record) fn recall(&self, note: Note) {
        let mut known = self.lock();
        known.at = Some((note.history, note.epoch));
        known.made_at = Some(note.made_at);
        known.last = note.last.map(|(position, nonce)| (Position(position), nonce));
        known.stood = Position(note.position);
        if note.is_last {
            known.touched.dropped = known.stood;
        }
    }

    /// The same, unless it has been told and nothing of it but positions is new.
    pub(super) fn note_due(&self, sent: Sent, is_last: bool) -> Option<Note> {
        let note = self.note(sent, is_last)?;
        let mut known = self.lock();
        let place = (note.history, note.is_last);
        if known.noted == Some(place) {
            return None;
        }
        known.noted = Some(place);
        Some(note)
    }

    /// What the next process must know; nothing before this one has seen a history.
    pub(in crate::record) fn note(&self, sent: Sent, is_last: bool) -> Option<Note> {
        let Believed {
            at,
            made_at,
            known,
            last,
            ..
        } = self.believed(sent);
        let (history, epoch) = at?;
        Some(Note {
            made_at: made_at?,
            history,
            epoch,
            position: known.0,
            last: last.map(|(position, nonce)| (position.0, nonce)),
            is_last,
        })
    }

    /// The note was of another database.
    pub(in crate::record) fn forget_note(&self) {
        let mut known = self.lock();
        (known.at, known.made_at, known.last) = (None, None, None);
        (known.stood, known.touched) = (Position(0), Touched::default());
    }

    pub(super) fn committed(&self, position: Position, nonce: i32) {
        let mut known = self.lock();
        if known.last.is_none_or(|(last, _)| last < position) {
            known.last = Some((position, nonce));
        }
    }

    /// These users have been written by the commit at this position.
    pub(in crate::record) fn touched<'u>(&self, users: impl Iterator<Item = &'u UserId>, at: Position) {
        let mut known = self.lock();
        users.for_each(|user| known.touched.push(at, user.clone()));
    }

    /// What this process knows to be committed, given what it would stamp now.
    pub(in crate::record) fn believed(&self, sent: Sent) -> Believed {
        let known = self.lock();
        let changed = known.last.map_or(Position(0), |(position, _)| position);
        let is_now = known.at.is_some_and(|(_, epoch)| epoch == sent.epoch);
        let stamped = if is_now { sent.position } else { Position(0) };
        Believed {
            at: known.at,
            made_at: known.made_at,
            known: stamped.max(changed).max(known.stood),
            last: known.last,
            stamped_in: sent.epoch,
        }
    }

    /// What this process has committed after `certain` may be lost: whom it wrote is to be read again.
    pub(in crate::record) fn lose(&self, certain: Position) {
        let mut known = self.lock();
        let known = &mut *known;
        known.is_unknown |= known.touched.dropped > certain;
        known.lost.extend(known.touched.take_after(certain));
    }

    /// This process is in this history now. `is_new`: not the one it was in.
    pub(in crate::record) fn is_in(&self, history: &History, is_new: bool) {
        let mut known = self.lock();
        let is_first = known.touched.dropped == Position(i64::MAX);
        if is_first || is_new {
            known.touched.dropped = Position(history.position);
        }
        if is_new {
            known.last = history.newest();
            known.stood = Position(0);
        } else if let Some((position, nonce)) = history.newest()
            && known.last.is_none_or(|(last, _)| last < position)
        {
            known.last = Some((position, nonce));
        }
        known.at = Some((history.id, history.epoch));
        known.made_at = Some(history.made_at);
    }

    /// Some of those who are to be in doubt.
    pub(in crate::record) fn lost(&self, at_most: usize) -> Vec<UserId> {
        self.lock().lost.iter().take(at_most).cloned().collect()
    }

    /// They are.
    pub(in crate::record) fn doubted(&self, users: &[UserId]) {
        let mut known = self.lock();
        users.iter().for_each(|user| _ = known.lost.remove(user));
    }

    /// There are more of them than are known.
    pub(in crate::record) fn is_unknown(&self) -> bool {
        self.lock().is_unknown
    }

    /// The status says so.
    pub(in crate::record) fn unknown_is_told(&self) {
        self.lock().is_unknown = false;
    }

    /// This process records now. True where another one did since it (or those whose journal it has)
    /// did last.
    pub(in crate::record) fn took_place(&self, before: Option<Uuid>) -> bool {
        let is_foreign = before.is_some_and(|before| !self.is_ours(before));
        let mut known = self.lock();
        known.ours = vec![known.process];
        is_foreign
    }

    /// Whether it is this process, or one whose journal this one has.
    pub(in crate::record) fn is_ours(&self, recorder: Uuid) -> bool {
        self.lock().ours.contains(&recorder)
    }

    /// True for the last one.
    pub(super) fn lane_ended(&self, gave_up: bool) -> bool {
        let mut known = self.lock();
        known.lanes = known.lanes.saturating_sub(1);
        known.gave_up |= gave_up;
        known.lanes == 0
    }

    pub(super) fn gave_up(&self) -> bool {
        self.lock().gave_up
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
