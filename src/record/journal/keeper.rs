//! Copies into the journal what must not wait in memory alone.
//!
//! All that waits is appended and synced once, while the next gathers. Where the journal takes
//! nothing, those who wait are told so at once, and it is tried again: traffic never stands still
//! for a disk.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep_until;
use uuid::Uuid;

use super::super::backlog::{Due, Group};
use super::super::{JournalPlace, Shared};
use super::entry::{self, Entry};
use super::{Journal, JournalFault, Left, Place};
use crate::clock::{self, Instant};
use crate::failpoint;
use crate::user::{IdType, Observation, Origin};

/// Between attempts at a journal that takes nothing.
const AGAIN: Duration = Duration::from_secs(1);
/// Nothing is to be done before something stirs.
const IDLE: Duration = Duration::from_secs(3_600);

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

    fn try_open(&self) -> Result<Left, JournalFault> {
        let mut journal = self.lock();
        if journal.is_some() {
            return Ok(Left::default());
        }
        let (opened, left) = Journal::open(&self.place.data_dir, self.place.tenant)?;
        *journal = Some(opened);
        Ok(left)
    }

    /// What could not be read until now.
    fn take_over_late(&self) -> Left {
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

    fn append(&self, payloads: &[Vec<u8>]) -> Result<Vec<Place>, JournalFault> {
        match self.lock().as_mut() {
            Some(journal) => journal.append(payloads),
            None => Err(JournalFault::broken("it is not open")),
        }
    }

    fn look(&self) -> Result<(), JournalFault> {
        match self.lock().as_mut() {
            Some(journal) => journal.look(),
            None => Err(JournalFault::broken("it is not open")),
        }
    }

    fn note(&self, fault: Option<&JournalFault>) {
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

fn take_in(shared: &Shared, keeper: &Keeper, left: &Left) {
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

/// Runs until the writer has ended and nothing is left to keep.
pub async fn keep(shared: Arc<Shared>) {
    keep_to_the_end(&shared).await;
    if let Some(intents) = &shared.intents {
        intents.over();
    }
    if let Some(keeper) = &shared.keeper {
        // The folder is free for the next process, whoever still looks at this one's figures.
        *keeper.lock() = None;
    }
}

async fn keep_to_the_end(shared: &Arc<Shared>) {
    let mut trouble = shared.health.trouble.subscribe();
    let (mut again, mut looked) = (clock::now(), clock::now());
    loop {
        let away = trouble.borrow_and_update().why().is_some();
        let until = match shared.backlog.due(clock::now(), patience(shared), away) {
            Due::Over => return,
            Due::Nothing => look_again(shared, &mut again, &mut looked).await,
            Due::At(at) => Some(
                look_again(shared, &mut again, &mut looked)
                    .await
                    .map_or(at, |look| look.min(at)),
            ),
            Due::Now(group) => match keep_group(shared, group, &mut again, &mut looked).await {
                Kept::All => continue,
                Kept::NotAll if shared.backlog.has_ended() => return lost(shared),
                Kept::NotAll => Some(again),
            },
        };
        tokio::select! {
            () = shared.backlog.stirred() => {}
            _ = trouble.changed() => {}
            () = sleep_until(until.unwrap_or(clock::now() + IDLE)) => {}
        }
    }
}

/// While nothing is to be written nobody else notices that a fault has gone, or what a folder holds that
/// could not be read. When to look next, where there is a fault, or a file that waits.
async fn look_again(shared: &Arc<Shared>, again: &mut Instant, looked: &mut Instant) -> Option<Instant> {
    let keeper = shared.keeper.clone()?;
    let takes = keeper.fault().is_none();
    if takes && keeper.unread().is_none() {
        return None;
    }
    // What waits for a file keeps nothing else from being written.
    let again = if takes { looked } else { again };
    if *again > clock::now() {
        return Some(*again);
    }
    let (here, there) = (shared.clone(), keeper.clone());
    let looking = tokio::task::spawn_blocking(move || {
        open_late(&here, &there)?;
        take_in_late(&here, &there, &there.take_over_late());
        if takes { Ok(()) } else { there.look() }
    });
    match looking
        .await
        .unwrap_or_else(|error| Err(JournalFault::broken(error)))
    {
        Ok(()) => {
            keeper.note(None);
            keeper.unread()?;
        }
        Err(JournalFault::Robbed) => robbed(shared),
        Err(fault) => keeper.note(Some(&fault)),
    }
    *again = clock::now() + AGAIN;
    Some(*again)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    All,
    NotAll,
}

/// Without a journal nobody is told anything but at the end of their own patience.
fn patience(shared: &Shared) -> Duration {
    shared.keeper.as_ref().map_or(IDLE, |keeper| keeper.patience())
}

async fn keep_group(shared: &Arc<Shared>, group: Group, again: &mut Instant, looked: &mut Instant) -> Kept {
    let numbers = group.numbers.clone();
    let Some(keeper) = shared.keeper.clone() else {
        return refuse(shared, &numbers, again);
    };
    if *again > clock::now() && !shared.backlog.has_ended() {
        shared.backlog.not_kept(&numbers);
        return Kept::NotAll;
    }
    // Where one group follows the other nobody else looks; not with each of them, for it costs the files' length.
    let looks = *looked <= clock::now() && keeper.unread().is_some();
    if looks {
        *looked = clock::now() + AGAIN;
    }
    let here = shared.clone();
    let appending = tokio::task::spawn_blocking(move || {
        if looks {
            take_in_late(&here, &keeper, &keeper.take_over_late());
        }
        append(&here, &keeper, &group)
    });
    let appended = appending
        .await
        .unwrap_or_else(|error| Err(JournalFault::broken(error)));
    settle(shared, &numbers, appended, again)
}

fn append(shared: &Shared, keeper: &Keeper, group: &Group) -> Result<Vec<Place>, JournalFault> {
    open_late(shared, keeper)?;
    let payloads = payloads(shared, group);
    failpoint::reached("journal.appending");
    let places = keeper.append(&payloads)?;
    failpoint::reached("journal.synced");
    let kept = group.entries.iter().take(places.len());
    // What a read told is in its own answer, and mostly nothing new.
    kept.flat_map(|(_, seen)| seen.iter())
        .filter(|seen| seen.source.origin != Origin::ProxyRead)
        .for_each(|seen| shared.tell(&seen.id, &seen.source.request_id));
    Ok(places)
}

fn open_late(shared: &Shared, keeper: &Keeper) -> Result<(), JournalFault> {
    take_in_late(shared, keeper, &keeper.try_open()?);
    Ok(())
}

fn take_in_late(shared: &Shared, keeper: &Keeper, left: &Left) {
    if !left.places.is_empty() {
        // Found late: what was judged meanwhile is not to be told apart from it.
        shared.memory.distrust(clock::now());
    }
    take_in(shared, keeper, left);
}

/// What is to be written. A stamp that something was judged after which left its trace in memory alone
/// proves nothing to a later process.
pub fn payloads(shared: &Shared, group: &Group) -> Vec<Vec<u8>> {
    let is_proven = |seen: &Observation| {
        !group.untraced.contains(&seen.id) && shared.memory.mark_of(&seen.id) <= seen.sent.tick
    };
    let entries = group.entries.iter();
    entries
        .map(|(at, observations)| entry::encode(*at, observations, is_proven))
        .collect()
}

fn settle(
    shared: &Shared,
    numbers: &[u64],
    appended: Result<Vec<Place>, JournalFault>,
    again: &mut Instant,
) -> Kept {
    let Some(keeper) = &shared.keeper else {
        return Kept::All;
    };
    let fault = match appended {
        Ok(places) => {
            let over = shared.backlog.kept(numbers, &places);
            keeper.consumed(&over);
            if places.len() == numbers.len() {
                keeper.note(None);
                return Kept::All;
            }
            keeper.note(Some(&JournalFault::Full));
            return refuse(shared, &numbers[places.len()..], again);
        }
        Err(JournalFault::Robbed) => {
            robbed(shared);
            return Kept::All;
        }
        Err(fault) => fault,
    };
    keeper.note(Some(&fault));
    refuse(shared, numbers, again)
}

/// What is in memory too is written anew, in its order.
fn robbed(shared: &Shared) {
    let lost = shared.backlog.lost();
    shared.health.damaged.fetch_add(lost as u64, Ordering::Relaxed);
    tracing::error!(lost, "{}", JournalFault::Robbed);
}

fn refuse(shared: &Shared, numbers: &[u64], again: &mut Instant) -> Kept {
    shared.backlog.not_kept(numbers);
    *again = clock::now() + AGAIN;
    Kept::NotAll
}

fn lost(shared: &Shared) {
    let waiting = shared.backlog.depth();
    tracing::error!(
        submissions = waiting.waiting - waiting.journaled,
        "stopped with the database away: what waited in memory is lost; run a backfill"
    );
}
