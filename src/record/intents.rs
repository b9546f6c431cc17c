//! Writes under way: whom each may change, durable in `DATA_DIR` before it is forwarded.
//!
//! Between the provider's answer and the commit only this process knows what a write has done. After
//! `kill -9` the next start finds the writes that never ended: their users are read again, and where
//! one makes a user whose id nobody learned, the provider's newest users are looked through. A write
//! has ended once what its answer told is committed or in the journal. What must never be: anything
//! of a request in here but ids; a write that is held up by a disk that takes nothing.

pub(super) mod log;
pub(super) mod settle;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, sleep_until, timeout};
use uuid::Uuid;

use super::journal::JournalFault;
use super::{JournalPlace, Shared};
use crate::clock::{self, Instant};
use crate::failpoint;
use crate::user::{IdType, UserId};
use log::{Log, Noted, Open};

pub use settle::{Waiting, carried_out, read_again};

/// A sync takes milliseconds; a write does not wait longer for a disk that takes longer.
const WAIT: Duration = Duration::from_secs(1);
/// Writes under way at once; those beyond are forwarded without a note.
const OPEN_AT_MOST: usize = 1 << 16;
/// Ends are written at leisure: one that is lost costs one read.
const LEISURE: Duration = Duration::from_millis(50);
/// Between attempts at a folder that takes nothing.
const AGAIN: Duration = Duration::from_secs(1);

/// The writes under way in this process.
#[derive(Debug)]
pub struct Intents {
    inner: Mutex<Inner>,
    /// Something has begun, or it is over.
    stir: Notify,
    /// Something has ended.
    eased: Notify,
    place: JournalPlace,
    id_type: IdType,
    /// Those that were forwarded without a note.
    unnoted: AtomicU64,
    /// Left by an earlier process: users to be read again.
    pub(super) cut_off: Waiting,
    /// Writes that made a user whose id nobody learned.
    pub unlearned: Waiting,
}

#[derive(Debug, Default)]
struct Inner {
    log: Option<Log>,
    fault: Option<Arc<str>>,
    again: Option<Instant>,
    next: u64,
    open: Open,
    began: Vec<(u64, oneshot::Sender<bool>)>,
    ended: Vec<u64>,
    /// What ends from now on stays in the file.
    over: bool,
}

/// A write under way. Once the last of its clones is dropped it has ended.
#[derive(Debug, Clone)]
pub struct Intent(Arc<Held>);

#[derive(Debug)]
struct Held {
    noted: Option<(Arc<Intents>, u64)>,
    at: DateTime<Utc>,
    makes_user: bool,
    stays: AtomicBool,
}

impl Intent {
    pub fn at(&self) -> DateTime<Utc> {
        self.0.at
    }

    pub fn makes_user(&self) -> bool {
        self.0.makes_user
    }

    /// What it did is not known yet: the next start sees to it.
    pub fn stays(&self) {
        self.0.stays.store(true, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let (Some((intents, number)), false) = (&self.noted, *self.stays.get_mut()) {
            intents.end(*number);
        }
    }
}

/// What is to be written now.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub began: Open,
    waiting: Vec<oneshot::Sender<bool>>,
    pub ended: Vec<u64>,
}

impl Intents {
    pub fn new(place: JournalPlace, id_type: IdType) -> Arc<Intents> {
        // Of this process alone: what an earlier one left keeps its numbers.
        Intents::numbered_from(u64::from(Uuid::new_v4().as_fields().0) << 32, place, id_type)
    }

    pub(super) fn numbered_from(next: u64, place: JournalPlace, id_type: IdType) -> Arc<Intents> {
        let inner = Inner {
            next,
            ..Inner::default()
        };
        Arc::new(Intents {
            inner: Mutex::new(inner),
            stir: Notify::new(),
            eased: Notify::new(),
            place,
            id_type,
            unnoted: AtomicU64::new(0),
            cut_off: Waiting::default(),
            unlearned: Waiting::default(),
        })
    }

    /// Opens the file and takes in what an earlier process left. A folder that cannot be used is
    /// tried again later.
    ///
    /// # Errors
    /// Where another process or another tenant has it.
    pub fn start(self: &Arc<Self>) -> Result<(), JournalFault> {
        match self.open(&[]) {
            Err(fault) if fault.may_pass() => {
                self.refused(&fault);
                Ok(())
            }
            opened => opened,
        }
    }

    /// Only one at a time: at the start, then the writer of the file. Nobody waits for the disk to
    /// take a number.
    fn open(self: &Arc<Self>, ended: &[u64]) -> Result<(), JournalFault> {
        let mut open = {
            let inner = self.lock();
            if inner.log.is_some() {
                return Ok(());
            }
            inner.open.clone()
        };
        let own: Vec<u64> = open.keys().chain(ended).copied().collect();
        let log = Log::open(&self.place.data_dir, self.place.tenant, self.id_type, &mut open)?;
        open.retain(|number, _| !own.contains(number));
        self.lock().log = Some(log);
        self.take_in(open);
        Ok(())
    }

    pub(super) fn take_in(self: &Arc<Self>, left: Open) {
        self.lock().open.extend(left.clone());
        if !left.is_empty() {
            tracing::info!(
                writes = left.len(),
                "an earlier process was cut off while it wrote"
            );
        }
        for (number, noted) in left {
            let intent = self.held(Some(number), noted.at, noted.users.is_empty());
            let waiting = if intent.makes_user() {
                &self.unlearned
            } else {
                &self.cut_off
            };
            waiting.add(intent, noted.users.into_vec());
        }
    }

    /// Notes that a write is about to change these users, or to make one. It is durable when this
    /// returns, or the figures say why not.
    pub async fn begin(self: &Arc<Self>, users: Vec<UserId>) -> Intent {
        let (intent, durable) = self.announce(users);
        let is_noted = match durable {
            Some(durable) => matches!(timeout(WAIT, durable).await, Ok(Ok(true))),
            None => false,
        };
        if !is_noted {
            self.unnoted.fetch_add(1, Ordering::Relaxed);
        }
        intent
    }

    /// The same without waiting: what is given back tells whether it is durable.
    pub(super) fn announce(
        self: &Arc<Self>,
        users: Vec<UserId>,
    ) -> (Intent, Option<oneshot::Receiver<bool>>) {
        let (at, makes_user) = (clock::wall(), users.is_empty());
        let (number, durable) = self.enqueue(at, users).unzip();
        (self.held(number, at, makes_user), durable)
    }

    fn enqueue(&self, at: DateTime<Utc>, users: Vec<UserId>) -> Option<(u64, oneshot::Receiver<bool>)> {
        let mut inner = self.lock();
        if inner.over || inner.open.len() >= OPEN_AT_MOST || inner.again.is_some_and(|at| at > clock::now()) {
            return None;
        }
        let (told, durable) = oneshot::channel();
        let number = inner.next;
        inner.next += 1;
        let users = users.into();
        inner.open.insert(number, Noted { at, users });
        inner.began.push((number, told));
        drop(inner);
        self.stir.notify_one();
        Some((number, durable))
    }

    fn held(self: &Arc<Self>, number: Option<u64>, at: DateTime<Utc>, makes_user: bool) -> Intent {
        Intent(Arc::new(Held {
            noted: number.map(|number| (self.clone(), number)),
            at,
            makes_user,
            stays: AtomicBool::new(false),
        }))
    }

    fn end(&self, number: u64) {
        let mut inner = self.lock();
        if inner.over || inner.open.remove(&number).is_none() {
            return;
        }
        inner.ended.push(number);
        drop(inner);
        self.eased.notify_one();
    }

    /// Why nothing is noted at the moment.
    pub fn fault(&self) -> Option<Arc<str>> {
        self.lock().fault.clone()
    }

    pub fn figures(&self) -> (usize, u64) {
        (self.lock().open.len(), self.unnoted.load(Ordering::Relaxed))
    }

    /// Nothing more is noted; what is open stays in the file for the next start.
    pub fn over(&self) {
        self.lock().over = true;
        self.stir.notify_one();
    }

    pub(super) fn take(&self) -> Group {
        let mut inner = self.lock();
        let mut group = Group::default();
        for (number, told) in std::mem::take(&mut inner.began) {
            group.waiting.push(told);
            // Where it has ended already, nobody forwards it.
            group
                .began
                .extend(inner.open.get(&number).map(|noted| (number, noted.clone())));
        }
        group.ended = std::mem::take(&mut inner.ended);
        group
    }

    fn write(self: &Arc<Self>, group: &Group) -> Result<(), JournalFault> {
        self.open(&group.ended)?;
        let Some(mut log) = self.lock().log.take() else {
            return Ok(());
        };
        log.append(&group.began, &group.ended, || self.lock().open.clone())?;
        self.lock().log = Some(log);
        Ok(())
    }

    fn refused(&self, fault: &JournalFault) {
        let mut inner = self.lock();
        let told: Arc<str> = fault.to_string().into();
        if inner.fault.as_ref() != Some(&told) {
            tracing::error!(%fault, "writes are forwarded without a note");
        }
        inner.fault = Some(told);
        inner.again = Some(clock::now() + AGAIN);
    }

    fn accepted(&self) {
        let mut inner = self.lock();
        if inner.fault.take().is_some() {
            tracing::info!("writes are noted again");
        }
        inner.again = None;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Writes what begins and ends until it is over.
pub async fn keep(shared: Arc<Shared>) {
    let Some(intents) = shared.intents.clone() else {
        return;
    };
    while !intents.lock().over {
        let again = intents.lock().again;
        tokio::select! {
            () = intents.stir.notified() => {}
            () = at_leisure(&intents.eased) => {}
            () = sleep_until(again.unwrap_or_else(clock::now)), if again.is_some() => {}
        }
        write_group(&intents).await;
    }
    let mut inner = intents.lock();
    if let Some(log) = inner.log.take().filter(|_| inner.open.is_empty()) {
        log.clear();
    }
}

async fn at_leisure(eased: &Notify) {
    eased.notified().await;
    sleep(LEISURE).await;
}

async fn write_group(intents: &Arc<Intents>) {
    let mut group = intents.take();
    let waiting = std::mem::take(&mut group.waiting);
    let here = intents.clone();
    let writing = tokio::task::spawn_blocking(move || {
        let written = here.write(&group);
        (group, written)
    });
    let is_noted = match writing.await {
        Ok((_, Ok(()))) => {
            failpoint::reached("intents.synced");
            intents.accepted();
            true
        }
        Ok((group, Err(fault))) => {
            intents.lock().ended.extend(group.ended);
            intents.refused(&fault);
            false
        }
        Err(error) => {
            intents.refused(&JournalFault::broken(error));
            false
        }
    };
    for told in waiting {
        let _ = told.send(is_noted);
    }
}
