//! What the statements are made for, and when they are planned anew.
//!
//! What must never be: a plan for a small table over one that has become large.

use super::Sql;
use crate::user::Position;

/// How large the tables are, as a power of four of positions given out.
///
/// Postgres plans a prepared statement once and for all, by the size that the tables have then: what
/// was planned over empty tables reads them whole for every batch, however large they have become
/// (12 times slower at 10,000 users). So the statements are made, and planned, anew each time they have grown
/// fourfold: at a thousand users the plans are those of any larger table, or near to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Magnitude(u32);

impl Magnitude {
    fn of(position: Position) -> Magnitude {
        Magnitude(position.0.checked_ilog(4).unwrap_or(0))
    }

    /// Another text is another statement.
    pub fn marks(self, statement: &str) -> String {
        format!("/* 4^{} */ {statement}", self.0)
    }
}

/// What the statements are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct MadeFor {
    /// Of the tables.
    pub magnitude: Magnitude,
    /// Positions left out at the beginnings of epochs: no table grew by them.
    skipped: i64,
    /// The server tells its timeline.
    pub tells_timeline: bool,
}

impl Sql {
    /// Told of the last position: has the statements planned anew where the tables have grown by so much.
    pub fn grown_to(&mut self, position: Position) {
        self.skipped(self.made_for.skipped, position);
    }

    /// The same, with so many positions of which there never was a row.
    pub fn skipped(&mut self, skipped: i64, position: Position) {
        let magnitude = Magnitude::of(Position(position.0 - skipped));
        self.make_for(MadeFor {
            magnitude,
            skipped,
            ..self.made_for
        });
    }

    pub(super) fn tells_timeline(&mut self, tells_timeline: bool) {
        self.make_for(MadeFor {
            tells_timeline,
            ..self.made_for
        });
    }

    fn make_for(&mut self, wanted: MadeFor) {
        let MadeFor {
            magnitude,
            tells_timeline,
            ..
        } = self.made_for;
        if (magnitude, tells_timeline) == (wanted.magnitude, wanted.tells_timeline) {
            self.made_for = wanted;
        } else {
            *self = Sql::made_for(&self.names, wanted);
        }
    }
}
