//! A lane's connection: the history behind it, and what follows where it is another one.

use super::figures::Event;
use super::without::Without;
use super::world::{World, Wrong};
use crate::clock;
use crate::record::Shared;
use crate::record::sql::History;
use crate::record::writer::past::{Compared, compare, following, lost};
use crate::user::{Position, UserId};

impl World<'_> {
    /// A connection whose history is known; false where there is none yet.
    pub fn connect(&mut self, machine: usize, lane: usize) -> Result<bool, Wrong> {
        let (without, shared) = (self.without, self.shared(machine));
        let Some(process) = &mut self.machines[machine].process else {
            return Ok(false);
        };
        process.is_away |= self.database.is_away;
        if self.database.is_away {
            return Ok(false);
        }
        let id = process.id;
        let (history, is_new) = self.history(&shared);
        let before = self.database.take_place(id);
        if shared.past.took_place(before) && without != Without::Distrust {
            shared.memory.distrust(clock::now());
        }
        if without == Without::ForgetLost {
            shared.past.is_in(&history, is_new);
            shared.connected(&history, false);
        } else {
            shared.connected(&history, is_new);
        }
        if !self.doubt_lost(&shared)? {
            return Ok(false);
        }
        let note = shared.past.note(shared.head.sent(), false);
        self.machines[machine].disk.history = note;
        let losses = self.losses;
        if let Some(process) = &mut self.machines[machine].process {
            process.lanes[lane].is_connected = true;
            process.losses = losses;
        }
        Ok(true)
    }

    fn history(&mut self, shared: &Shared) -> (History, bool) {
        let without = self.without;
        let believed = shared.past.believed(shared.head.sent());
        let timeline = self.database.timeline();
        let found = self.database.history(&believed);
        match compare(&found, Some(&timeline), &believed) {
            Compared::Same | Compared::Foreign => (found, false),
            Compared::Followed(certain) => {
                self.figures.count(Event::Followed);
                if without != Without::RereadByAll {
                    shared.past.lose(certain);
                }
                (found, true)
            }
            Compared::Lost { found: certain, ours } => {
                self.figures.count(Event::NewEpoch);
                // A clock that never stands still between two of them.
                let now = self.database.histories * 1_000_000;
                let mut next = following(&found, &believed, certain, Some(&timeline), now);
                if without == Without::Apart {
                    next.from = believed.known.max(Position(found.position));
                }
                let begun = self.database.new_epoch(next);
                shared.past.lose(ours);
                (begun, true)
            }
        }
    }

    /// Whoever was written by what may be lost is in doubt; false where a lock is waited for.
    fn doubt_lost(&mut self, shared: &Shared) -> Result<bool, Wrong> {
        if shared.past.is_unknown() {
            self.figures.count(Event::Unknown);
            self.database.tables.is_unknown |= self.without != Without::UnknownIsTold;
            shared.past.unknown_is_told();
        }
        let users = match self.without {
            Without::RereadAfterLoss => Vec::new(),
            _ => shared.past.lost(usize::MAX),
        };
        if users.is_empty() {
            return Ok(true);
        }
        let are_free = users
            .iter()
            .all(|id| self.database.is_free(super::provider::number(id)));
        if !are_free {
            return Ok(false);
        }
        let loaded = |id: &UserId| {
            let loaded = self.database.loaded(super::provider::number(id), false);
            (id.clone(), loaded)
        };
        let plan = lost::plan(&users.iter().map(loaded).collect());
        if let Some(numbered) = self.number(&plan, None)? {
            shared.follow_unasked(&plan, &numbered);
        }
        shared.past.doubted(&users);
        self.figures.count_many(Event::ReadAgain, users.len() as u64);
        Ok(true)
    }

    /// An idle writer learns in a while that it is connected to another server.
    pub fn look_around(&mut self) {
        if self.without == Without::LookAround || !self.database.has_moved() {
            return;
        }
        let live = self
            .machines
            .iter_mut()
            .filter_map(|machine| machine.process.as_mut());
        live.for_each(|process| {
            let lane = &mut process.lanes[0];
            lane.is_connected &= lane.is_busy();
        });
    }
}
