//! A machine's disk: the journal's segments and the notes of writes under way. It outlives processes.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::record::intents::Group;
use crate::record::intents::log::Open;
use crate::record::journal::{Place, Segments};
use crate::record::writer::past::Note;

/// Records in a segment: few, so that segments hold what is committed beside what is not.
const RECORDS: usize = 2;

#[derive(Default)]
pub struct Disk {
    segments: BTreeMap<u64, Segment>,
    last: u64,
    /// Writes that began and did not end.
    pub notes: Open,
    /// Where the last process stood in the database's history.
    pub history: Option<Note>,
}

struct Segment {
    process: Uuid,
    records: Vec<Vec<u8>>,
}

impl Disk {
    /// Durable when it returns.
    pub fn append(&mut self, process: Uuid, payloads: &[Vec<u8>], held: &mut Segments) -> Vec<Place> {
        let place = |payload: &Vec<u8>| self.append_one(process, payload, held);
        payloads.iter().map(place).collect()
    }

    fn append_one(&mut self, process: Uuid, payload: &[u8], held: &mut Segments) -> Place {
        let tail = self.segments.get(&self.last);
        if tail.is_none_or(|tail| tail.process != process || tail.records.len() >= RECORDS) {
            self.last += 1;
            let records = Vec::new();
            self.segments.insert(self.last, Segment { process, records });
            held.begin(self.last, process);
        }
        let at = self.push(payload);
        let place = place(self.last, at, payload);
        held.hold(place);
        place
    }

    fn push(&mut self, payload: &[u8]) -> usize {
        let Some(tail) = self.segments.get_mut(&self.last) else {
            return 0;
        };
        tail.records.push(payload.to_vec());
        tail.records.len() - 1
    }

    /// What begins and ends of writes.
    pub fn note(&mut self, group: Group) {
        self.notes.extend(group.began);
        for number in group.ended {
            self.notes.remove(&number);
        }
    }

    pub fn read(&self, place: Place) -> &[u8] {
        let segment = self.segments.get(&place.segment);
        segment.map_or(&[], |segment| &segment.records[place.at as usize])
    }

    pub fn remove(&mut self, segment: u64) {
        self.segments.remove(&segment);
    }

    /// What a process finds that starts on this disk: places in order, and who wrote them.
    pub fn found(&self, held: &mut Segments) -> (Vec<Place>, Vec<Uuid>) {
        let (mut places, mut processes) = (Vec::new(), Vec::new());
        for (number, segment) in &self.segments {
            held.begin(*number, segment.process);
            processes.push(segment.process);
            for (at, payload) in segment.records.iter().enumerate() {
                places.push(place(*number, at, payload));
            }
        }
        places.iter().for_each(|place| held.hold(*place));
        (places, processes)
    }

    pub fn holds(&self) -> String {
        format!("{} segments, {} notes", self.segments.len(), self.notes.len())
    }

    pub fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.notes.is_empty()
    }
}

fn place(segment: u64, at: usize, payload: &[u8]) -> Place {
    Place {
        segment,
        at: u32::try_from(at).unwrap_or(u32::MAX),
        payload: u32::try_from(payload.len()).unwrap_or(u32::MAX),
    }
}
