//! The files themselves: cut, damaged, full, removed, locked, another tenant's.

use std::os::unix::fs::PermissionsExt;

use super::*;

const OURS: [u8; 16] = [7; 16];
const PLENTY: u64 = 1 << 40;

/// A folder of the test's own, removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let folder = std::env::temp_dir().join(format!("usertap-journal-{}", Uuid::new_v4().simple()));
        Folder(folder)
    }

    fn open(&self) -> (Journal, Left) {
        Journal::open(&self.0, OURS).unwrap()
    }

    fn segments(&self) -> Vec<PathBuf> {
        let folder = self.0.join("journal");
        let numbers = segment::numbers(&folder).unwrap().into_iter();
        numbers.map(|number| segment::path(&folder, number)).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn payloads(of: std::ops::Range<u32>) -> Vec<Vec<u8>> {
    of.map(|n| format!("payload {n}").repeat(1 + n as usize % 7).into_bytes())
        .collect()
}

fn read(journal: &mut Journal, places: &[Place]) -> Vec<Vec<u8>> {
    places.iter().map(|place| journal.read(*place).unwrap()).collect()
}

#[test]
fn what_was_appended_is_found_by_the_next_process_in_order() {
    let folder = Folder::new();
    let (mut journal, _) = folder.open();
    for group in 0..50 {
        journal.append(&payloads(group * 10..group * 10 + 10)).unwrap();
    }
    let first = journal.process();
    drop(journal);
    let (mut journal, left) = folder.open();
    assert_eq!(read(&mut journal, &left.places), payloads(0..500));
    assert_eq!((left.processes, left.damaged), (vec![first], 0));
    assert!(left.places.iter().all(|place| !journal.is_own(*place)));
}

#[test]
fn large_records_and_many_segments_keep_the_order() {
    let folder = Folder::new();
    let (mut journal, _) = folder.open();
    let large: Vec<Vec<u8>> = (0..6u8)
        .map(|n| vec![n; 3 << 20])
        .chain([vec![9; 10 << 20]])
        .collect();
    let places = journal.append(&large).unwrap();
    assert_eq!(folder.segments().len(), 7);
    assert!(read(&mut journal, &places) == large);
    drop(journal);
    let (mut journal, left) = folder.open();
    assert!(read(&mut journal, &left.places) == large);
    journal.consumed(&left.places[..3]);
    assert_eq!(folder.segments().len(), 4);
    journal.consumed(&left.places[3..]);
    assert_eq!((folder.segments().len(), journal.weight()), (0, 0));
}

#[test]
fn what_is_consumed_does_not_come_again_once_its_segment_is() {
    let folder = Folder::new();
    let (mut journal, _) = folder.open();
    let places = journal.append(&payloads(0..10)).unwrap();
    journal.consumed(&places[..9]);
    assert_eq!(folder.segments().len(), 1, "one is still needed");
    journal.consumed(&places[9..]);
    assert_eq!(folder.segments().len(), 0);
    let places = journal.append(&payloads(10..11)).unwrap();
    assert_eq!(read(&mut journal, &places), payloads(10..11));
}

/// A crash can leave any part of the last group; nobody was told of it.
#[test]
fn a_tail_torn_anywhere_is_cut_and_what_stood_before_it_stays() {
    let folder = Folder::new();
    let (mut journal, _) = folder.open();
    journal.append(&payloads(0..5)).unwrap();
    let whole = journal.tail.as_ref().unwrap().at();
    journal.append(&payloads(5..9)).unwrap();
    let end = journal.tail.as_ref().unwrap().at();
    drop(journal);
    let file = folder.segments().remove(0);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.truncate(end + 64);
    for torn in whole..end {
        let mut cut = bytes.clone();
        cut[torn..].fill(0);
        std::fs::write(&file, &cut).unwrap();
        let (mut journal, left) = folder.open();
        let found = read(&mut journal, &left.places);
        assert_eq!(
            (&found[..], left.damaged),
            (&payloads(0..9)[..found.len()], 0),
            "torn at {torn}"
        );
        assert!(found.len() >= 5);
        drop(journal);
        assert_eq!(folder.open().1.places.len(), found.len(), "cut for good");
    }
}

#[test]
fn a_damaged_middle_is_told_and_the_rest_is_read() {
    let folder = Folder::new();
    let (mut journal, _) = folder.open();
    let first = journal.append(&payloads(0..1)).unwrap()[0];
    journal.append(&payloads(1..3)).unwrap();
    drop(journal);
    let file = folder.segments().remove(0);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[first.at as usize + frame::HEAD + 2] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let (mut journal, left) = folder.open();
    assert_eq!(
        (read(&mut journal, &left.places), left.damaged),
        (payloads(1..3), 1)
    );
}

#[test]
fn a_file_whose_making_was_cut_off_is_none() {
    let folder = Folder::new();
    drop(folder.open());
    std::fs::write(segment::path(&folder.0.join("journal"), 3), b"user").unwrap();
    let (mut journal, left) = folder.open();
    assert!(left.places.is_empty() && left.damaged == 0 && folder.segments().is_empty());
    journal.append(&payloads(0..1)).unwrap();
    assert_eq!(folder.segments().len(), 1);
}

#[test]
fn a_segment_whose_head_cannot_be_read_is_told_and_kept() {
    let folder = Folder::new();
    let (mut journal, _) = folder.open();
    journal.append(&payloads(0..2)).unwrap();
    drop(journal);
    let path = folder.segments().remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[7] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let (journal, left) = folder.open();
    assert_eq!((left.places.len(), left.damaged), (0, 1));
    assert_eq!(std::fs::read(path.with_extension("0.unreadable")).unwrap(), bytes);
    drop(journal);
    assert_eq!(folder.open().1.damaged, 0, "told once");
}

/// A name that is none of the journal's own is nobody's business; what stands in a segment's place and
/// cannot be read costs that one alone.
#[test]
fn a_stray_entry_shuts_nothing_off() {
    let folder = Folder::new();
    let (mut journal, _) = folder.open();
    journal.append(&payloads(0..2)).unwrap();
    drop(journal);
    let inside = folder.0.join("journal");
    for stray in ["ab", "ffffffffffffffff", "000000000000000F", "+00000000000000a"] {
        std::fs::write(inside.join(format!("{stray}.segment")), "not the journal's").unwrap();
    }
    std::fs::create_dir(segment::path(&inside, 9)).unwrap();
    let (mut journal, left) = folder.open();
    assert_eq!(
        (read(&mut journal, &left.places), left.damaged),
        (payloads(0..2), 1)
    );
    assert!(segment::path(&inside, 9).with_extension("0.unreadable").is_dir());
    // One that comes while it runs is gone round, and stays.
    std::fs::write(segment::path(&inside, 10), "not the journal's").unwrap();
    let places = journal.append(&payloads(2..3)).unwrap();
    assert_eq!(read(&mut journal, &places), payloads(2..3));
    assert!(segment::path(&inside, 10).exists());
}

/// As usertap's own account would do it, where the tests run as root: root may read everything.
#[cfg(target_os = "linux")]
fn as_nobody(does: impl FnOnce() + Send) {
    use nix::unistd::{Uid, setfsuid};
    let nobody = Uid::from_raw(65_534);
    std::thread::scope(|scope| {
        let done = scope.spawn(|| {
            // Of this thread alone.
            if Uid::effective().is_root() {
                setfsuid(nobody);
            }
            does();
        });
        done.join().unwrap();
    });
}

/// That can be mended, and then it is as good as ever; the others do not wait for it.
#[cfg(target_os = "linux")]
#[test]
fn a_segment_that_may_not_be_read_is_left_as_it_is_and_taken_once_it_may() {
    let folder = Folder::new();
    as_nobody(|| {
        for n in 0..3 {
            let (mut journal, left) = folder.open();
            assert_eq!(left.places.len(), n as usize);
            journal.append(&payloads(n..n + 1)).unwrap();
        }
        let paths = folder.segments();
        let mode = |at: usize, mode| {
            std::fs::set_permissions(&paths[at], std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(0, 0o000);
        mode(2, 0o000);
        let (mut journal, left) = folder.open();
        assert_eq!(
            (read(&mut journal, &left.places), left.damaged),
            (payloads(1..2), 0)
        );
        let fault = journal.unread().unwrap();
        let told = fault.to_string();
        assert!(
            told.contains("journal/0000000000000001.segment: permission denied"),
            "{told}"
        );
        assert!(told.contains("usertap's account"), "{told}");
        let places = journal.append(&payloads(3..4)).unwrap();
        journal.consumed(&left.places);
        assert_eq!(read(&mut journal, &places), payloads(3..4));
        assert_eq!(journal.take_over_late().places, []);
        mode(2, 0o600);
        let left = journal.take_over_late();
        assert_eq!(
            (read(&mut journal, &left.places), left.damaged),
            (payloads(2..3), 0)
        );
        assert!(journal.unread().is_some());
        mode(0, 0o600);
        let left = journal.take_over_late();
        assert_eq!(read(&mut journal, &left.places), payloads(0..1));
        assert!(journal.unread().is_none());
        drop(journal);
        let (mut journal, left) = folder.open();
        let all = [payloads(0..1), payloads(2..4)].concat();
        assert_eq!(read(&mut journal, &left.places), all, "none of them is lost");
    });
}

#[test]
fn a_fault_names_the_file_and_what_could_not_be_done() {
    let folder = Folder::new();
    std::fs::create_dir_all(&folder.0).unwrap();
    std::fs::write(folder.0.join("journal"), "in the way").unwrap();
    let fault = Journal::open(&folder.0, OURS).unwrap_err().to_string();
    assert!(fault.contains("cannot be written (journal: "), "{fault}");
    std::fs::remove_file(folder.0.join("journal")).unwrap();
    let (mut journal, _) = folder.open();
    let place = journal.append(&payloads(0..1)).unwrap()[0];
    std::fs::remove_dir_all(folder.0.join("journal")).unwrap();
    let fault = journal.read(place).unwrap_err().to_string();
    let expected = "cannot be read (journal/0000000000000001.segment: entity not found)";
    assert!(fault.contains(expected), "{fault}");
}

/// Behind the last group there is nothing to tell a flipped bit by but that all its bytes are there.
#[test]
fn a_last_record_whose_bytes_are_all_there_is_damaged_and_told_until_it_is_drained() {
    let folder = Folder::new();
    let (mut journal, _) = folder.open();
    journal.append(&payloads(0..1)).unwrap();
    let last = journal.append(&payloads(1..2)).unwrap()[0];
    drop(journal);
    let file = folder.segments().remove(0);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[last.at as usize + frame::HEAD + 2] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    for _ in 0..2 {
        let (mut journal, left) = folder.open();
        assert_eq!(
            (read(&mut journal, &left.places), left.damaged),
            (payloads(0..1), 1)
        );
    }
}

/// One was begun only once the one before was there to its end.
#[test]
fn an_empty_segment_before_another_is_damaged() {
    let folder = Folder::new();
    let (mut journal, _) = folder.open();
    journal.append(&[vec![1; 3 << 20], vec![2; 3 << 20]]).unwrap();
    drop(journal);
    let files = folder.segments();
    std::fs::write(&files[0], b"").unwrap();
    let (journal, left) = folder.open();
    assert_eq!((left.places.len(), left.damaged), (1, 1));
    drop(journal);
    std::fs::write(&files[1], b"").unwrap();
    assert_eq!(
        folder.open().1.damaged,
        0,
        "the last one's making may have been cut off"
    );
}

#[test]
fn its_bound_holds_and_draining_makes_room() {
    let folder = Folder::new();
    let (mut journal, _) = Journal::with_limit(&folder.0, OURS, 10 * LEAST).unwrap();
    let places = journal.append(&payloads(0..15)).unwrap();
    assert_eq!(places.len(), 10, "as much as fits");
    assert!(matches!(journal.append(&payloads(0..1)), Err(JournalFault::Full)));
    journal.consumed(&places);
    assert_eq!(journal.append(&payloads(0..3)).unwrap().len(), 3);
}

#[test]
fn one_process_at_a_time_and_one_tenant() {
    let folder = Folder::new();
    let (mut journal, _) = folder.open();
    assert!(matches!(
        Journal::open(&folder.0, OURS),
        Err(JournalFault::Locked)
    ));
    journal.append(&payloads(0..1)).unwrap();
    drop(journal);
    assert!(matches!(
        Journal::open(&folder.0, [8; 16]),
        Err(JournalFault::Foreign)
    ));
    assert_eq!(folder.open().1.places.len(), 1, "untouched");
}

/// Whoever looks takes nobody's place, and is in nobody's way.
#[test]
fn a_look_at_what_is_left_keeps_nobody_out() {
    let folder = Folder::new();
    let (mut journal, _) = folder.open();
    journal.append(&payloads(0..1)).unwrap();
    assert!(!is_left(&folder.0), "somebody has it");
    drop(journal);
    assert!(is_left(&folder.0));
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                is_left(&folder.0);
            }
        });
        let opened: Vec<_> = (0..30)
            .filter_map(|_| Journal::open(&folder.0, OURS).err())
            .collect();
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(opened.is_empty(), "{} of 30: {}", opened.len(), opened[0]);
    });
}

#[test]
fn nobody_else_may_read_it() {
    let folder = Folder::new();
    let (mut journal, _) = folder.open();
    journal.append(&payloads(0..1)).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.0.join("journal")), 0o700);
    assert_eq!(mode(&folder.segments()[0]), 0o600);
}

#[test]
fn the_data_folder_is_made_as_any_other() {
    let top = Folder::new();
    let (made, other) = (top.0.join("data"), top.0.join("other"));
    std::fs::create_dir_all(&other).unwrap();
    let (mut journal, _) = Journal::open(&made, OURS).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&made), mode(&other));
    journal.append(&payloads(0..1)).unwrap();
    std::fs::remove_dir_all(&made).unwrap();
    journal.append(&payloads(1..2)).unwrap_err();
    journal.append(&payloads(1..2)).unwrap();
    assert_eq!((mode(&made), mode(&made.join("journal"))), (mode(&other), 0o700));
}

#[test]
fn files_that_somebody_removed_are_noticed_and_it_goes_on() {
    let folder = Folder::new();
    let (mut journal, _) = Journal::with_limit(&folder.0, OURS, PLENTY).unwrap();
    journal.append(&payloads(0..3)).unwrap();
    std::fs::remove_dir_all(&folder.0).unwrap();
    assert!(matches!(
        journal.append(&payloads(3..4)),
        Err(JournalFault::Robbed)
    ));
    let places = journal.append(&payloads(0..4)).unwrap();
    assert_eq!(read(&mut journal, &places), payloads(0..4));
}

#[test]
fn a_lock_that_somebody_removed_is_taken_again_unless_another_has_it() {
    let folder = Folder::new();
    let (mut journal, _) = folder.open();
    assert!(journal.is_held());
    std::fs::remove_file(folder.0.join("journal/lock")).unwrap();
    assert!(!journal.is_held());
    journal.append(&payloads(0..1)).unwrap();
    assert!(journal.is_held());
    std::fs::remove_file(folder.0.join("journal/lock")).unwrap();
    let (other, _) = folder.open();
    assert!(matches!(
        journal.append(&payloads(1..2)),
        Err(JournalFault::Locked)
    ));
    drop(other);
    journal.append(&payloads(1..2)).unwrap();
}
