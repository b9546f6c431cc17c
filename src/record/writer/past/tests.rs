//! What is held against what, as cases.

use super::compare::{APART, apart};
use super::touched::TOUCHED;
use super::*;
use crate::user::IdType;

const OURS: Uuid = Uuid::from_u128(1);

fn found(position: i64) -> History {
    History {
        id: OURS,
        epoch: 3,
        position,
        timeline: Some("7-00000001".into()),
        made_at: 5,
        certain: None,
        skipped: 0,
        is_ours: true,
        newest: None,
        nonce: None,
    }
}

fn believed(known: i64) -> Believed {
    Believed {
        at: Some((OURS, 3)),
        made_at: Some(5),
        known: Position(known),
        last: None,
        stamped_in: 3,
    }
}

fn lost(found: i64, ours: i64) -> Compared {
    Compared::Lost {
        found: Position(found),
        ours: Position(ours),
    }
}

const HERE: Option<&str> = Some("7-00000001");
const THERE: Option<&str> = Some("7-00000002");

#[test]
fn what_has_fewer_epochs_than_were_stamped_in_is_gone_beyond() {
    let nothing = Believed {
        at: None,
        made_at: None,
        ..believed(0)
    };
    let fewer = History {
        epoch: 2,
        ..found(10)
    };
    assert_eq!(compare(&fewer, HERE, &nothing), lost(10, 0));
    assert_eq!(following(&fewer, &nothing, Position(10), HERE, 0).behind_epoch, 3);
    assert_eq!(compare(&found(10), HERE, &nothing), Compared::Same);
}

#[test]
fn the_same_history_goes_on() {
    assert_eq!(compare(&found(10), HERE, &believed(10)), Compared::Same);
    assert_eq!(compare(&found(10), None, &believed(10)), Compared::Same);
    assert_eq!(compare(&found(10), HERE, &Believed::default()), Compared::Same);
}

#[test]
fn another_timeline_may_lack_what_nobody_here_knows_of() {
    assert_eq!(compare(&found(10), THERE, &believed(10)), lost(10, 10));
    assert_eq!(compare(&found(10), THERE, &Believed::default()), lost(10, 10));
}

#[test]
fn what_is_lacking_is_lost_from_there_on_and_all_of_it_where_others_went_on() {
    let lacking = |position| History {
        is_ours: false,
        ..found(position)
    };
    assert_eq!(compare(&lacking(8), HERE, &believed(10)), lost(8, 8));
    assert_eq!(compare(&lacking(12), HERE, &believed(10)), lost(0, 0));
}

#[test]
fn an_epoch_that_another_began_tells_what_is_certain() {
    let begun = |epoch, certain| History {
        id: Uuid::from_u128(2),
        epoch,
        certain,
        is_ours: false,
        ..found(APART)
    };
    assert_eq!(
        compare(&begun(4, Some(9)), HERE, &believed(10)),
        Compared::Followed(Position(9))
    );
    assert_eq!(
        compare(&begun(4, None), HERE, &believed(10)),
        Compared::Followed(Position(0))
    );
    assert_eq!(compare(&begun(3, Some(9)), HERE, &believed(10)), lost(APART, 9));
    assert_eq!(compare(&begun(4, Some(9)), THERE, &believed(10)), lost(APART, 9));
}

#[test]
fn another_database_says_nothing_of_this_ones_history() {
    let other = History {
        made_at: 6,
        is_ours: false,
        ..found(0)
    };
    assert_eq!(compare(&other, THERE, &believed(10)), Compared::Foreign);
}

#[test]
fn whom_it_wrote_since_is_known_until_there_are_too_many() {
    let past = Past::default();
    past.is_in(&found(10), false);
    let user = |n: usize| UserId::parse(&format!("u{n}"), IdType::Text).unwrap();
    (0..TOUCHED).for_each(|n| past.touched([user(n)].iter(), Position(11 + n as i64)));
    past.lose(Position(9 + TOUCHED as i64));
    assert_eq!(past.lost(9), [user(TOUCHED - 1)]);
    assert!(!past.is_unknown());
    past.touched([user(0), user(1)].iter(), Position(500));
    past.lose(Position(10));
    assert!(past.is_unknown());
    past.doubted(&past.lost(TOUCHED));
    assert_eq!(past.lost(9), []);
}

#[test]
fn a_process_that_was_killed_leaves_more_than_it_noted() {
    let note = |is_last| {
        let past = Past::default();
        past.is_in(&found(10), false);
        let sent = Sent {
            epoch: 3,
            position: Position(10),
            ..Sent::NEVER
        };
        past.note(sent, is_last).unwrap()
    };
    for (is_last, certain, is_unknown) in [(true, 10, false), (true, 9, true), (false, 10, true)] {
        let past = Past::default();
        past.recall(note(is_last));
        // It has stamped nothing yet.
        let stamped_in = 0;
        assert_eq!(
            past.believed(Sent::NEVER),
            Believed {
                stamped_in,
                ..believed(10)
            }
        );
        past.lose(Position(certain));
        assert_eq!(past.is_unknown(), is_unknown, "{is_last} {certain}");
    }
}

#[test]
fn a_clock_that_is_far_off_leaves_room_for_all_that_comes() {
    let year = |year: i64| (year - 1970) * 31_556_952_000;
    let at = |now| apart(Position(5), Position(9), now).0;
    assert!(at(year(2026)) < at(year(2027)) && at(year(2027)) < at(year(2099)));
    for wrong in [year(1600), year(2101), year(2116), i64::MAX, i64::MIN] {
        assert_eq!(at(wrong), 9 + APART, "{wrong}");
    }
}
