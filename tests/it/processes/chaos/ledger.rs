//! What apps were told, and what was done to usertap.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use uuid::Uuid;

/// A read that starts so long after a write was committed shows it.
const BEHIND: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Ledger(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Ids that an answer showed whose word was one of durability.
    told: BTreeSet<Uuid>,
    /// Users whose writes all were answered, one after another: what was written when.
    ordered: HashMap<Uuid, Vec<(Instant, u64)>>,
    everyone: Vec<Uuid>,
    counts: BTreeMap<String, u64>,
}

impl Ledger {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().expect("no panic")
    }

    pub fn count(&self, what: &str) {
        *self.lock().counts.entry(what.to_owned()).or_default() += 1;
    }

    pub fn count_millis(&self, what: &str, took: Duration) {
        *self.lock().counts.entry(what.to_owned()).or_default() += took.as_millis() as u64;
    }

    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.lock().counts.clone()
    }

    /// The sum of all counts whose names begin so.
    pub fn total(&self, prefix: &str) -> u64 {
        let counts = self.counts();
        let of = counts.iter().filter(|(name, _)| name.starts_with(prefix));
        of.map(|(_, count)| count).sum()
    }

    pub fn told(&self, id: Uuid) {
        let mut inner = self.lock();
        if inner.told.insert(id) {
            inner.everyone.push(id);
        }
    }

    pub fn all_told(&self) -> BTreeSet<Uuid> {
        self.lock().told.clone()
    }

    pub fn nth(&self, n: u64) -> Option<Uuid> {
        let inner = self.lock();
        let all = inner.everyone.len() as u64;
        (all > 0).then(|| inner.everyone[(n % all) as usize])
    }

    /// The user's one writer was told that this was committed.
    pub fn committed(&self, id: Uuid, number: u64, at: Instant, is_new: bool) {
        let mut inner = self.lock();
        if is_new {
            inner.ordered.insert(id, Vec::new());
        }
        if let Some(writes) = inner.ordered.get_mut(&id) {
            writes.push((at, number));
        }
    }

    /// A write was not answered: it may still come, at any time.
    pub fn unordered(&self, id: Uuid) {
        self.lock().ordered.remove(&id);
    }

    pub fn is_ordered(&self, id: Uuid) -> bool {
        self.lock().ordered.contains_key(&id)
    }

    /// What a read that is asked now must show at least.
    pub fn least(&self, id: Uuid, asked: Instant) -> Option<u64> {
        let inner = self.lock();
        let writes = inner.ordered.get(&id)?;
        let known = writes.iter().filter(|(at, _)| *at + BEHIND <= asked);
        known.map(|(_, number)| *number).max()
    }
}
