//! Which history the database tells: failovers, epochs, and that no position is given out twice.

use uuid::Uuid;

use super::database::Database;
use super::without::Without;
use crate::record::sql::number::Numbered;
use crate::record::sql::{Following, History};
use crate::record::writer::past::Believed;
use crate::user::Position;

/// An epoch that followed another.
#[derive(Debug, Clone)]
pub struct Begun {
    pub epoch: i64,
    pub follows: Uuid,
    pub certain: i64,
}

impl Database {
    /// The standby takes over: what it had not got is lost.
    pub fn fail_over(&mut self) {
        self.tables = self.standby.clone();
        self.timeline += 1;
        self.locks.clear();
    }

    /// As the server tells it.
    pub fn timeline(&self) -> String {
        let is_told = !matches!(self.without, Without::NoticeLoss | Without::Timeline);
        let timeline = if is_told {
            self.timeline
        } else {
            self.tables.timeline
        };
        timeline.to_string()
    }

    /// Whether it is another server than the one that wrote last.
    pub fn has_moved(&self) -> bool {
        self.timeline() != self.tables.timeline.to_string()
    }

    pub fn history(&self, believed: &Believed) -> History {
        let tables = &self.tables;
        let holds = |(position, nonce): (Position, i32)| {
            let mut changes = tables.changes.iter().rev();
            changes.any(|change| (change.position, change.nonce) == (position, nonce))
        };
        let is_ours = tables.position >= believed.known.0 && believed.last.is_none_or(holds);
        let newest = tables.changes.last();
        let (id, epoch) = believed.at.unwrap_or_default();
        let is_known = tables.epochs.iter().any(|begun| begun.follows == id);
        let since = tables
            .epochs
            .iter()
            .filter(|begun| begun.epoch > epoch && is_known);
        History {
            id: tables.history,
            epoch: tables.epoch,
            position: tables.position,
            timeline: Some(tables.timeline.to_string()),
            made_at: 0,
            certain: since.map(|begun| begun.certain).min(),
            skipped: 0,
            is_ours: is_ours || self.without == Without::NoticeLoss,
            newest: newest.map(|change| change.position.0),
            nonce: newest.map(|change| change.nonce),
        }
    }

    pub fn new_epoch(&mut self, next: Following<'_>) -> History {
        let (follows, certain) = (self.tables.history, next.certain.0);
        self.histories += 1;
        self.tables.history = Uuid::from_u128(u128::from(self.histories.unsigned_abs()));
        self.tables.epoch = self.tables.epoch.max(next.behind_epoch) + 1;
        self.tables.position = next.from.0;
        self.tables.timeline = self.timeline;
        let epoch = self.tables.epoch;
        self.tables.epochs.push(Begun {
            epoch,
            follows,
            certain,
        });
        self.history(&Believed::default())
    }

    /// False where one of these was committed before.
    pub fn uses(&mut self, numbered: &Numbered) -> bool {
        let given = numbered.states.values().chain(numbered.doubts.values());
        let mut are_new = true;
        for position in given {
            are_new &= self.used.insert(position.0);
        }
        are_new
    }

    pub fn take_place(&mut self, process: Uuid) -> Option<Uuid> {
        self.tables.recorder.replace(process)
    }
}
