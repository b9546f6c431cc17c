//! Answers that are kept, to be given again to the very caller they were fetched for.
//!
//! An answer is found by its [`CacheKey`]: a keyed hash over the target and every request header
//! but those that the provider's file calls ignorable, so whoever shows other credentials asks for
//! another answer. Nothing of a credential is kept. What is kept of a user holds until anything in
//! this process learns of a change ([`Cache::changed`]): from then on it is given to nobody, not
//! even in an outage, and what was asked before cannot take its place. Where another process
//! records too, a hit needs a bookmark of the change feed that is not older than a second.
//!
//! What must never be: an answer given to other credentials; an answer that shows the state before
//! a write that was answered; an error kept; more memory than `CACHE_SIZE`.

mod callers;
mod entry;
mod flight;
mod generations;
mod key;
mod others;
mod policy;
mod word;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderMap, Method, Request};
use http_body::Body;
use moka::sync::Cache as Store;

use crate::clock::Instant;
use crate::config::Config;
use crate::provider::{CacheRules, Provider, Shown};
use crate::user::UserId;
use callers::Callers;
use entry::{Entry, weight};
use flight::Flights;
use generations::Generations;
use key::{Keys, Ready};
use others::Others;

pub use callers::Standing;
pub use entry::{Fit, Hit, Kept};
pub use flight::{Follow, Lead, Left, Turn};
pub use generations::{AsOf, Depends};
pub use key::{CacheKey, CallerKey};
pub use policy::{Wish, may_keep};
pub use word::{Bypass, Cached, Missed, Outage, Served};

/// The kept answers of one tenant.
pub struct Cache {
    provider: Arc<Provider>,
    ttl: Duration,
    stale: Duration,
    size: u64,
    keys: Keys,
    /// Who shows nothing is somebody, too.
    anyone: bool,
    store: Store<CacheKey, Arc<Entry>, Ready>,
    generations: Generations,
    flights: Arc<Flights>,
    callers: Callers,
    others: Others,
    counted: Counted,
}

#[derive(Debug, Default)]
struct Counted {
    hits: AtomicU64,
    misses: AtomicU64,
    stale: AtomicU64,
}

/// Figures for the status.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Figures {
    pub hits: u64,
    pub misses: u64,
    /// Given for want of the provider.
    pub stale: u64,
    /// Of the reads that could have been a hit, from 0 to 1.
    pub hit_share: f64,
    pub entries: u64,
    pub bytes: u64,
}

/// What a look for an answer came to.
pub struct Look {
    /// What it would be kept under; nothing where it must not be.
    pub key: Option<CacheKey>,
    pub found: Result<Hit, Cached>,
}

impl Cache {
    pub fn new(config: &Config) -> Cache {
        let provider = config.provider.clone();
        // Beyond that, no outage makes an answer good enough.
        let longest = config
            .cache_ttl
            .max(config.stale_if_error)
            .max(Duration::from_secs(1));
        let store = Store::builder()
            .weigher(|_: &CacheKey, entry: &Arc<Entry>| weight(entry))
            .max_capacity(config.cache_size as u64)
            .time_to_live(longest)
            .build_with_hasher(Ready::default());
        Cache {
            keys: Keys::new(provider.cache_rules()),
            anyone: provider.takes_anyone(&config.tenant),
            ttl: config.cache_ttl,
            stale: config.stale_if_error,
            size: config.cache_size as u64,
            store,
            generations: Generations::default(),
            flights: Arc::default(),
            callers: Callers::new(config.stale_if_error),
            others: Others::default(),
            counted: Counted::default(),
            provider,
        }
    }

    /// Looks for the answer to a request. `target` is path and query below the base path, `reached` by which URL it
    /// came, where answers tell that.
    pub fn look<B: Body>(
        &self,
        request: &Request<B>,
        target: &str,
        reached: Option<&str>,
        now: Instant,
    ) -> Look {
        let headers = request.headers();
        let not = |key, why| Look {
            key,
            found: Err(Cached::Bypass(why)),
        };
        if !self.is_on() {
            return not(None, Bypass::Off);
        }
        if request.method() != Method::GET {
            return not(None, Bypass::Method);
        }
        if !request.body().is_end_stream() {
            return not(None, Bypass::Body);
        }
        let Some(key) = self.keys.of(target, reached, headers) else {
            return not(None, Bypass::Connection);
        };
        if !self.is_deaf() && !self.is_followed(now) {
            return not(None, Bypass::Unfollowed);
        }
        let wish = self.wish(headers);
        if wish.fresh {
            return not(Some(key), Bypass::NoCache);
        }
        if self.is_deaf() {
            // It is looked again once it is known who else is there.
            return Look {
                key: Some(key),
                found: Err(Cached::Miss(Missed::Absent)),
            };
        }
        let found = self.found(key, wish, now).map_err(Cached::Miss);
        Look {
            key: Some(key),
            found,
        }
    }

    /// Looks again for what another request was asked to bring. What is known of the caller and of
    /// the request was judged before.
    pub fn look_again(&self, key: CacheKey, wish: Wish, now: Instant) -> Option<Hit> {
        let followed = self.is_followed(now);
        self.found(key, wish, now).ok().filter(|_| followed)
    }

    /// What a request asks of whatever is kept.
    pub fn wish(&self, headers: &HeaderMap) -> Wish {
        policy::wish(headers, self.rules())
    }

    fn found(&self, key: CacheKey, wish: Wish, now: Instant) -> Result<Hit, Missed> {
        let entry = self.store.get(&key).ok_or(Missed::Absent)?;
        if !self.generations.holds(entry.depends, entry.as_of) {
            self.store.invalidate(&key);
            return Err(Missed::Changed);
        }
        let is_fresh = now.saturating_duration_since(entry.answered) < entry.fresh_for;
        let hit = Hit::new(entry, now);
        match is_fresh && wish.takes(hit.age()) {
            true => Ok(hit),
            false => Err(Missed::Expired),
        }
    }

    /// What may be given while the provider is away: no not-found, unchanged as far as anybody here
    /// knows, not older than `STALE_IF_ERROR`, to credentials that the provider has accepted within
    /// that time and not refused since; no older than it may be.
    pub fn stale(&self, key: CacheKey, wish: Wish, now: Instant) -> Option<Hit> {
        let entry = self.store.get(&key)?;
        let young = now.saturating_duration_since(entry.answered) < self.stale;
        let holds = self.generations.holds(entry.depends, entry.as_of);
        let accepted = self.callers.accepted_within(entry.caller, self.stale, now);
        let hit = (entry.lasts && young && holds && accepted).then(|| Hit::new(entry, now));
        hit.filter(|hit| wish.takes(hit.age()))
    }

    /// The one who asks the provider for this answer, or who else does.
    pub fn turn(&self, key: CacheKey) -> Turn {
        self.flights.turn(key)
    }

    /// Whether anybody waits for what another asks.
    pub fn is_waited_for(&self, key: CacheKey) -> bool {
        self.flights.are_followed(key)
    }

    /// What is known at this moment: to be taken before a request is sent.
    pub fn as_of(&self) -> AsOf {
        self.generations.as_of()
    }

    /// Keeps an answer, unless something that it depends on has changed since `as_of` (but by this
    /// very exchange). It is given to nobody before this returns.
    pub fn keep(&self, key: CacheKey, kept: Kept<'_>, depends: Depends, as_of: AsOf, by: &str) {
        let Some(as_of) = self.generations.since(depends, as_of, by) else {
            return;
        };
        let fresh_for = kept.fit.at_most.map_or(self.ttl, |most| most.min(self.ttl));
        let entry = Entry::new(kept, self.rules(), depends, as_of, fresh_for);
        if u64::from(weight(&entry)) <= self.size / 8 {
            self.store.insert(key, Arc::new(entry));
        }
    }

    /// On what an answer that shows these users depends.
    pub fn depends(&self, users: &[UserId], is_list: bool) -> Depends {
        match users {
            [user] if !is_list => self.generations.of(user),
            // Of nobody known it can tell of anybody.
            _ => Depends::Lists,
        }
    }

    /// `CACHE_TTL` is more than nothing.
    pub fn is_on(&self) -> bool {
        !self.ttl.is_zero()
    }

    /// What was kept under this key must not be given any more.
    pub fn drop_key(&self, key: CacheKey) {
        self.store.invalidate(&key);
    }

    /// A user has changed, or may have, as the exchange `by` tells; where none is named, anybody.
    pub fn heard(&self, user: Option<&UserId>, by: &str) {
        match user {
            Some(user) => self.changed(user, by),
            None => self.forget_everywhere(),
        }
    }

    /// A user has changed, or may have, as the exchange `by` tells.
    pub fn changed(&self, user: &UserId, by: &str) {
        self.generations.changed(user, by);
    }

    /// A user has changed, as the change feed says.
    pub fn forget(&self, user: &UserId) {
        self.changed(user, "");
    }

    /// Somebody has come or gone, or has changed, of whom only lists tell.
    pub fn forget_lists(&self) {
        self.generations.lists_changed();
    }

    /// Anybody may have changed.
    pub fn forget_all(&self) {
        self.generations.all_changed();
    }

    /// Anybody may have changed, here and for the others: no change tells of it.
    pub fn forget_everywhere(&self) {
        self.forget_all();
        self.tell_others();
    }

    /// Who asks, as far as anybody is shown: nothing shown is nobody, unless the provider asks for no key.
    pub fn caller(&self, shown: &Shown<'_>) -> Option<CallerKey> {
        (self.anyone || !shown.is_empty()).then(|| self.keys.caller(shown))
    }

    /// What the provider has lately thought of a caller.
    pub fn standing(&self, caller: CallerKey) -> Standing {
        self.callers.standing(caller)
    }

    /// The provider has answered what was sent at `at`.
    pub fn accepted(&self, caller: CallerKey, at: Instant) {
        self.callers.note(caller, Standing::Accepted, at);
    }

    /// See [`Cache::accepted`].
    pub fn refused(&self, caller: CallerKey, at: Instant) {
        self.callers.note(caller, Standing::Refused, at);
    }

    /// Counts what was answered with.
    pub fn count(&self, cached: Cached) {
        let counter = match cached {
            Cached::Hit(_) => &self.counted.hits,
            Cached::Miss(_) => &self.counted.misses,
            Cached::Stale(_) => &self.counted.stale,
            Cached::Bypass(_) => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub fn figures(&self) -> Figures {
        self.store.run_pending_tasks();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (hits, misses) = (count(&self.counted.hits), count(&self.counted.misses));
        Figures {
            hits,
            misses,
            stale: count(&self.counted.stale),
            hit_share: hits as f64 / (hits + misses).max(1) as f64,
            entries: self.store.entry_count(),
            bytes: self.store.weighted_size(),
        }
    }

    fn rules(&self) -> &CacheRules {
        self.provider.cache_rules()
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
