//! How a record stands in a segment, and what a segment that was cut off anywhere still holds.
//!
//! A record is `mark, length, checksum, number of its group, where its group began`, then the
//! payload, padded to eight bytes; behind the last one there is nothing but zeros. What was
//! written together is a group, and nobody was told of it before all of it was durable. A crash
//! leaves out the end of the last group, or sectors of it. So where reading stops and nothing but the
//! same group follows, with bytes missing, the end was most likely torn off by a crash and is no loss;
//! a file that was cut off or emptied from there on looks the same. Where a later group follows, or
//! all the bytes are there and are not what was written, something is damaged, and that is told.

use std::ops::Range;

/// Bytes before the payload.
pub const HEAD: usize = 24;
const MARK: [u8; 4] = *b"utr1";
/// Records begin at multiples of this, so that they are found again behind a damaged one.
const STEP: usize = 8;
/// What a disk writes at least.
const SECTOR: usize = 512;

/// A record that was read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it begins.
    pub at: usize,
    pub payload: Range<usize>,
    group: u64,
    group_began: u32,
}

/// What a segment holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Scan {
    pub records: Vec<Record>,
    /// Where the last record ends.
    pub end: usize,
    /// Something that is no record follows there: most likely a group that was never finished.
    pub is_torn: bool,
    /// Places at which records that had been durable cannot be read.
    pub damaged: Vec<usize>,
}

/// The whole length of a record.
pub fn length(payload: usize) -> usize {
    (HEAD + payload).next_multiple_of(STEP)
}

/// Appends a record to `out`.
pub fn write(out: &mut Vec<u8>, group: u64, group_began: u32, payload: &[u8]) {
    let begins = out.len();
    let size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&size.to_le_bytes());
    out.extend_from_slice(&checksum(size, group, group_began, payload).to_le_bytes());
    out.extend_from_slice(&group_began.to_le_bytes());
    out.extend_from_slice(&group.to_le_bytes());
    out.extend_from_slice(payload);
    out.resize(begins + length(payload.len()), 0);
}

/// The record that begins at `at`, if a whole one does.
pub fn read(bytes: &[u8], at: usize) -> Option<Record> {
    let head = bytes.get(at..at + HEAD)?;
    if head[..4] != MARK {
        return None;
    }
    let size = number(head, 4);
    let payload = at + HEAD..(at + HEAD).checked_add(usize::try_from(size).ok()?)?;
    let (group_began, group) = (
        number(head, 12),
        u64::from_le_bytes(head[16..24].try_into().ok()?),
    );
    let sound = checksum(size, group, group_began, bytes.get(payload.clone())?) == number(head, 8);
    sound.then_some(Record {
        at,
        payload,
        group,
        group_began,
    })
}

/// Reads everything from `at` on.
pub fn scan(bytes: &[u8], mut at: usize) -> Scan {
    let mut found = Scan {
        end: at,
        ..Scan::default()
    };
    while at < bytes.len() {
        let record = match read(bytes, at) {
            Some(record) => record,
            None => {
                let next = next_record(bytes, at);
                if !is_damage(bytes, at, next.as_ref()) {
                    break;
                }
                found.damaged.push(at);
                let Some(next) = next else { return found };
                next
            }
        };
        at = record.at + length(record.payload.len());
        found.end = at;
        found.records.push(record);
    }
    found.is_torn = bytes.get(found.end..).is_some_and(|rest| !is_empty(rest));
    found
}

fn next_record(bytes: &[u8], after: usize) -> Option<Record> {
    (after + STEP..bytes.len())
        .step_by(STEP)
        .find_map(|at| read(bytes, at))
}

/// Whether a record of a later group stands behind this one: then its own group was durable.
fn is_followed(bytes: &[u8], record: &Record) -> bool {
    let mut at = record.at;
    while let Some(next) = next_record(bytes, at) {
        if next.group > record.group {
            return true;
        }
        at = next.at;
    }
    false
}

/// Whether what stands at `at`, and is no record, was one. `next`: the first one behind it.
fn is_damage(bytes: &[u8], at: usize, next: Option<&Record>) -> bool {
    // Of a group that is torn, any part may have reached the disk.
    let is_of_another = next.is_some_and(|next| {
        at < usize::try_from(next.group_began).unwrap_or(usize::MAX) || is_followed(bytes, next)
    });
    is_of_another || is_all_there(bytes, at, next)
}

/// Whether no byte is missing that was to be written there: a crash leaves out the end, or whole sectors.
fn is_all_there(bytes: &[u8], at: usize, next: Option<&Record>) -> bool {
    let Some(head) = bytes.get(at..at + HEAD) else {
        return false;
    };
    if head[..4] != MARK {
        // The mark and the length are written at once.
        return head[..STEP] != [0; STEP] && !is_empty(&head[STEP..]);
    }
    let claimed = usize::try_from(number(head, 4)).unwrap_or(usize::MAX);
    // Before the next there may be padding.
    let (end, last) = match next {
        Some(next) => (next.at, STEP),
        None => ((at + HEAD).saturating_add(claimed), 1),
    };
    let Some(whole) = bytes.get(at..end) else {
        return false;
    };
    let inside = at.next_multiple_of(SECTOR) - at;
    let sectors = whole.get(inside..).unwrap_or_default().chunks_exact(SECTOR);
    !is_empty(&whole[whole.len() - last..]) && !sectors.into_iter().any(is_empty)
}

fn is_empty(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

fn checksum(size: u32, group: u64, group_began: u32, payload: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&size.to_le_bytes());
    sum.update(&group_began.to_le_bytes());
    sum.update(&group.to_le_bytes());
    sum.update(payload);
    sum.finalize()
}

fn number(head: &[u8], at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&head[at..at + 4]);
    u32::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three groups of two records each, and zeros behind them.
    fn segment() -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut begins) = (vec![0; 16], Vec::new());
        for group in 1..=3 {
            let began = u32::try_from(bytes.len()).unwrap();
            for n in 0..2 {
                begins.push(bytes.len());
                write(
                    &mut bytes,
                    group,
                    began,
                    format!("group {group}, record {n}, padded").as_bytes(),
                );
            }
        }
        begins.push(bytes.len());
        bytes.resize(bytes.len() + 256, 0);
        (bytes, begins)
    }

    #[test]
    fn what_was_written_is_read() {
        let (bytes, begins) = segment();
        let found = scan(&bytes, 16);
        assert_eq!((found.records.len(), found.end), (6, begins[6]));
        assert!(!found.is_torn && found.damaged.is_empty());
        assert_eq!(
            &bytes[found.records[3].payload.clone()],
            b"group 2, record 1, padded"
        );
    }

    #[test]
    fn a_file_cut_off_anywhere_gives_what_was_whole_and_no_damage() {
        let (bytes, begins) = segment();
        for cut in 16..bytes.len() {
            let found = scan(&bytes[..cut], 16);
            let whole = begins[1..]
                .iter()
                .filter(|end| **end <= cut.next_multiple_of(8))
                .count();
            assert!(
                found.records.len() <= whole && found.records.len() + 1 >= whole,
                "cut at {cut}"
            );
            assert!(found.damaged.is_empty(), "cut at {cut}");
        }
    }

    #[test]
    fn pages_of_the_last_group_that_never_reached_the_disk_are_no_damage() {
        let (mut bytes, begins) = segment();
        bytes[begins[4]..begins[5]].fill(0);
        let found = scan(&bytes, 16);
        assert_eq!(
            (found.records.len(), found.end, found.is_torn),
            (4, begins[4], true)
        );
        assert!(found.damaged.is_empty());
    }

    #[test]
    fn every_bit_that_flips_in_a_durable_group_is_told() {
        let (bytes, begins) = segment();
        for at in begins[0]..begins[6] {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            let found = scan(&bad, 16);
            let is_padding = found.records.len() == 6;
            // With another length the last record is not told from one whose end is missing.
            let is_last_length = (begins[5] + 4..begins[5] + 8).contains(&at);
            assert!(
                is_padding
                    || is_last_length && found.is_torn
                    || found.damaged.len() == 1 && found.records.len() == 5,
                "byte {at}: {found:?}"
            );
        }
    }

    /// A crash leaves out whole sectors, wherever they stand.
    #[test]
    fn a_large_last_record_with_a_sector_missing_is_torn_and_with_a_flipped_bit_damaged() {
        let mut bytes = vec![0; 16];
        write(&mut bytes, 1, 16, &[b'x'; 5_000]);
        bytes.resize(8_192, 0);
        let mut torn = bytes.clone();
        torn[1_024..1_536].fill(0);
        let found = scan(&torn, 16);
        assert!(found.is_torn && found.damaged.is_empty(), "{found:?}");
        bytes[1_024] ^= 1;
        let found = scan(&bytes, 16);
        assert_eq!((found.is_torn, &found.damaged[..]), (false, &[16][..]));
    }
}
