//! Which records of the journal's segments still count. Pure.
//!
//! A segment goes once all that it holds is consumed and nothing older is left: what came first is
//! found first again. How much of a segment is consumed is not written down, so a start may find
//! records whose observations are committed.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{LEAST, frame};

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub segment: u64,
    pub at: u32,
    pub payload: u32,
}

/// What is known of the segments without reading them.
#[derive(Debug, Default)]
pub struct Segments {
    of: BTreeMap<u64, Held>,
    weight: u64,
}

#[derive(Debug)]
struct Held {
    process: Uuid,
    records: u64,
    consumed: u64,
    weight: u64,
}

impl Segments {
    /// A segment that holds nothing yet.
    pub fn begin(&mut self, number: u64, process: Uuid) {
        let held = Held {
            process,
            records: 0,
            consumed: 0,
            weight: 0,
        };
        self.of.insert(number, held);
    }

    pub fn hold(&mut self, place: Place) {
        let weight = weight_of(place.payload as usize);
        if let Some(held) = self.of.get_mut(&place.segment) {
            held.records += 1;
            held.weight += weight;
            self.weight += weight;
        }
    }

    /// These are committed. The segments that are to be removed for it, the oldest first.
    pub fn consumed(&mut self, places: &[Place]) -> Vec<u64> {
        for place in places {
            if let Some(held) = self.of.get_mut(&place.segment) {
                held.consumed += 1;
            }
        }
        let mut over = Vec::new();
        while let Some(first) = self.of.first_entry() {
            if first.get().consumed < first.get().records {
                break;
            }
            let (number, held) = first.remove_entry();
            self.weight -= held.weight;
            over.push(number);
        }
        over
    }

    pub fn is_of(&self, process: Uuid, place: Place) -> bool {
        let held = self.of.get(&place.segment);
        held.is_some_and(|held| held.process == process)
    }

    pub fn numbers(&self) -> impl Iterator<Item = u64> {
        self.of.keys().copied()
    }

    /// Bytes that wait, as they count towards the bound.
    pub fn weight(&self) -> u64 {
        self.weight
    }
}

pub fn weight_of(payload: usize) -> u64 {
    (frame::length(payload) as u64).max(LEAST)
}
