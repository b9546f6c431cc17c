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
    let (new, walk) = stepped(begun(), &counted(&users, 2, 150));
    assert_eq!(new, [true, false, false, true, true]);
    assert_eq!(walk.met, 103);
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
