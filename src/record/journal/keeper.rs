//! The journal of one process, as several use it at once; and what an earlier process left in it, taken in
//! before anything else is judged.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;

use super::super::{JournalPlace, Shared};
use super::entry::{self, Entry};
use super::{Journal, JournalFault, Left, Place};
use crate::user::IdType;

/// The journal of one process, where it has one; and why it takes nothing, where it does not.
#[derive(Debug)]
pub struct Keeper {
    journal: Mutex<Option<Journal>>,
    fault: watch::Sender<Option<Arc<str>>>,
    place: JournalPlace,
    id_type: IdType,
}

impl Keeper {
    pub fn new(place: JournalPlace, id_type: IdType) -> Keeper {
        Keeper {
            journal: Mutex::new(None),
            fault: watch::Sender::new(None),
            place,
            id_type,
        }
    }

    /// Opens the journal. A folder that cannot be used is tried again later: only one that another
    /// process or another tenant has is no place to start in.
    ///
    /// # Errors
    /// [`JournalFault::Locked`] and [`JournalFault::Foreign`].
    pub fn open(&self) -> Result<Left, JournalFault> {
        match self.try_open() {
            Err(fault) if fault.may_pass() => {
                self.note(Some(&fault));
                Ok(Left::default())
            }
            opened => opened,
        }
    }

    pub(super) fn try_open(&self) -> Result<Left, JournalFault> {
        let mut journal = self.lock();
        if journal.is_some() {
            return Ok(Left::default());
        }
        let (opened, left) = Journal::open(&self.place.data_dir, self.place.tenant)?;
        *journal = Some(opened);
        Ok(left)
    }

    /// What could not be read until now.
    pub(super) fn take_over_late(&self) -> Left {
        let mut journal = self.lock();
        journal
            .as_mut()
            .map_or_else(Left::default, Journal::take_over_late)
    }

    pub fn fault(&self) -> Option<Arc<str>> {
        self.fault.borrow().clone()
    }

    /// Why some of what an earlier process left is not taken in yet.
    pub fn unread(&self) -> Option<String> {
        self.lock().as_ref()?.unread().map(ToString::to_string)
    }

    /// See [`JournalPlace::patience`].
    pub fn patience(&self) -> Duration {
        self.place.patience
    }

    pub fn weight(&self) -> u64 {
        self.lock().as_ref().map_or(0, Journal::weight)
    }

    /// What a record holds; nothing for one that cannot be read.
    pub fn entry(&self, place: Place) -> Option<Entry> {
        let mut journal = self.lock();
        let journal = journal.as_mut()?;
        let payload = journal.read(place).ok()?;
        entry::decode(&payload, self.id_type, journal.is_own(place)).ok()
    }

    /// See [`Journal::is_held`].
    pub(super) fn is_held(&self) -> bool {
        self.lock().as_ref().is_some_and(Journal::is_held)
    }

    /// This process, as the journal names it.
    pub fn process(&self) -> Option<Uuid> {
        self.lock().as_ref().map(Journal::process)
    }

    /// `DATA_DIR`, while it is this process's alone.
    pub fn folder(&self) -> Option<PathBuf> {
        self.lock().as_ref().map(|_| self.place.data_dir.clone())
    }

    pub fn consumed(&self, places: &[Place]) {
        if let (Some(journal), false) = (self.lock().as_mut(), places.is_empty()) {
            journal.consumed(places);
        }
    }

    pub(super) fn append(&self, payloads: &[Vec<u8>]) -> Result<Vec<Place>, JournalFault> {
        match self.lock().as_mut() {
            Some(journal) => journal.append(payloads),
            None => Err(JournalFault::broken("it is not open")),
        }
    }

    pub(super) fn look(&self) -> Result<(), JournalFault> {
        match self.lock().as_mut() {
            Some(journal) => journal.look(),
            None => Err(JournalFault::broken("it is not open")),
        }
    }

    pub(super) fn note(&self, fault: Option<&JournalFault>) {
        let told = fault.map(|fault| Arc::from(fault.to_string()));
        self.fault.send_if_modified(|there| {
            let changes = *there != told;
            match &told {
                Some(fault) if changes => tracing::error!(%fault, "the journal takes nothing"),
                None if changes => tracing::info!("the journal takes what is seen again"),
                _ => {}
            }
            there.clone_from(&told);
            changes
        });
    }

    /// The folder is free for the next process, whoever still looks at this one's figures.
    pub(super) fn close(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Journal>> {
        self.journal
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Takes in what an earlier process left, before anything else is judged.
///
/// # Errors
/// As [`Keeper::open`].
pub fn adopt(shared: &Shared, keeper: &Keeper) -> Result<Vec<Uuid>, JournalFault> {
    let left = keeper.open()?;
    take_in(shared, keeper, &left);
    Ok(left.processes)
}

pub(super) fn take_in(shared: &Shared, keeper: &Keeper, left: &Left) {
    let mut damaged = left.damaged;
    for place in &left.places {
        match keeper.entry(*place) {
            Some(entry) => take_in_one(shared, *place, &entry),
            None => {
                damaged += 1;
                keeper.consumed(&[*place]);
            }
        }
    }
    if !left.places.is_empty() {
        tracing::info!(
            submissions = left.places.len(),
            "the journal holds what an earlier process saw"
        );
    }
    if damaged > 0 {
        shared.health.damaged.fetch_add(damaged as u64, Ordering::Relaxed);
        tracing::error!(
            damaged,
            "records of the journal are damaged: run `usertap reconcile`"
        );
    }
}

/// Waits before everything that comes; nothing of its users is judged past it.
pub fn take_in_one(shared: &Shared, place: Place, entry: &Entry) {
    let users = entry.observations.iter().map(|seen| &seen.id);
    shared.memory.expect(users);
    shared.backlog.found(place, entry.at, entry.observations.len());
}
