//! Pages of a walk, written by two lanes in turn: while one page is numbered and committed, the rows
//! of the next are written already.
//!
//! What must never be: a page committed before the one in front of it, for the walk would go on
//! behind a page that was lost; two pages that wait for each other, one for a lock of the users' own
//! (a trigger that counts in a table), the other for its turn. So rows are written in turn too, and
//! a page whose predecessor has to begin anew gives back what it holds.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;
use uuid::Uuid;

use super::Submission;
use super::backlog::weight;
use super::sql::Users;

/// Where a walk stands after this page. The recorder adds the page's effects to its account.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The run in `usertap.backfill`.
    pub run: Uuid,
    /// The process that walks: a walk that another has taken over is not moved.
    pub owner: Uuid,
    /// What the walk needs to go on (opaque here), as JSON.
    pub state: String,
    /// What the run says before this page; nothing at its beginning. A page whose predecessor was not
    /// taken moves nothing: its users would be missed.
    pub follows: Option<String>,
    /// Users on this page, readable or not.
    pub fetched: u64,
    /// Those that could not be read; they count as set aside.
    pub malformed: u64,
    /// The walk ends with this page.
    pub done: bool,
}

impl Checkpoint {
    /// The two as one page, `next` being the one behind.
    #[must_use]
    fn with(self, next: Checkpoint) -> Checkpoint {
        Checkpoint {
            follows: self.follows,
            fetched: self.fetched + next.fetched,
            malformed: self.malformed + next.malformed,
            ..next
        }
    }
}

impl Submission {
    /// Bytes that it takes in memory, about.
    pub fn weight(&self) -> usize {
        self.observations.iter().map(weight).sum()
    }

    /// The two as one, `next` being the page behind.
    #[must_use]
    pub fn with(mut self, next: Submission) -> Submission {
        self.observations.extend(next.observations);
        self.checkpoint = match (self.checkpoint, next.checkpoint) {
            (Some(page), Some(next)) => Some(page.with(next)),
            (page, next) => page.or(next),
        };
        self
    }
}

/// Where the walk stands.
#[derive(Debug, Default)]
pub struct Pages {
    front: watch::Sender<Front>,
    /// The run that has brought nobody but strangers so far, from its first page on.
    initial: Mutex<Option<Uuid>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Front {
    /// Pages done. They are numbered from 1 as they are taken.
    done: u64,
    /// All rows of the page after those are written, and only its end is missing.
    is_written: bool,
    /// Nothing will be done any more.
    is_over: bool,
}

/// What a page is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Go,
    /// The page in front has to begin anew: this one too.
    Anew,
    /// The recorder gave up.
    Over,
}

impl Pages {
    /// Waits until `page` may write its rows.
    pub async fn may_write(&self, page: u64) -> Turn {
        self.turn(|front| match front.done + 1 {
            next if page <= next => Some(Turn::Go),
            next if page == next + 1 && front.is_written => Some(Turn::Go),
            _ => None,
        })
        .await
    }

    /// Waits until `page`, whose rows are written, may end.
    pub async fn may_end(&self, page: u64) -> Turn {
        let turn = self.turn(|front| match page <= front.done + 1 {
            true => Some(Turn::Go),
            false if !front.is_written => Some(Turn::Anew),
            false => None,
        });
        let turn = turn.await;
        if turn == Turn::Go {
            self.of_front(page, |front| front.is_written = true);
        }
        turn
    }

    /// All rows of `page` are written.
    pub fn written(&self, page: u64) {
        self.of_front(page, |front| front.is_written = true);
    }

    /// `page` has to begin anew.
    pub fn anew(&self, page: u64) {
        self.of_front(page, |front| front.is_written = false);
    }

    /// `page` is committed, or was refused for good.
    pub fn done(&self, page: u64) {
        self.of_front(page, |front| {
            front.done = page;
            front.is_written = false;
        });
    }

    /// Whether its users can be taken for strangers without a look, as all of its run before were. Where one
    /// is none after all, the database refuses the page, and it is looked at.
    pub fn takes_for_strangers(&self, page: &Checkpoint) -> bool {
        *self.initial.lock().unwrap_or_else(PoisonError::into_inner) == Some(page.run)
    }

    /// Who the users of a page were when they were looked for.
    pub fn found(&self, page: &Checkpoint, users: Users) {
        let mut initial = self.initial.lock().unwrap_or_else(PoisonError::into_inner);
        match users {
            Users::Strangers if page.follows.is_none() => *initial = Some(page.run),
            Users::Any => *initial = initial.filter(|run| *run != page.run),
            Users::Strangers => {}
        }
    }

    pub fn over(&self) {
        self.front.send_modify(|front| front.is_over = true);
    }

    async fn turn(&self, decide: impl Fn(&Front) -> Option<Turn>) -> Turn {
        let mut fronts = self.front.subscribe();
        loop {
            let front = *fronts.borrow_and_update();
            if let Some(turn) = decide(&front) {
                return turn;
            }
            if front.is_over || fronts.changed().await.is_err() {
                return Turn::Over;
            }
        }
    }

    fn of_front(&self, page: u64, change: impl FnOnce(&mut Front)) {
        self.front.send_if_modified(|front| {
            let before = *front;
            if front.done + 1 == page {
                change(front);
            }
            *front != before
        });
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn polled(turn: impl Future<Output = Turn>) -> Option<Turn> {
        match pin!(turn).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    #[test]
    fn rows_are_written_in_turn_and_so_is_the_end() {
        let pages = Pages::default();
        assert_eq!(polled(pages.may_write(1)), Some(Turn::Go));
        assert_eq!(polled(pages.may_write(2)), None);
        pages.written(1);
        assert_eq!(polled(pages.may_write(2)), Some(Turn::Go));
        assert_eq!(polled(pages.may_write(3)), None);
        assert_eq!(polled(pages.may_end(2)), None);
        assert_eq!(polled(pages.may_end(1)), Some(Turn::Go));
        pages.done(1);
        assert_eq!(polled(pages.may_end(2)), Some(Turn::Go));
        assert_eq!(polled(pages.may_write(3)), Some(Turn::Go));
    }

    #[test]
    fn a_walk_meets_strangers_until_it_finds_somebody() {
        let (pages, [first, other]) = (Pages::default(), [1, 2].map(Uuid::from_u128));
        let page = |run, follows: Option<&str>| Checkpoint {
            run,
            owner: Uuid::nil(),
            state: String::new(),
            follows: follows.map(str::to_owned),
            fetched: 1,
            malformed: 0,
            done: false,
        };
        let takes = |run| pages.takes_for_strangers(&page(run, Some("1")));
        pages.found(&page(first, Some("1")), Users::Strangers);
        assert!(!takes(first), "its first page is not known");
        pages.found(&page(first, None), Users::Strangers);
        assert!(takes(first) && !takes(other));
        pages.found(&page(other, Some("1")), Users::Any);
        assert!(takes(first), "another walk says nothing");
        pages.found(&page(first, Some("1")), Users::Any);
        pages.found(&page(first, Some("2")), Users::Strangers);
        assert!(!takes(first), "some of it are known");
    }

    #[test]
    fn a_page_whose_predecessor_begins_anew_gives_back_what_it_holds() {
        let pages = Pages::default();
        pages.written(1);
        pages.anew(1);
        assert_eq!(polled(pages.may_end(2)), Some(Turn::Anew));
        assert_eq!(polled(pages.may_write(2)), None);
        pages.over();
        assert_eq!(polled(pages.may_write(2)), Some(Turn::Over));
        assert_eq!(polled(pages.may_end(1)), Some(Turn::Go));
    }
}
