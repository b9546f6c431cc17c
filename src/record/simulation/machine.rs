//! A machine: a disk that stays, and the usertap that runs on it, until it is killed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use uuid::Uuid;

use super::disk::Disk;
use super::lane::Lane;
use super::polled;
use super::waiting::Waiting;
use super::without::Without;
use crate::record::intents::Intents;
use crate::record::intents::settle::{Write, doubt};
use crate::record::journal::{Keeper, Segments, entry, keeper, keeping};
use crate::record::{Intent, JournalPlace, Owed, Recorder, Shared, UnderWay, backlog::Due, carried_out};
use crate::user::{Head, IdType};
use crate::{clock, record};

pub const LANES: usize = 2;
/// `SYNC_TIMEOUT`.
pub const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Default)]
pub struct Machine {
    pub disk: Disk,
    pub process: Option<Process>,
}

/// One usertap: the recorder's own parts, and what runs around them.
pub struct Process {
    pub recorder: Recorder,
    pub owed: mpsc::Receiver<Owed>,
    pub under_way: UnderWay,
    pub lanes: Vec<Lane>,
    pub id: Uuid,
    pub held: Segments,
    /// Submissions whose end somebody waits for.
    pub waiting: Vec<Waiting>,
    /// What is to be done once a write can no longer be carried out.
    pub later: Vec<(Instant, Later)>,
    /// It is known that nothing can be written.
    pub is_away: bool,
    pub is_walking: bool,
    /// Failovers that it has had the chance to notice.
    pub losses: usize,
}

pub enum Later {
    /// A write of this process got no answer.
    Doubt(usize, Option<Intent>),
    /// Writes that an earlier process left.
    CutOff(Vec<Write>),
    /// Whoever was made by these is looked for once more.
    LookFor(Vec<Intent>),
}

impl Machine {
    /// Starts a process: the journal and the notes of the one before come first.
    pub fn start(&mut self, number: u64, is_shared: bool, without: Without) {
        let (shared, owed) = parts(number);
        let (id, mut held) = (Uuid::from_u128(u128::from(number)), Segments::default());
        let (mut places, left_by) = self.disk.found(&mut held);
        if without == Without::JournalOrder {
            places.reverse();
        }
        for place in places {
            let is_own = without == Without::TicksOfAnother;
            if let Ok(entry) = entry::decode(self.disk.read(place), IdType::Text, is_own) {
                keeper::take_in_one(&shared, place, &entry);
                if without == Without::JournalUnchanged {
                    shared
                        .memory
                        .judged(entry.observations.iter().map(|seen| &seen.id));
                }
            }
        }
        if let Some(intents) = &shared.intents {
            intents.take_in(self.disk.notes.clone());
        }
        shared.past.begin(id, left_by, LANES);
        let note = self
            .disk
            .history
            .clone()
            .filter(|_| without != Without::NoteOfHistory);
        note.into_iter().for_each(|note| shared.past.recall(note));
        shared.memory.set_shared(is_shared);
        self.process = Some(Process {
            recorder: Recorder { shared },
            owed,
            under_way: UnderWay::default(),
            lanes: (0..LANES).map(|_| Lane::default()).collect(),
            id,
            held,
            waiting: Vec::new(),
            later: Vec::new(),
            is_away: false,
            is_walking: false,
            losses: 0,
        });
    }

    /// The keeper's turn: what must not wait in memory alone goes to the disk. False where a record is
    /// there and the process was killed before it knew.
    pub fn keep(&mut self, takes: bool, is_killed: bool, without: Without) -> bool {
        let Some(process) = &mut self.process else {
            return true;
        };
        let shared = process.recorder.shared.clone();
        if let Some(intents) = &shared.intents {
            self.disk.note(intents.take());
        }
        let Due::Now(group) = shared.backlog.due(clock::now(), PATIENCE, process.is_away) else {
            return true;
        };
        if !takes {
            shared.backlog.not_kept(&group.numbers);
            return true;
        }
        let payloads = match without {
            Without::Journal => vec![Vec::new(); group.numbers.len()],
            Without::EntryProven => {
                let entries = group.entries.iter();
                entries
                    .map(|(at, seen)| entry::encode(*at, seen, |_| true))
                    .collect()
            }
            _ => keeping::payloads(&shared, &group),
        };
        let places = self.disk.append(process.id, &payloads, &mut process.held);
        if is_killed {
            return false;
        }
        if without == Without::JournalUnchanged {
            let users = group.entries.iter().flat_map(|(_, seen)| seen.iter());
            shared.memory.judged(users.map(|seen| &seen.id));
        }
        let over = shared.backlog.kept(&group.numbers, &places);
        self.consumed(&over, without);
        true
    }

    pub fn consumed(&mut self, places: &[record::journal::Place], without: Without) {
        let Some(process) = &mut self.process else { return };
        let mut over = process.held.consumed(places);
        if without == Without::SegmentStays {
            over.extend(places.iter().map(|place| place.segment));
        }
        over.iter().for_each(|segment| self.disk.remove(*segment));
    }

    /// Writes whose end nobody has seen are taken up: their users are in doubt at once.
    pub fn take_up(&mut self, without: Without) -> bool {
        let Some(process) = &mut self.process else {
            return false;
        };
        let (recorder, then) = (process.recorder.clone(), clock::now() + carried_out());
        let Some(intents) = recorder.shared.intents.clone() else {
            return false;
        };
        if let Some(writes) = polled(intents.cut_off.taken()).filter(|_| without != Without::ReadCutOff) {
            if without != Without::DoubtAtOnce {
                doubt(&recorder, &writes, |_| Vec::new());
            }
            process.later.push((then, Later::CutOff(writes)));
        }
        let unlearned = polled(recorder.unlearned()).filter(|_| without != Without::LookForUnnamed);
        let is_any = unlearned.is_some();
        let later = unlearned.map(|intents| (then, Later::LookFor(intents)));
        process.later.extend(later);
        is_any
    }
}

/// A recorder's parts without its tasks; its journal and its notes are on the simulated disk.
fn parts(number: u64) -> (Arc<Shared>, mpsc::Receiver<Owed>) {
    let place = JournalPlace {
        data_dir: PathBuf::new(),
        tenant: [0; 16],
        patience: PATIENCE,
    };
    let keeper = Keeper::new(place.clone(), IdType::Text);
    let intents = Intents::numbered_from(number << 32, place, IdType::Text);
    Shared::new(
        Arc::new(Head::default()),
        Some(Arc::new(keeper)),
        Some(intents),
        Arc::default(),
    )
}

impl Process {
    /// Whether its lanes have anything to do.
    pub fn has_work(&self) -> bool {
        let is_unconnected = self.lanes.iter().any(|lane| !lane.is_connected);
        is_unconnected
            || self.lanes.iter().any(Lane::is_busy)
            || self.recorder.shared.backlog.depth().waiting > 0
    }

    /// Whether anything of it is still on its way.
    pub fn is_busy(&self) -> bool {
        let shared = &self.recorder.shared;
        let is_noted = shared
            .intents
            .as_ref()
            .is_some_and(|intents| intents.figures().0 > 0);
        let waits = shared.backlog.depth().waiting > 0;
        let flies = self.lanes.iter().any(Lane::is_busy);
        waits || flies || is_noted || !self.waiting.is_empty() || !self.later.is_empty()
    }

    /// What is still on its way, for whoever wonders.
    pub fn busy_with(&self) -> String {
        let shared = &self.recorder.shared;
        format!(
            "{:?}, notes {:?}, lanes {:?}, {} waiting, {} later",
            shared.backlog.depth(),
            shared.intents.as_ref().map(|intents| intents.figures()),
            self.lanes.iter().map(Lane::is_busy).collect::<Vec<_>>(),
            self.waiting.len(),
            self.later.len()
        )
    }
}
