//! The submissions of one batch while it is being written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::super::backlog::{Late, Rest};
use super::super::batch::{Loaded, Plan};
use super::super::change;
use super::super::memory::Keep;
use super::super::receipt::Settled;
use super::super::sql::Users;
use super::super::waiters::Settling;
use super::super::{Checkpoint, Effect};
use super::fetch::Fetched;
use crate::user::{Observation, Origin, Position, UserId};

/// Observations in the order of receipt, and who waits for them.
pub struct Flight {
    items: Vec<Item>,
    slots: Vec<Slot>,
    /// Of the page, which then flies alone.
    pub checkpoint: Option<Checkpoint>,
    /// The database refused to take its users for strangers.
    are_known: bool,
    /// Some of it is in the journal, where a later process may find it again: every judgement,
    /// equal ones too, leaves its trace in the database.
    pub is_traced: bool,
    /// It is this page of a walk.
    pub page: Option<u64>,
    /// Some of it stood in the journal alone: nothing else is written meanwhile.
    pub is_exclusive: bool,
    /// Some users are held by other transactions, these perhaps.
    pub may_be_held: bool,
    /// Somebody is held by another transaction, and that was told, of a flight that waits for it.
    pub is_held: bool,
    /// Users whose deletion is committed.
    deleted: Vec<UserId>,
}

/// Which submissions are to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Landing {
    /// Those of which all is judged and committed.
    Judged,
    All,
}

/// A submission that is done.
pub struct Landed {
    pub number: u64,
    pub users: Arc<[Observation]>,
    reply: Option<oneshot::Sender<Settled>>,
    settled: Settled,
}

impl Landed {
    /// Lets those go who waited. A caller that hung up needs no answer.
    pub fn reply(self) {
        let _gone = self.reply.map(|reply| reply.send(self.settled));
    }
}

struct Item {
    slot: usize,
    at: usize,
    effect: Option<Effect>,
    /// Goes back: somebody else holds the user.
    is_left: bool,
}

struct Slot {
    number: u64,
    has_landed: bool,
    /// Its first item; there are as many as it has observations.
    first: usize,
    observations: Arc<[Observation]>,
    reply: Option<oneshot::Sender<Settled>>,
    is_held: bool,
    settled: Settled,
    /// Of the last change, to know the later of two.
    last: Position,
}

impl Flight {
    pub fn new(submissions: Vec<Fetched>, is_traced: bool, page: Option<u64>) -> Flight {
        let mut flight = Flight {
            items: Vec::new(),
            slots: Vec::new(),
            checkpoint: None,
            are_known: false,
            is_traced,
            page,
            is_exclusive: false,
            may_be_held: false,
            is_held: false,
            deleted: Vec::new(),
        };
        for submission in submissions {
            flight.board(submission);
        }
        flight
    }

    fn board(&mut self, submission: Fetched) {
        let (slot, first) = (self.slots.len(), self.items.len());
        let items = 0..submission.observations.len();
        self.items.extend(items.map(|at| Item {
            slot,
            at,
            effect: None,
            is_left: false,
        }));
        let settled = Settled {
            checkpoint_kept: submission.rest.checkpoint.is_none(),
            ..submission.rest.settled
        };
        self.checkpoint = self.checkpoint.take().or(submission.rest.checkpoint);
        self.slots.push(Slot {
            number: submission.number,
            has_landed: false,
            first,
            observations: submission.observations,
            reply: submission.rest.reply,
            is_held: submission.rest.is_held,
            settled,
            last: Position(0),
        });
    }

    pub fn all(&self) -> Vec<usize> {
        (0..self.items.len()).collect()
    }

    pub fn observation(&self, place: usize) -> &Observation {
        let item = &self.items[place];
        &self.slots[item.slot].observations[item.at]
    }

    /// Whom these places are of, each once.
    pub fn users(&self, todo: &[usize]) -> BTreeSet<&UserId> {
        todo.iter().map(|&place| &self.observation(place).id).collect()
    }

    /// Whether all of these users can be taken for strangers.
    pub fn whose(&self, loaded: &BTreeMap<UserId, Loaded>) -> Users {
        match self.can_be_strangers() && !loaded.values().any(|loaded| loaded.has_state) {
            true => Users::Strangers,
            false => Users::Any,
        }
    }

    /// The database has not refused to take them for that.
    pub fn can_be_strangers(&self) -> bool {
        !self.are_known
    }

    /// There is a row or a state of one of them after all, or the database refuses one for another
    /// reason: the same again, and this time it will tell.
    pub fn not_strangers(&mut self) {
        self.are_known = true;
    }

    pub fn fared(&mut self, place: usize, effect: Effect) {
        self.items[place].effect = Some(effect);
    }

    /// Outcomes of the whole page as they will be once `plan` is committed.
    pub fn effects_with(&self, todo: &[usize], plan: &Plan) -> Vec<Effect> {
        let settled = self.slots.iter().flat_map(|slot| &slot.settled.effects).copied();
        let earlier = self.items.iter().filter_map(|item| item.effect);
        let now = todo
            .iter()
            .zip(&plan.judged)
            .filter_map(|(_, judged)| judged.map(|judged| judged.effect));
        settled.chain(earlier).chain(now).collect()
    }

    /// The answer that brought this observation waits for the doubt it raised.
    pub fn waits(&mut self, place: usize, id: UserId, settled: oneshot::Receiver<Settling>) {
        let slot = self.items[place].slot;
        self.slots[slot].settled.doubts.push((id, settled));
    }

    /// Notes the positions of changes for the answers that brought them.
    pub fn changed(&mut self, todo: &[usize], changes: &BTreeMap<UserId, (Position, i32)>) {
        for &place in todo {
            let Some(&(position, nonce)) = changes.get(&self.observation(place).id) else {
                continue;
            };
            let slot = &mut self.slots[self.items[place].slot];
            if slot.last < position {
                slot.last = position;
                slot.settled.position = Some(change::public(position, nonce));
            }
        }
    }

    /// Notes whose deletion is committed with this plan.
    pub fn deleted(&mut self, plan: &Plan) {
        let gone = plan.writes.iter().filter(|(_, write)| write.may_be_purged());
        self.deleted.extend(gone.map(|(id, _)| id.clone()));
    }

    pub fn take_deleted(&mut self) -> Vec<UserId> {
        std::mem::take(&mut self.deleted)
    }

    pub fn checkpoint_done(&mut self, kept: bool) {
        self.checkpoint = None;
        for slot in &mut self.slots {
            slot.settled.checkpoint_kept = kept;
        }
    }

    /// A walk over all users must not push out of memory those that an app asks for.
    pub fn keep(&self, place: usize) -> Keep {
        match self.observation(place).source.origin {
            Origin::Backfill | Origin::Reconcile => Keep::IfThere,
            _ => Keep::Always,
        }
    }

    /// Those of `todo` whom an app asks for.
    pub fn asked_for(&self, todo: &[usize]) -> BTreeSet<&UserId> {
        let asked_for = todo.iter().filter(|place| self.keep(**place) == Keep::Always);
        asked_for.map(|&place| &self.observation(place).id).collect()
    }

    /// Two groups of users; nothing where there is only one.
    pub fn halves(&self, todo: &[usize]) -> Option<(Vec<usize>, Vec<usize>)> {
        let users = self.users(todo);
        let middle = users
            .iter()
            .nth(users.len() / 2)
            .copied()
            .filter(|_| users.len() > 1)?;
        Some(
            todo.iter()
                .partition(|&&place| self.observation(place).id < *middle),
        )
    }

    /// Whether a held user's observations can go back. A page is committed as a whole, and what stood in
    /// the journal alone is written in its order.
    pub fn can_leave(&self) -> bool {
        self.page.is_none() && !self.is_exclusive
    }

    /// Leaves those of `todo` whose users are held; the others, and the users that nobody has told of.
    pub fn leave(&mut self, todo: Vec<usize>, held: &BTreeSet<UserId>) -> (Vec<usize>, BTreeSet<UserId>) {
        let mut untold = BTreeSet::new();
        let is_held = |flight: &Flight, place: usize| held.contains(&flight.observation(place).id);
        let (late, rest): (Vec<_>, Vec<_>) = todo.into_iter().partition(|&place| is_held(self, place));
        for &place in &late {
            self.items[place].is_left = true;
            untold.insert(self.observation(place).id.clone());
        }
        // What came of them before is behind them in the backlog, and comes along.
        for &place in late
            .iter()
            .filter(|place| self.slots[self.items[**place].slot].is_held)
        {
            untold.remove(&self.observation(place).id);
        }
        (rest, untold)
    }

    pub fn has_left(&self) -> bool {
        self.items.iter().any(|item| item.is_left)
    }

    /// What goes back, once all the rest has landed; and who of it has been judged.
    pub fn left(&mut self) -> (Vec<Late>, Vec<UserId>) {
        let (mut left, mut judged) = (Vec::new(), Vec::new());
        let Flight { items, slots, .. } = self;
        for slot in slots.iter_mut().filter(|slot| !slot.has_landed) {
            let items = &items[slot.first..slot.first + slot.observations.len()];
            let seen = |item: &Item| slot.observations[item.at].clone();
            let (late, done): (Vec<&Item>, Vec<&Item>) = items.iter().partition(|item| item.is_left);
            judged.extend(done.iter().map(|item| slot.observations[item.at].id.clone()));
            let observations = late.into_iter().map(seen).collect();
            left.push(Late {
                number: slot.number,
                observations,
                rest: Rest {
                    checkpoint: None,
                    settled: slot.settled_with(done),
                    reply: slot.reply.take(),
                    is_held: true,
                },
            });
        }
        (left, judged)
    }

    /// The submissions that can go now, each once.
    pub fn landing(&mut self, which: Landing) -> Vec<Landed> {
        let Flight {
            items,
            slots,
            checkpoint,
            ..
        } = self;
        let all = which == Landing::All;
        let waiting = slots.iter_mut().filter(|slot| !slot.has_landed);
        let landing = waiting.filter_map(|slot| {
            let items = items.get(slot.first..slot.first + slot.observations.len())?;
            let is_judged = checkpoint.is_none() && items.iter().all(|item| item.effect.is_some());
            let is_left = items.iter().any(|item| item.is_left);
            (all && !is_left || is_judged).then(|| slot.landed(items))
        });
        landing.collect()
    }
}

impl Slot {
    fn landed(&mut self, items: &[Item]) -> Landed {
        Landed {
            number: self.number,
            users: self.observations.clone(),
            settled: self.settled_with(items),
            reply: self.reply.take(),
        }
    }

    /// What became of it, these included. It leaves the flight with that.
    fn settled_with<'i>(&mut self, items: impl IntoIterator<Item = &'i Item>) -> Settled {
        self.has_landed = true;
        let mut settled = std::mem::take(&mut self.settled);
        let effects = items.into_iter().map(|item| item.effect);
        settled
            .effects
            .extend(effects.map(|effect| effect.unwrap_or(Effect::Unchanged)));
        settled
    }
}
