//! What is known of the users of a batch, from memory or the database, and what follows from it
//! before anything is written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use super::super::batch::{self, Circumstances, Loaded, Plan};
use super::super::sql::{Loading, Users};
use super::super::{Effect, Shared};
use super::flight::Flight;
use super::{Failure, Writer};
use crate::clock;
use crate::user::{Origin, Seen, UserId};

/// What a look into the database leaves to be written.
pub(super) struct ToWrite {
    pub todo: Vec<usize>,
    pub are: Users,
}

impl ToWrite {
    fn of_any(todo: Vec<usize>) -> ToWrite {
        let are = Users::Any;
        ToWrite { todo, are }
    }
}

impl Shared {
    /// What is left of a batch once memory has judged what it can. Whatever follows something of the
    /// same user that is left is left too.
    pub(in crate::record) fn settle_in_memory(&self, flight: &mut Flight, group: Vec<usize>) -> Vec<usize> {
        let epoch = self.epoch.load(Ordering::Acquire);
        let now = clock::now();
        let mut dirty = BTreeSet::new();
        let left = group.into_iter().filter(|&place| {
            let observation = flight.observation(place);
            if !dirty.contains(&observation.id) {
                if self.memory.settle_in_turn(observation, epoch, now).is_some() {
                    flight.fared(place, Effect::Unchanged);
                    return false;
                }
                dirty.insert(observation.id.clone());
            }
            true
        });
        left.collect()
    }
}

impl Writer {
    /// One statement over ids and stored hashes tells what changes nothing. Writes are spared
    /// it: they nearly always change something. So is an initial copy.
    pub(super) async fn look(
        &mut self,
        flight: &mut Flight,
        todo: Vec<usize>,
    ) -> Result<ToWrite, (Failure, Vec<usize>)> {
        let reads = todo
            .iter()
            .all(|&place| flight.observation(place).source.origin != Origin::ProxyWrite);
        if todo.is_empty() || !reads {
            return Ok(ToWrite::of_any(todo));
        }
        if self.are_strangers(flight) {
            let are = Users::Strangers;
            return Ok(ToWrite { todo, are });
        }
        match self.try_look(flight, &todo).await {
            Ok(left) => Ok(left),
            Err(failure) => Err((failure, todo)),
        }
    }

    /// A page of an initial copy, unless the database has refused it as that.
    fn are_strangers(&self, flight: &Flight) -> bool {
        let page = flight.checkpoint.as_ref();
        flight.can_be_strangers() && page.is_some_and(|page| self.shared.pages.takes_for_strangers(page))
    }

    async fn try_look(&mut self, flight: &mut Flight, todo: &[usize]) -> Result<ToWrite, Failure> {
        let mut loaded = self.load(flight, todo, Loading::Look).await?;
        let are = flight.whose(&loaded);
        if let Some(page) = &flight.checkpoint {
            self.shared.pages.found(page, are);
        }
        let (todo, _) = self.shared.looked(flight, todo, &mut loaded);
        Ok(ToWrite { todo, are })
    }
}

impl Shared {
    /// What is left of a batch after a look at what the database holds, nothing locked: what changes
    /// nothing has fared. And how all of it was judged.
    pub(in crate::record) fn looked(
        &self,
        flight: &mut Flight,
        todo: &[usize],
        loaded: &mut BTreeMap<UserId, Loaded>,
    ) -> (Vec<usize>, Plan) {
        let plan = self.plan(flight, todo, loaded);
        let mut left = Vec::new();
        for (&place, judged) in todo.iter().zip(&plan.judged) {
            let id = &flight.observation(place).id;
            match judged {
                Some(judged) if !plan.writes.contains_key(id) => flight.fared(place, judged.effect),
                _ => left.push(place),
            }
        }
        self.mark(&plan, |id| !plan.writes.contains_key(id));
        self.remember_loaded(flight, todo, &plan, loaded);
        self.settle_waiters(flight, todo, &plan, Some(&left), None);
        (left, plan)
    }

    pub(in crate::record) fn strangers(&self, flight: &Flight, todo: &[usize]) -> BTreeMap<UserId, Loaded> {
        let now = clock::now();
        let ids = todo.iter().map(|&place| &flight.observation(place).id);
        let stranger = |id: &UserId| {
            let mut loaded = Loaded::stranger();
            loaded.known.mark = self.memory.mark_of_stranger(id, now);
            (id.clone(), loaded)
        };
        ids.map(stranger).collect()
    }

    /// Remembers the equal judgements that stand.
    pub(super) fn mark(&self, plan: &Plan, stands: impl Fn(&UserId) -> bool) {
        let now = clock::now();
        for (id, mark) in plan.marks.iter().filter(|(id, _)| stands(id)) {
            self.memory.mark(id, *mark, now);
        }
    }

    pub(in crate::record) fn plan(
        &self,
        flight: &Flight,
        todo: &[usize],
        loaded: &mut BTreeMap<UserId, Loaded>,
    ) -> Plan {
        let at = Circumstances {
            epoch: self.epoch.load(Ordering::Acquire),
            now: clock::wall(),
            shared: self.memory.is_shared() || flight.is_traced,
        };
        let observations = todo.iter().map(|&place| flight.observation(place));
        batch::plan(observations, loaded, at, || self.head.tick())
    }

    /// To be told of whatever was loaded before it is judged.
    pub(in crate::record) fn note_loaded(&self, loaded: &mut BTreeMap<UserId, Loaded>) {
        let now = clock::now();
        for (id, loaded) in loaded.iter_mut() {
            loaded.known.mark = match loaded.has_state {
                true => self.memory.mark_of(id),
                false => self.memory.mark_of_stranger(id, now),
            };
        }
        self.learn_head(loaded);
    }

    /// Whatever position another process left is committed. Without this a doubt of a process that
    /// died would lie ahead of every stamp for as long as nothing else changes.
    fn learn_head(&self, loaded: &BTreeMap<UserId, Loaded>) {
        let known = loaded.values().map(|loaded| loaded.known);
        let Some(last) = known
            .map(|known| known.position.max(known.doubt.unwrap_or_default()))
            .max()
        else {
            return;
        };
        let epoch = self.epoch.load(Ordering::Acquire);
        self.head.committed(epoch, last, clock::now());
    }
}

impl Writer {
    pub(super) async fn load(
        &mut self,
        flight: &Flight,
        todo: &[usize],
        loading: Loading,
    ) -> Result<BTreeMap<UserId, Loaded>, Failure> {
        let ids: Vec<&UserId> = flight.users(todo).into_iter().collect();
        let is_partial = |place: &usize| matches!(flight.observation(*place).seen, Seen::Partial(_));
        let with_raw = todo.iter().any(is_partial);
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let conn = self.link.conn()?;
        let loaded = self.sql.load(conn, &ids, loading, with_raw).await;
        let mut loaded = loaded.map_err(Failure::of)?;
        self.shared.note_loaded(&mut loaded);
        Ok(loaded)
    }
}
