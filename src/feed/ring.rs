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
