//! One file of the journal: preallocated, so that a sync moves no size; readable by its owner alone.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::JournalFault;
use super::frame::{self, Scan};

const MAGIC: &[u8; 8] = b"usertap1";
/// Before the first record: the magic, whose it is, which process wrote it.
pub const HEADER: usize = 40;
/// Large enough that a new file is rare, small enough to be read whole.
const SIZE: usize = 4 << 20;

/// Whose observations a segment holds, and which process wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// Of the provider and the tenant: another's are never written into this database.
    pub tenant: [u8; 16],
    /// Its ticks mean nothing to another.
    pub process: Uuid,
}

/// The segment that is being written.
#[derive(Debug)]
pub struct Tail {
    pub number: u64,
    file: File,
    at: usize,
    size: usize,
}

/// A segment as it was found.
pub struct Found {
    pub label: Label,
    pub scan: Scan,
    pub bytes: Vec<u8>,
}

/// What a file holds that should be a segment.
pub enum Content {
    Segment(Found),
    /// Its making was cut off, and nothing was ever written into it; or somebody emptied it.
    Nothing,
    /// Something, and nobody can tell whose: its beginning is damaged or of another version, or it
    /// cannot be read at all.
    Unreadable,
}

impl Tail {
    /// A new file with room for a record of `least` bytes; durable before the first record.
    pub fn create(folder: &Path, number: u64, label: Label, least: usize) -> Result<Tail, JournalFault> {
        let path = path(folder, number);
        let made = Tail::make(&path, number, label, least.max(SIZE - HEADER) + HEADER);
        made.map_err(|error| {
            // Half a file would be found at the next start.
            let _ = std::fs::remove_file(&path);
            JournalFault::unwritten(&path, &error)
        })
    }

    fn make(path: &Path, number: u64, label: Label, size: usize) -> io::Result<Tail> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        reserve(&file, size)?;
        file.write_all_at(&header(label), 0)?;
        file.sync_all()?;
        sync_folder(path)?;
        Ok(Tail {
            number,
            file,
            at: HEADER,
            size,
        })
    }

    /// Where the next record would stand.
    pub fn at(&self) -> usize {
        self.at
    }

    pub fn has_room_for(&self, bytes: usize) -> bool {
        self.at + bytes <= self.size
    }

    /// Durable when it returns. After an error the segment takes nothing more.
    pub fn write(&mut self, folder: &Path, bytes: &[u8]) -> Result<(), JournalFault> {
        let written = self.write_all(bytes);
        written.map_err(|error| JournalFault::unwritten(&path(folder, self.number), &error))
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.at as u64)?;
        self.file.sync_data()?;
        if self.file.metadata()?.nlink() == 0 {
            return Err(io::Error::new(io::ErrorKind::NotFound, "its file was removed"));
        }
        self.at += bytes.len();
        Ok(())
    }

    /// Outlives the process, not the machine.
    pub fn put(&mut self, folder: &Path, bytes: &[u8]) -> Result<(), JournalFault> {
        let put = self.file.write_all_at(bytes, self.at as u64);
        put.map_err(|error| JournalFault::unwritten(&path(folder, self.number), &error))?;
        self.at += bytes.len();
        Ok(())
    }

    /// Takes back what a failed write may have left.
    pub fn abandon(self) {
        let _ = self.file.set_len(self.at as u64);
    }
}

/// A disk that is full says so here, and not at a record.
fn reserve(file: &File, size: usize) -> io::Result<()> {
    match allocated(file, size)? {
        true => Ok(()),
        false => file.write_all_at(&vec![0; size], 0),
    }
}

/// Not every file system can.
#[cfg(target_os = "linux")]
fn allocated(file: &File, size: usize) -> io::Result<bool> {
    use nix::errno::Errno;
    let length = i64::try_from(size).map_err(io::Error::other)?;
    match nix::fcntl::posix_fallocate(file, 0, length) {
        Ok(()) => Ok(true),
        Err(Errno::EOPNOTSUPP | Errno::EINVAL) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// macOS has no such call.
#[cfg(not(target_os = "linux"))]
fn allocated(_: &File, _: usize) -> io::Result<bool> {
    Ok(false)
}

/// Reads a whole segment.
///
/// # Errors
/// Where it is this process that cannot read it, or may not: the file may be well.
pub fn find(folder: &Path, number: u64) -> Result<Content, JournalFault> {
    let path = path(folder, number);
    let bytes = match bytes(&path) {
        Ok(bytes) => bytes,
        Err(error) if may_pass(&error) => return Err(JournalFault::unread(&path, &error)),
        Err(_) => return Ok(Content::Unreadable),
    };
    let behind = bytes.get(HEADER..).unwrap_or_default();
    Ok(match label(&bytes) {
        Some(label) => {
            let scan = frame::scan(&bytes, HEADER);
            Content::Segment(Found { label, scan, bytes })
        }
        // Its head is durable before the first record.
        None if behind.iter().all(|byte| *byte == 0) => Content::Nothing,
        None => Content::Unreadable,
    })
}

/// What is no file may never end, or never begin.
fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    match std::fs::metadata(path)?.is_file() {
        true => std::fs::read(path),
        false => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Too many open files, too little memory, a file that is somebody else's.
fn may_pass(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let code = error.raw_os_error().map(Errno::from_raw);
    matches!(code, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM))
        || matches!(
            error.kind(),
            io::ErrorKind::OutOfMemory | io::ErrorKind::PermissionDenied
        )
}

/// Puts a file aside that cannot be read, and says so: it is nobody's to remove.
pub fn set_apart(folder: &Path, number: u64) {
    let from = path(folder, number);
    // Numbers begin anew once a folder is drained.
    let mut names = (0..).map(|n| from.with_extension(format!("{n}.unreadable")));
    let to = names.find(|to| !to.exists()).unwrap_or_default();
    let left = match std::fs::rename(&from, &to) {
        Ok(()) => to,
        Err(_) => from,
    };
    tracing::error!(
        file = %left.display(),
        "it cannot be read, or its beginning is damaged or of another version of usertap, and it is left there: run \
         `usertap reconcile`"
    );
}

/// Takes off a torn end, so that what stands there is never read again.
pub fn cut(folder: &Path, number: u64, end: usize) -> Result<(), JournalFault> {
    let path = path(folder, number);
    let cut = |file: File| {
        file.set_len(end as u64)?;
        file.sync_all()
    };
    let opened = OpenOptions::new().write(true).open(&path);
    opened
        .and_then(cut)
        .map_err(|error| JournalFault::unwritten(&path, &error))
}

/// One record's payload.
pub fn read(file: &File, at: usize, payload: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; frame::HEAD + payload];
    file.read_exact_at(&mut bytes, at as u64)?;
    match frame::read(&bytes, 0) {
        Some(record) => Ok(bytes.split_off(record.payload.start)),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "a record is damaged")),
    }
}

pub fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:016x}.segment"))
}

/// The segments in a folder, oldest first.
pub fn numbers(folder: &Path) -> Result<Vec<u64>, JournalFault> {
    let listed = listed(folder).map_err(|error| JournalFault::unread(folder, &error))?;
    let names = listed.iter().filter_map(|name| name.to_str());
    let mut numbers: Vec<u64> = names.filter_map(|name| number_of(folder, name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn listed(folder: &Path) -> io::Result<Vec<OsString>> {
    std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name()))
        .collect()
}

/// Of a name that is spelled as a segment's, and no further on than anybody can count.
fn number_of(folder: &Path, name: &str) -> Option<u64> {
    const LAST: u64 = u64::MAX >> 1;
    let number = u64::from_str_radix(name.strip_suffix(".segment")?, 16).ok()?;
    (number <= LAST && path(folder, number).ends_with(name)).then_some(number)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn header(label: Label) -> Vec<u8> {
    [MAGIC.as_slice(), &label.tenant, label.process.as_bytes()].concat()
}

fn label(bytes: &[u8]) -> Option<Label> {
    let bytes = bytes.get(..HEADER)?.strip_prefix(MAGIC)?;
    Some(Label {
        tenant: bytes[..16].try_into().ok()?,
        process: Uuid::from_slice(&bytes[16..]).ok()?,
    })
}
