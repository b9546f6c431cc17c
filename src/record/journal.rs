//! The journal: what was seen while the database is away, durable in `DATA_DIR` until it is
//! committed.
//!
//! A queue in files. Records are appended in groups, each synced once, and consumed in the order
//! they were written; a segment is removed when all of it is consumed. A crash between a commit
//! and the removal makes the same observations come again, which the order rule judges as equal or
//! as too old to prove anything. What must never be: a record told durable before its sync; a
//! damaged record skipped without a word; two processes in one folder; another tenant's
//! observations in this one's database.

pub mod entry;
mod fault;
pub mod frame;
mod held;
pub(super) mod keeper;
pub(super) mod keeping;
pub mod segment;
mod take_over;

use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use uuid::Uuid;

use crate::clock;
use held::weight_of;
use segment::{Label, Tail};
use take_over::Unread;

pub use fault::JournalFault;
pub use held::{Place, Segments};
pub use keeper::{Keeper, adopt};
pub use keeping::keep;

/// All segments together. An outage of eleven hours at ten answers a second, of 1.2 kB each.
const LIMIT: u64 = 512 << 20;
/// In `DATA_DIR`.
const FOLDER: &str = "journal";
/// In that, and in every folder like it.
const LOCK: &str = "lock";
/// What a record counts at least: it also takes memory while it waits.
const LEAST: u64 = 1 << 10;
/// No look at a folder takes so long.
const LOOKED: Duration = Duration::from_secs(1);
/// Nobody was told of what a crash cut off; what was lost in another way looks the same.
const END_UNREAD: &str = "the journal's end cannot be read: if DATA_DIR was damaged rather than cut off by a crash, run \
                          `usertap reconcile`";

/// The files of one folder, locked for this process.
#[derive(Debug)]
pub struct Journal {
    data_dir: PathBuf,
    folder: PathBuf,
    /// None once the folder was removed, until it is made anew.
    lock: Option<File>,
    label: Label,
    limit: u64,
    segments: Segments,
    tail: Option<Tail>,
    next: u64,
    group: u64,
    /// The segment read last.
    reader: Option<(u64, File)>,
    /// Files that wait until they can be read.
    unread: Vec<Unread>,
}

/// What was found at the start.
#[derive(Debug, Default)]
pub struct Left {
    /// Records not known to be consumed, oldest first.
    pub places: Vec<Place>,
    /// Processes that wrote them.
    pub processes: Vec<Uuid>,
    /// Durable records that cannot be read any more; a file of which nothing can counts as one.
    pub damaged: usize,
}

impl Journal {
    /// Opens the folder `journal` in `data_dir`, made where it is missing, for this process alone.
    ///
    /// # Errors
    /// [`JournalFault`].
    pub fn open(data_dir: &Path, tenant: [u8; 16]) -> Result<(Journal, Left), JournalFault> {
        Journal::with_limit(data_dir, tenant, LIMIT)
    }

    /// With another bound.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn with_limit(
        data_dir: &Path,
        tenant: [u8; 16],
        limit: u64,
    ) -> Result<(Journal, Left), JournalFault> {
        let mut journal = Journal {
            data_dir: data_dir.to_owned(),
            folder: data_dir.join(FOLDER),
            lock: Some(locked(data_dir, FOLDER)?),
            label: Label {
                tenant,
                process: Uuid::new_v4(),
            },
            limit,
            segments: Segments::default(),
            tail: None,
            next: 1,
            group: 0,
            reader: None,
            unread: Vec::new(),
        };
        let left = journal.take_over()?;
        Ok((journal, left))
    }

    /// This process, as the journal names it.
    pub fn process(&self) -> Uuid {
        self.label.process
    }

    /// Bytes that wait, as they count towards the bound.
    pub fn weight(&self) -> u64 {
        self.segments.weight()
    }

    /// Appends a group, or as much of it as fits; durable when it returns.
    ///
    /// # Errors
    /// [`JournalFault`]: then nothing counts.
    pub fn append(&mut self, payloads: &[Vec<u8>]) -> Result<Vec<Place>, JournalFault> {
        if self.is_robbed() {
            self.forget();
            return Err(JournalFault::Robbed);
        }
        if !self.is_held() {
            self.lock = None;
            self.lock = Some(locked(&self.data_dir, FOLDER)?);
        }
        let fits = self.fitting(payloads);
        if fits == 0 && !payloads.is_empty() {
            return Err(JournalFault::Full);
        }
        self.group += 1;
        let places = self
            .write(&payloads[..fits])
            .inspect_err(|_| self.give_up_tail())?;
        for place in &places {
            self.segments.hold(*place);
        }
        Ok(places)
    }

    /// A record's payload.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn read(&mut self, place: Place) -> Result<Vec<u8>, JournalFault> {
        if self
            .reader
            .as_ref()
            .is_none_or(|(number, _)| *number != place.segment)
        {
            self.reader = None;
        }
        let path = segment::path(&self.folder, place.segment);
        let unread = |error| JournalFault::unread(&path, &error);
        let (_, file) = match self.reader.take() {
            Some(reader) => self.reader.insert(reader),
            None => {
                let file = File::open(&path).map_err(unread)?;
                self.reader.insert((place.segment, file))
            }
        };
        segment::read(file, place.at as usize, place.payload as usize).map_err(unread)
    }

    /// Whether this process wrote the record.
    pub fn is_own(&self, place: Place) -> bool {
        self.segments.is_of(self.label.process, place)
    }

    /// Whether it would take something, after it has refused to: it tries, as far as it can with nothing
    /// to write.
    ///
    /// # Errors
    /// [`JournalFault`]: as [`Journal::append`].
    pub fn look(&mut self) -> Result<(), JournalFault> {
        self.append(&[])?;
        if self.segments.weight() + LEAST > self.limit {
            return Err(JournalFault::Full);
        }
        if self.tail.is_none() {
            self.begin_segment(0)?;
        }
        // Where nothing is left, it leaves nothing either.
        self.consumed(&[]);
        Ok(())
    }

    /// These are committed. Segments that hold nothing else are removed, the oldest first.
    pub fn consumed(&mut self, places: &[Place]) {
        for number in self.segments.consumed(places) {
            self.remove(number);
        }
    }

    fn forget(&mut self) {
        self.lock = None;
        self.tail = None;
        self.reader = None;
        self.segments = Segments::default();
    }

    /// Whether the lock that keeps others out is this process's: the file may have been removed, with its folder.
    pub fn is_held(&self) -> bool {
        let there = std::fs::metadata(self.folder.join(LOCK)).map(|there| (there.dev(), there.ino()));
        let held = self.lock.as_ref().map(File::metadata).and_then(Result::ok);
        held.is_some_and(|held| there.is_ok_and(|there| there == (held.dev(), held.ino())))
    }

    /// Files that are to be there and are not.
    fn is_robbed(&self) -> bool {
        let mut numbers = self.segments.numbers();
        numbers.any(|number| !segment::path(&self.folder, number).exists())
    }

    /// How many of these go in before the bound is reached.
    fn fitting(&self, payloads: &[Vec<u8>]) -> usize {
        let mut weight = self.segments.weight();
        let fits = payloads.iter().take_while(|payload| {
            weight += weight_of(payload.len());
            weight <= self.limit
        });
        fits.count()
    }

    fn write(&mut self, payloads: &[Vec<u8>]) -> Result<Vec<Place>, JournalFault> {
        let (mut places, mut bytes) = (Vec::new(), Vec::new());
        for payload in payloads {
            let length = frame::length(payload.len());
            if self
                .tail
                .as_ref()
                .is_none_or(|tail| !tail.has_room_for(bytes.len() + length))
            {
                self.flush(&mut bytes)?;
                self.begin_segment(length)?;
            }
            let Some(tail) = &self.tail else { break };
            let at = tail.at() + bytes.len();
            places.push(Place {
                segment: tail.number,
                at: u32::try_from(at).unwrap_or(u32::MAX),
                payload: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            });
            let began = u32::try_from(tail.at()).unwrap_or(u32::MAX);
            frame::write(&mut bytes, self.group, began, payload);
        }
        self.flush(&mut bytes)?;
        Ok(places)
    }

    fn flush(&mut self, bytes: &mut Vec<u8>) -> Result<(), JournalFault> {
        if let (Some(tail), false) = (&mut self.tail, bytes.is_empty()) {
            tail.write(&self.folder, bytes)?;
            bytes.clear();
        }
        Ok(())
    }

    fn begin_segment(&mut self, least: usize) -> Result<(), JournalFault> {
        // Whatever stands in a segment's place is nobody's to write over, nor to remove.
        let is_free = |number: &u64| {
            let path = segment::path(&self.folder, *number);
            path.symlink_metadata().is_err()
        };
        let number = (self.next..).find(is_free).unwrap_or(self.next);
        self.tail = Some(Tail::create(&self.folder, number, self.label, least)?);
        self.next = number + 1;
        self.segments.begin(number, self.label.process);
        Ok(())
    }

    fn give_up_tail(&mut self) {
        if let Some(tail) = self.tail.take() {
            tail.abandon();
        }
    }

    fn remove(&mut self, number: u64) {
        if self.tail.as_ref().is_some_and(|tail| tail.number == number) {
            self.tail = None;
        }
        if self.reader.as_ref().is_some_and(|(read, _)| *read == number) {
            self.reader = None;
        }
        if let Err(error) = std::fs::remove_file(segment::path(&self.folder, number)) {
            tracing::warn!(error = %error.kind(), "a drained segment of the journal stays: it will come again, harmlessly");
        }
    }
}

/// A folder in `data_dir`, for its owner alone, and the lock on it. `data_dir` itself is for others to enter: an
/// embedded Postgres lives there too, in another account where root runs usertap.
pub fn locked(data_dir: &Path, folder: &str) -> Result<File, JournalFault> {
    let folder = data_dir.join(folder);
    let mut maker = DirBuilder::new();
    let made =
        std::fs::create_dir_all(data_dir).and_then(|()| maker.recursive(true).mode(0o700).create(&folder));
    made.map_err(|error| JournalFault::unwritten(&folder, &error))?;
    let path = folder.join(LOCK);
    let unwritten = |error| JournalFault::unwritten(&path, &error);
    let mut options = File::options();
    let opened = options.create(true).truncate(false).write(true).open(&path);
    let lock = opened.map_err(unwritten)?;
    match lock_alone(&lock) {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(JournalFault::Locked),
        Err(TryLockError::Error(error)) => Err(unwritten(error)),
    }
}

/// Whoever only looks has it for an instant, together with whoever else does: that is waited out.
fn lock_alone(lock: &File) -> Result<(), TryLockError> {
    let deadline = clock::now() + LOOKED;
    loop {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) if clock::now() < deadline && lock.try_lock_shared().is_ok() => {
                lock.unlock().map_err(TryLockError::Error)?;
                std::thread::yield_now();
            }
            taken => return taken,
        }
    }
}

/// Whether the journal in `data_dir`, or its notes of writes under way, was left by a process that is gone.
pub fn is_left(data_dir: &Path) -> bool {
    let folder = data_dir.join(FOLDER);
    let holds = |folder: &Path| segment::numbers(folder).is_ok_and(|numbers| !numbers.is_empty());
    let waits = holds(&folder) || holds(&folder.join("writes"));
    // Whoever has it sees to it.
    waits && !is_locked(&folder)
}

fn is_locked(folder: &Path) -> bool {
    let lock = File::open(folder.join(LOCK));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

#[cfg(test)]
mod tests;
