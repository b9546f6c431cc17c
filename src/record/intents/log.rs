//! The file of the writes under way: groups of beginnings and ends, and what is still open in it.
//!
//! A beginning is durable when [`Log::append`] returns, an end outlives the process alone: where a
//! machine's crash loses it, a user is read once more. A full file is followed by another that
//! begins with all that is open, and removed once that one is durable.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::record::journal::segment::{self, Content, Label, Tail};
use crate::record::journal::{JournalFault, frame, locked};
use crate::user::{IdType, UserId};

/// In `DATA_DIR`.
const FOLDER: &str = "journal/writes";
const BEGAN: u8 = b'b';
const ENDED: u8 = b'e';

/// What is kept of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    pub at: DateTime<Utc>,
    /// None of them: a user is made, whose id only the answer will tell.
    pub users: Box<[UserId]>,
}

pub type Open = BTreeMap<u64, Noted>;

#[derive(Debug)]
pub struct Log {
    folder: PathBuf,
    label: Label,
    _lock: File,
    tail: Tail,
    group: u64,
}

impl Log {
    /// Opens its folder in `data_dir` for this process alone and adds to `open` what an earlier one left.
    ///
    /// # Errors
    /// [`JournalFault`]; where another tenant's writes are open, [`JournalFault::Foreign`].
    pub fn open(
        data_dir: &Path,
        tenant: [u8; 16],
        id_type: IdType,
        open: &mut Open,
    ) -> Result<Log, JournalFault> {
        let lock = locked(data_dir, FOLDER)?;
        let folder = data_dir.join(FOLDER);
        let (left, numbers) = left(&folder, tenant, id_type)?;
        open.extend(left);
        let label = Label {
            tenant,
            process: Uuid::new_v4(),
        };
        let next = numbers.last().map_or(1, |last| last + 1);
        let tail = begun(&folder, next, label, open)?;
        numbers.iter().for_each(|number| remove(&folder, *number));
        Ok(Log {
            folder,
            label,
            _lock: lock,
            tail,
            group: 1,
        })
    }

    /// Durable when it returns, where something begins. `open` is asked for all that is open by then.
    ///
    /// # Errors
    /// [`JournalFault`]: then the log is to be opened anew.
    pub fn append(
        &mut self,
        began: &Open,
        ended: &[u64],
        open: impl FnOnce() -> Open,
    ) -> Result<(), JournalFault> {
        if began.is_empty() && ended.is_empty() {
            return Ok(());
        }
        self.group += 1;
        let mut bytes = Vec::new();
        let at = u32::try_from(self.tail.at()).unwrap_or(u32::MAX);
        frame::write(&mut bytes, self.group, at, &payload(began, ended));
        if !self.tail.has_room_for(bytes.len()) {
            let full = self.tail.number;
            self.tail = begun(&self.folder, full + 1, self.label, &open())?;
            remove(&self.folder, full);
        } else if began.is_empty() {
            self.tail.put(&self.folder, &bytes)?;
        } else {
            self.tail.write(&self.folder, &bytes)?;
        }
        Ok(())
    }

    /// Nothing is open any more: the folder holds nothing.
    pub fn clear(self) {
        remove(&self.folder, self.tail.number);
    }
}

/// A new file with all that is open.
fn begun(folder: &Path, number: u64, label: Label, open: &Open) -> Result<Tail, JournalFault> {
    let mut bytes = Vec::new();
    if !open.is_empty() {
        let began = u32::try_from(segment::HEADER).unwrap_or(u32::MAX);
        frame::write(&mut bytes, 1, began, &payload(open, &[]));
    }
    // With as much room again: the next is not full at once.
    let mut tail = Tail::create(folder, number, label, 2 * bytes.len())?;
    if !bytes.is_empty() {
        tail.write(folder, &bytes)?;
    }
    Ok(tail)
}

fn remove(folder: &Path, number: u64) {
    // What stays is read again: its users once more.
    let _ = std::fs::remove_file(segment::path(folder, number));
}

fn left(folder: &Path, tenant: [u8; 16], id_type: IdType) -> Result<(Open, Vec<u64>), JournalFault> {
    let (mut open, numbers) = (Open::new(), segment::numbers(folder)?);
    for number in &numbers {
        let found = match segment::find(folder, *number)? {
            Content::Segment(found) => found,
            Content::Nothing => continue,
            Content::Unreadable => {
                segment::set_apart(folder, *number);
                continue;
            }
        };
        let mut theirs = Open::new();
        for record in &found.scan.records {
            apply(
                &found.bytes[record.payload.clone()],
                id_type,
                &mut theirs,
                &mut open,
            );
        }
        if !found.scan.damaged.is_empty() {
            tracing::error!("notes of writes under way are damaged: run `usertap reconcile`");
        }
        if found.label.tenant != tenant && !theirs.is_empty() {
            return Err(JournalFault::Foreign);
        }
        open.extend(theirs);
    }
    Ok((open, numbers))
}

fn payload(began: &Open, ended: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, noted) in began {
        out.push(BEGAN);
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&noted.at.timestamp_micros().to_le_bytes());
        out.extend_from_slice(&(u32::try_from(noted.users.len()).unwrap_or(u32::MAX)).to_le_bytes());
        for user in &noted.users {
            let id = user.as_str().as_bytes();
            out.extend_from_slice(&(u16::try_from(id.len()).unwrap_or(u16::MAX)).to_le_bytes());
            out.extend_from_slice(id);
        }
    }
    for number in ended {
        out.push(ENDED);
        out.extend_from_slice(&number.to_le_bytes());
    }
    out
}

/// What follows something unreadable is left: it was written by another version.
fn apply(mut payload: &[u8], id_type: IdType, open: &mut Open, before: &mut Open) {
    while let Some(()) = apply_one(&mut payload, id_type, open, before) {}
}

fn apply_one(payload: &mut &[u8], id_type: IdType, open: &mut Open, before: &mut Open) -> Option<()> {
    let [kind] = take::<1>(payload)?;
    let number = u64::from_le_bytes(take::<8>(payload)?);
    match kind {
        BEGAN => {
            let noted = noted(payload, id_type)?;
            open.insert(number, noted);
        }
        ENDED => {
            open.remove(&number);
            before.remove(&number);
        }
        _ => return None,
    }
    Some(())
}

fn noted(payload: &mut &[u8], id_type: IdType) -> Option<Noted> {
    let at = DateTime::from_timestamp_micros(i64::from_le_bytes(take::<8>(payload)?))?;
    let many = u32::from_le_bytes(take::<4>(payload)?);
    let mut users = Vec::new();
    for _ in 0..many {
        let length = usize::from(u16::from_le_bytes(take::<2>(payload)?));
        let (id, rest) = payload.split_at_checked(length)?;
        *payload = rest;
        users.extend(UserId::parse(std::str::from_utf8(id).ok()?, id_type));
    }
    Some(Noted {
        at,
        users: users.into(),
    })
}

fn take<const N: usize>(payload: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, rest) = payload.split_first_chunk::<N>()?;
    *payload = rest;
    Some(*bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const TENANT: [u8; 16] = [7; 16];

    fn noted(users: &[&str]) -> Noted {
        let users = users.iter().map(|id| UserId::parse(id, IdType::Text).unwrap());
        Noted {
            at: DateTime::from_timestamp_micros(clock::wall().timestamp_micros()).unwrap(),
            users: users.collect(),
        }
    }

    fn folder() -> PathBuf {
        std::env::temp_dir().join(format!("usertap-intents-{}", Uuid::new_v4()))
    }

    fn opened(folder: &Path) -> (Log, Open) {
        let mut open = Open::new();
        let log = Log::open(folder, TENANT, IdType::Text, &mut open).unwrap();
        (log, open)
    }

    #[test]
    fn what_began_and_did_not_end_is_found() {
        let folder = folder();
        let (mut log, _) = opened(&folder);
        let mut open = Open::from([(1, noted(&["ada", "bea"])), (2, noted(&[]))]);
        log.append(&open.clone(), &[], || open.clone()).unwrap();
        open.remove(&1);
        log.append(&Open::new(), &[1], || open.clone()).unwrap();
        drop(log);
        let (log, found) = opened(&folder);
        assert_eq!(found, open);
        drop(log);
        // What an earlier process left is still there for the next one.
        let (log, found) = opened(&folder);
        assert_eq!(found, open);
        log.clear();
        assert_eq!(segment::numbers(&folder.join(FOLDER)).unwrap(), [0u64; 0]);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_full_file_is_followed_by_one_with_what_is_open() {
        let folder = folder();
        let (mut log, mut open) = opened(&folder);
        open.insert(1, noted(&["ada"]));
        log.append(&open, &[], || open.clone()).unwrap();
        for _ in 0..60_000 {
            log.append(&Open::new(), &[2; 10], || open.clone()).unwrap();
        }
        let files = segment::numbers(&folder.join(FOLDER)).unwrap();
        assert!(files.len() == 1 && files[0] > 1, "{files:?}");
        drop(log);
        assert_eq!(opened(&folder).1, open);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn it_is_its_owners_alone_and_the_data_folder_is_not() {
        use std::os::unix::fs::PermissionsExt;
        let (data, other) = (folder(), folder());
        drop(opened(&data));
        std::fs::create_dir(&other).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&data), mode(&other));
        for private in ["journal", FOLDER] {
            assert_eq!(mode(&data.join(private)), 0o700);
        }
        std::fs::remove_dir_all(data).unwrap();
        std::fs::remove_dir(other).unwrap();
    }

    #[test]
    fn another_tenants_open_writes_are_refused_and_its_closed_ones_are_not() {
        let folder = folder();
        let (mut log, _) = opened(&folder);
        let open = Open::from([(1, noted(&["ada"]))]);
        log.append(&open, &[], || open.clone()).unwrap();
        drop(log);
        let mut theirs = Open::new();
        let refused = Log::open(&folder, [8; 16], IdType::Text, &mut theirs);
        assert!(matches!(refused, Err(JournalFault::Foreign)), "{refused:?}");
        let (mut log, _) = opened(&folder);
        log.append(&Open::new(), &[1], Open::new).unwrap();
        drop(log);
        assert!(Log::open(&folder, [8; 16], IdType::Text, &mut theirs).is_ok());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
