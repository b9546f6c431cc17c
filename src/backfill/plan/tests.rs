//! Walks without a provider.

use super::*;

fn at(text: &str) -> Cursor {
    Cursor { at: text.into() }
}

fn id_cursor(user: &str) -> Option<Cursor> {
    Some(at(user))
}

fn people(users: impl IntoIterator<Item = u64>) -> Vec<String> {
    users.into_iter().map(|user| user.to_string()).collect()
}

fn firm(users: &[String], next: Next) -> Shown<'_> {
    Shown {
        users,
        footing: Footing::Firm,
        next,
        total: None,
        sum: None,
    }
}

/// As a page by offset that begins `overlap` users earlier.
fn counted(users: &[String], overlap: u64, next: u64) -> Shown<'_> {
    Shown {
        footing: Footing::Counted {
            overlap,
            is_first: next == users.len() as u64,
        },
        ..firm(users, Next::More(at(&next.to_string())))
    }
}

fn stepped(walk: Walk, shown: &Shown<'_>) -> (Vec<bool>, Walk) {
    assert_eq!(walk.doubt(shown), None);
    match walk.advance(shown, id_cursor) {
        Ok((told, Step::Next(walk))) => (told.new, walk),
        other => panic!("no next page: {other:?}"),
    }
}

/// After a first page of a hundred.
fn begun() -> Walk {
    let users = people(0..100);
    stepped(Walk::default(), &firm(&users, Next::More(at("100")))).1
}

#[test]
fn a_lost_place_is_walked_around_user_by_user() {
    let users = ["a", "b"].map(str::to_owned);
    let (_, walk) = stepped(Walk::default(), &firm(&users, Next::More(at("c"))));
    let mut walk = walk;
    for place in [Some(at("b")), Some(at("a")), None] {
        walk = stepped(walk, &firm(&[], Next::Lost)).1;
        assert_eq!(walk.cursor, place, "from the beginning where there is none");
    }
}

#[test]
fn a_list_that_always_breaks_off_ends_the_walk() {
    let no_place = |_: &str| None;
    let mut walk = Walk::default();
    for page in 0.. {
        let users = people(0..100);
        let first = walk.advance(&firm(&users, Next::More(at("x"))), no_place);
        let Ok((_, Step::Next(second))) = first else {
            panic!("{first:?}")
        };
        match second.advance(&firm(&[], Next::Lost), no_place) {
            Ok((_, Step::Next(anew))) => walk = anew,
            end => {
                assert_eq!((end, page), (Err(Astray), ANEW_AT_MOST));
                return;
            }
        }
    }
}

#[test]
fn a_walk_remembers_a_bounded_number_of_places() {
    let mut walk = Walk::default();
    for page in 0..10 {
        let users = people(page * 500..(page + 1) * 500);
        walk = stepped(walk, &firm(&users, Next::More(at(&page.to_string())))).1;
    }
    assert!(walk.trail.len() <= TRAIL && walk.pages == 10);
    assert_eq!(walk.trail.last().map(String::as_str), Some("4999"));
}

#[test]
fn of_pages_that_overlap_nobody_counts_twice_and_the_last_shows_nobody_new() {
    let users = people(90..190);
    let (new, walk) = stepped(begun(), &counted(&users, 10, 190));
    assert_eq!(new.iter().position(|is_new| *is_new), Some(10));
    assert_eq!(walk.met, 190);
    let users = people(180..190);
    let end = walk.advance(&counted(&users, 10, 190), id_cursor).unwrap();
    assert!(matches!(end, (told, Step::Done(walk)) if !told.new.contains(&true) && walk.met == 190));
}

#[test]
fn where_nobody_who_was_met_stands_on_a_counted_page_it_is_asked_for_further_back() {
    // Eleven of the first hundred are gone meanwhile.
    let users = people(101..201);
    let (new, walk) = stepped(begun(), &counted(&users, 10, 190));
    assert!(!new.contains(&true));
    assert_eq!(
        (walk.cursor.as_ref(), walk.lost, walk.met),
        (Some(&at("100")), 1, 100)
    );
    let users = people(91..191);
    let (new, walk) = stepped(walk, &counted(&users, 20, 180));
    assert_eq!(new.iter().position(|is_new| *is_new), Some(9));
    assert_eq!((walk.lost, walk.met), (0, 191));
}

#[test]
fn a_full_page_of_those_who_were_met_is_no_end() {
    let users = people(0..10);
    let (_, walk) = stepped(Walk::default(), &firm(&users, Next::More(at("10"))));
    let told = walk.told(&counted(&users[5..], 5, 10));
    assert_eq!(told.next, Next::End);
    let users = people(5..15);
    let (_, walk) = stepped(walk, &counted(&users, 5, 15));
    // Nobody stands at the place itself, and those before it fill a page.
    let (_, walk) = stepped(walk, &counted(&[], 5, 10));
    let full = counted(&users, 10, 15);
    assert_ne!(walk.told(&full).next, Next::End);
    assert!(walk.doubt(&full).is_some(), "it would go on so for ever");
}

#[test]
fn whoever_changes_places_with_one_who_was_met_is_not_left_out() {
    let users = ["98", "100", "99", "101"].map(str::to_owned);
    let (new, _) = stepped(begun(), &counted(&users, 10, 190));
    assert_eq!(new, [false, true, false, true]);
}

/// As a list in the order of a time that many have in common shows them.
#[test]
fn whoever_stands_before_those_who_were_met_is_not_left_out_either() {
    let users = people([200, 98, 99, 201, 202]);
    for overlap in [2, TRAIL as u64 / 2] {
        let (new, walk) = stepped(begun(), &counted(&users, overlap, 150));
        assert_eq!(new, [true, false, false, true, true], "{overlap}");
        assert_eq!(walk.met, 103);
    }
}

#[test]
fn of_a_page_from_further_back_than_is_remembered_those_who_must_have_been_met_are_left_out() {
    let second = people(100..200);
    let walk = stepped(begun(), &firm(&second, Next::More(at("200")))).1;
    let far_back = TRAIL as u64;
    // Of the latest nobody is left.
    let users = people([90, 300, 301]);
    let (new, _) = stepped(walk.clone(), &counted(&users, far_back, 190));
    assert_eq!(new, [false, true, true]);
    // More came before them than were asked for again.
    let users = people((300..350).chain([198]));
    let (new, _) = stepped(walk, &counted(&users, far_back, 190));
    let is_new: Vec<usize> = (0..users.len()).filter(|at| new[*at]).collect();
    assert_eq!(is_new, (TRAIL..50).collect::<Vec<_>>());
}

#[test]
fn a_counted_list_ends_with_a_short_page_of_no_more_than_were_asked_for_again() {
    let users = people(97..100);
    let told = begun().told(&counted(&users, 2, 190));
    assert_eq!(
        told.next,
        Next::More(at("190")),
        "somebody stands at the place itself"
    );
    // As short as the page before, and shorter than others.
    let few = people(100..105);
    let walk = stepped(begun(), &firm(&few, Next::More(at("105")))).1;
    assert_eq!(walk.told(&counted(&few, 5, 105)).next, Next::End);
}

#[test]
fn a_list_that_begins_with_nobody_who_was_met_is_counted_from_there() {
    let users = people(0..100);
    let walk = stepped(Walk::default(), &counted(&users, 0, 100)).1;
    assert_eq!((walk.anew, walk.met), (0, 100));
    let (_, same) = stepped(walk.clone(), &counted(&users[80..], 0, 20));
    assert_eq!((same.anew, same.met), (0, 100), "those who were met");
    let others = people(200..300);
    let (_, other) = stepped(walk, &counted(&others, 0, 100));
    assert_eq!((other.anew, other.met), (1, 100));
}

#[test]
fn an_end_is_not_believed_where_clearly_more_users_are_said_to_be() {
    let ends = |total| {
        let end = Shown {
            total: Some(total),
            ..firm(&[], Next::End)
        };
        begun().doubt(&end)
    };
    assert_eq!(ends(110), None, "they may have come and gone");
    assert!(ends(111).is_some_and(|doubt| doubt.contains("after 100 users")));
}

#[test]
fn an_end_is_measured_by_the_fewest_that_the_list_has_said_there_are() {
    let said = |total, users, next| Shown {
        total: Some(total),
        ..firm(users, next)
    };
    let (first, second) = (people(0..100), people(100..200));
    let walk = stepped(Walk::default(), &said(200, &first, Next::More(at("100")))).1;
    assert_eq!(
        walk.doubt(&said(100, &[], Next::End)),
        None,
        "many went meanwhile"
    );
    let walk = stepped(walk, &said(900, &second, Next::More(at("200")))).1;
    assert_eq!(
        walk.doubt(&said(900, &[], Next::End)),
        None,
        "many came meanwhile"
    );
}

#[test]
fn a_list_does_not_go_on_far_beyond_those_it_says_there_are() {
    let walk = Walk {
        met: 1_010,
        total: Some(10),
        ..begun()
    };
    let after = |users: u64| walk.doubt(&firm(&people(2_000..2_000 + users), Next::More(at("on"))));
    assert_eq!(after(10), None);
    assert!(after(11).is_some_and(|doubt| doubt.contains("after 1021 users, and says that there are 10")));
}

#[test]
fn an_empty_beginning_after_pages_of_users_is_no_end() {
    let walk = Walk {
        cursor: None,
        ..begun()
    };
    assert!(walk.doubt(&firm(&[], Next::End)).is_some());
    assert_eq!(walk.doubt(&firm(&[], Next::Lost)), None);
    assert_eq!(Walk::default().doubt(&firm(&[], Next::End)), None);
}

#[test]
fn no_total_is_too_large_to_be_read() {
    let users = people(100..200);
    let more = Shown {
        total: Some(u64::MAX),
        ..firm(&users, Next::More(at("200")))
    };
    assert_eq!(begun().doubt(&more), None);
}

#[test]
fn empty_pages_that_name_another_do_not_go_on_for_ever() {
    let mut walk = begun();
    for page in 0..1_000 {
        walk = stepped(walk, &firm(&[], Next::More(at(&page.to_string())))).1;
    }
    assert!(walk.doubt(&firm(&[], Next::More(at("on")))).is_some());
    let somebody = people(0..1);
    assert_eq!(walk.doubt(&firm(&somebody, Next::End)), None);
    let walk = stepped(walk, &firm(&somebody, Next::More(at("on")))).1;
    assert_eq!(walk.doubt(&firm(&[], Next::More(at("and on")))), None);
}

#[test]
fn pages_that_come_again_are_no_pages() {
    let users = people(0..100);
    let first = Shown {
        sum: Some(1),
        ..firm(&users, Next::More(at("100")))
    };
    let walk = stepped(Walk::default(), &first).1;
    let same = Shown {
        sum: Some(1),
        ..counted(&users, 10, 190)
    };
    assert!(walk.doubt(&same).is_some());
    let mut walk = Walk::default();
    let mut cycle = ["a", "b", "c"].into_iter().cycle();
    let mut next = || firm(&[], Next::More(at(cycle.next().unwrap())));
    let pages = (0..20).find(|_| {
        let page = next();
        let doubt = walk.doubt(&page);
        if doubt.is_none() {
            walk = stepped(std::mem::take(&mut walk), &page).1;
        }
        doubt.is_some()
    });
    assert!(pages.is_some());
}

#[test]
fn where_a_walk_goes_back_pages_and_places_may_come_again() {
    let users = people(0..100);
    let page = Shown {
        sum: Some(1),
        ..firm(&users, Next::More(at("100")))
    };
    let walk = stepped(Walk::default(), &page).1;
    assert!(walk.doubt(&page).is_some());
    let around = stepped(walk.clone(), &firm(&[], Next::Lost)).1;
    assert_eq!(around.doubt(&page), None);
    let from_the_beginning = Walk {
        cursor: None,
        past: None,
        ..walk.clone()
    };
    assert_eq!(from_the_beginning.doubt(&page), None);
    // As many as changed at one instant.
    let instant = Shown {
        footing: Footing::Instant,
        ..page
    };
    assert_eq!(walk.doubt(&instant), None);
}

#[test]
fn a_walk_that_is_resumed_has_all_its_patience_again() {
    let walk = Walk {
        lost: 5,
        anew: 2,
        ..begun()
    };
    let walk = walk.resumed(300);
    assert_eq!((walk.lost, walk.anew, walk.met), (0, 0, 100));
    // Where the checkpoint does not say how many were met, only a list that was not begun anew tells.
    let unsaid = |anew| Walk {
        met: 0,
        anew,
        ..begun()
    };
    assert_eq!((unsaid(0).resumed(300).met, unsaid(1).resumed(300).met), (300, 0));
}
