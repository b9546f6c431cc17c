//! The last changes, kept in memory for those who follow.
//!
//! Everything after the anchor is here, in order, without a gap. A reader who has fallen behind
//! the anchor reads the database. What a purge took away is forgotten here too.

use std::collections::VecDeque;
use std::sync::Arc;

use super::event::{Event, PURGED, Shape};
use crate::user::Pos;

/// Events kept.
const EVENTS: usize = 8_192;
/// Bytes kept.
const BYTES: usize = 16 << 20;

#[derive(Debug, Default)]
pub struct Ring {
    anchor: Option<Pos>,
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// Moves when another history begins: positions handed out before it prove nothing.
    pub history: u64,
}

/// What the ring has for a reader.
#[derive(Debug)]
pub enum Found {
    Events(Vec<Arc<Event>>),
    /// It does not reach back so far, or does not hold what is asked for.
    Behind,
}

impl Ring {
    /// Begins anew: everything after `head` will be here.
    pub fn begin(&mut self, head: Pos) {
        let history = self.history + 1;
        *self = Ring {
            anchor: Some(head),
            history,
            ..Ring::default()
        };
    }

    /// The last change known.
    pub fn head(&self) -> Option<Pos> {
        self.events.back().map(|event| event.pos).or(self.anchor)
    }

    pub fn push(&mut self, event: Arc<Event>) {
        if event.kind.as_ref() == PURGED {
            self.blank(&event.id);
        }
        self.bytes += event.weight();
        self.events.push_back(event);
        while self.events.len() > EVENTS || (self.bytes > BYTES && self.events.len() > 1) {
            if let Some(gone) = self.events.pop_front() {
                self.bytes -= gone.weight();
                self.anchor = Some(gone.pos);
            }
        }
    }

    fn blank(&mut self, id: &str) {
        for event in self.events.iter_mut().filter(|event| event.id.as_ref() == id) {
            let blanked = Arc::new(event.blanked());
            self.bytes = self.bytes + blanked.weight() - event.weight();
            *event = blanked;
        }
    }

    /// This very position is known to belong to this history.
    pub fn holds(&self, pos: Pos) -> bool {
        let at = self
            .events
            .partition_point(|event| event.pos.position < pos.position);
        self.anchor == Some(pos) || self.events.get(at).is_some_and(|event| event.pos == pos)
    }

    /// At most `limit` events after a position that is known to belong to this history.
    pub fn after(&self, pos: Pos, limit: usize, shape: Shape) -> Found {
        if self.anchor.is_none_or(|anchor| pos.position < anchor.position) {
            return Found::Behind;
        }
        let from = self
            .events
            .partition_point(|event| event.pos.position <= pos.position);
        let events: Vec<_> = self.events.iter().skip(from).take(limit).cloned().collect();
        match events.iter().all(|event| event.shows(shape)) {
            true => Found::Events(events),
            false => Found::Behind,
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::db::columns::Columns;
    use crate::feed::event::{After, Told};
    use crate::user::Position;

    fn at(position: i64) -> Pos {
        Pos {
            position: Position(position),
            nonce: 1,
        }
    }

    /// With so many bytes of what was before.
    fn change(position: i64, bytes: usize) -> Arc<Event> {
        let told = Told {
            pos: at(position),
            kind: "user.updated".into(),
            changed: Vec::new(),
            after: After {
                id: "u1".into(),
                columns: Columns::default(),
            },
            is_blank: false,
            before: Some(format!("\"{}\"", "x".repeat(bytes))),
            raw: None,
            origin: "sql".into(),
            route: None,
            request_id: None,
            committed_at: DateTime::UNIX_EPOCH,
        };
        Arc::new(Event::change("p", told, false))
    }

    /// The positions after this one; nothing where the ring does not reach back so far.
    fn after(ring: &Ring, position: i64) -> Option<Vec<i64>> {
        match ring.after(at(position), usize::MAX, Shape::default()) {
            Found::Events(events) => Some(events.iter().map(|event| event.pos.position.0).collect()),
            Found::Behind => None,
        }
    }

    #[test]
    fn whoever_is_behind_what_is_kept_is_given_nothing_with_a_gap() {
        let mut ring = Ring::default();
        assert_eq!(after(&ring, 0), None);
        ring.begin(at(1));
        let last = EVENTS as i64 + 4;
        (2..=last).for_each(|position| ring.push(change(position, 0)));
        assert_eq!(after(&ring, 3), None);
        assert_eq!(after(&ring, 4), Some((5..=last).collect()));
        assert!(ring.holds(at(4)) && !ring.holds(at(3)));
        assert_eq!((after(&ring, last), ring.head()), (Some(vec![]), Some(at(last))));
    }

    #[test]
    fn large_changes_go_sooner_and_the_last_one_is_always_there() {
        let mut ring = Ring::default();
        ring.begin(at(0));
        (1..=4).for_each(|position| ring.push(change(position, BYTES / 3)));
        assert_eq!((after(&ring, 1), after(&ring, 2)), (None, Some(vec![3, 4])));
        ring.push(change(5, BYTES * 2));
        assert_eq!((after(&ring, 3), after(&ring, 4)), (None, Some(vec![5])));
        ring.push(change(6, 0));
        assert_eq!(after(&ring, 5), Some(vec![6]));
    }
}
