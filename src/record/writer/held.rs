//! Users whose state or row another transaction holds: a purge whose cascade is slow, a long `UPDATE` of
//! the operator's, somebody at a console. They are late, which says nothing of the database.
//!
//! What was seen of them goes back to the backlog and is tried again. What must never be: a lane that
//! waits for them, while there is anybody else to be written. Only a page of a walk, which is committed
//! as a whole, and what stood in the journal alone, which is written in its order, wait for them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::sleep;

use super::super::sql::Patience;
use super::flight::Flight;
use super::{GivenUp, Group, Shared, Writer};
use crate::clock::{self, Instant};
use crate::user::UserId;

/// Between attempts at a user who is held.
const HELD_PAUSE: Duration = Duration::from_millis(100);

/// What the journal has is written in its order.
const HOLDS_UP_ALL: &str = "another transaction holds the state of a user whose record is the journal's next: end it (pg_locks \
                    says whose it is)";

impl Writer {
    /// Who is held just now.
    pub(super) async fn held(&mut self, flight: &Flight, todo: &[usize]) -> BTreeSet<UserId> {
        let users: Vec<&UserId> = flight.users(todo).into_iter().collect();
        if self.begin(Patience::Short).await.is_err() {
            return BTreeSet::new();
        }
        let held = match self.link.conn() {
            Ok(conn) => self.sql.held(conn, &users).await.unwrap_or_default(),
            Err(_) => BTreeSet::new(),
        };
        self.rollback().await;
        held
    }

    /// Of those who are to be written, leaves out who is held, where some are: nobody waits for them.
    pub(super) async fn leave_out(&mut self, flight: &mut Flight, todo: Vec<usize>) -> Vec<usize> {
        if !flight.may_be_held || !flight.can_leave() || todo.is_empty() {
            return todo;
        }
        let held = self.held(flight, &todo).await;
        leave(flight, todo, &held)
    }

    /// The one who is left is held. Others are written by other lanes meanwhile, unless all waits behind
    /// this one.
    pub(super) async fn outlast(
        &mut self,
        flight: &mut Flight,
        todo: Vec<usize>,
        held: &BTreeSet<UserId>,
        groups: &mut VecDeque<Group>,
    ) -> Result<(), GivenUp> {
        if flight.can_leave() {
            leave(flight, todo, held);
            return Ok(());
        }
        if self.shared.close.is_cancelled() {
            return Err(GivenUp);
        }
        if !std::mem::replace(&mut flight.is_held, true) {
            held.iter().for_each(tell);
        }
        if flight.is_exclusive {
            self.note_trouble(HOLDS_UP_ALL);
        }
        if self.is_first {
            self.number_by_hand().await;
        }
        sleep(HELD_PAUSE).await;
        groups.push_back(Group::Alone(todo));
        Ok(())
    }

    /// What goes back, once the rest of the flight has landed. A stop does not wait for it: the journal
    /// has it then.
    pub(super) fn put_back(&mut self, flight: &mut Flight) {
        if self.shared.close.is_cancelled() && flight.has_left() {
            self.has_left = true;
            return self.shared.backlog.give_up();
        }
        self.shared.put_back(flight, clock::now() + HELD_PAUSE);
    }
}

impl Shared {
    pub(in super::super) fn put_back(&self, flight: &mut Flight, until: Instant) {
        let (left, judged) = flight.left();
        self.memory.judged(judged.iter());
        if !left.is_empty() {
            self.backlog.put_back(left, until);
        }
    }
}

/// Of `todo` some are held: the rest goes on.
pub(super) fn part(
    flight: &mut Flight,
    todo: Vec<usize>,
    held: &BTreeSet<UserId>,
    groups: &mut VecDeque<Group>,
) {
    let rest = match flight.can_leave() {
        true => leave(flight, todo, held),
        false => to_the_end(flight, todo, held, groups),
    };
    if !rest.is_empty() {
        groups.push_front(Group::Together(rest));
    }
}

/// Those who are held go back; the rest.
fn leave(flight: &mut Flight, todo: Vec<usize>, held: &BTreeSet<UserId>) -> Vec<usize> {
    let (rest, untold) = flight.leave(todo, held);
    untold.iter().for_each(tell);
    rest
}

fn tell(user: &UserId) {
    tracing::warn!(
        ?user,
        "another transaction holds this user's state or row: what was seen waits for its end"
    );
}

/// Those who are held go alone, after all others; the rest.
fn to_the_end(
    flight: &Flight,
    todo: Vec<usize>,
    held: &BTreeSet<UserId>,
    groups: &mut VecDeque<Group>,
) -> Vec<usize> {
    let user = |place: &usize| &flight.observation(*place).id;
    let (late, rest): (Vec<usize>, Vec<usize>) =
        todo.into_iter().partition(|place| held.contains(user(place)));
    let mut of_each: BTreeMap<&UserId, Vec<usize>> = BTreeMap::new();
    for place in late {
        of_each.entry(user(&place)).or_default().push(place);
    }
    groups.extend(of_each.into_values().map(Group::Alone));
    rest
}
