//! The published limits, and what of them is there for whom.

use std::time::Duration;

use super::Ask;
use super::learned::Learned;
use crate::clock::{self, Instant};
use crate::config::{Limit, Rate};
use crate::provider::Use;
use crate::upstream::Priority;
use crate::upstream::allowance::{Allowance, Asks};
use crate::upstream::window;

/// What callers share whom the provider has not lately accepted.
const STRANGERS: f64 = 0.2;
/// A part so small is none; a window of nothing has no length.
const LEAST: f64 = 1e-6;
/// Who has no part at all looks again after this long: others leave one at their next heartbeat.
const LEFT_WITHOUT: Duration = Duration::from_millis(500);

/// The quickest answer is forgotten by this part of the difference with each slower one: the way may have
/// become longer for all.
const CREEPS: u32 = 1_000;
/// The first ones of apps may all have waited for their connections,
const FIRST: u32 = 100;
/// but few of usertap's own do.
const FIRST_OWN: u32 = 10;

#[derive(Debug)]
pub(super) struct Limits {
    limits: Vec<Counting>,
    strangers: Vec<Counting>,
    learned: Learned,
    /// The part of all of it that is this process's.
    share: f64,
    /// Whoever has had another part since then is there still.
    since: Instant,
    quickest: Quickest,
    /// A page of users takes longer than one of them.
    quickest_own: Quickest,
}

/// What an answer takes at the least, of late.
#[derive(Debug, Default)]
struct Quickest {
    seen: u32,
    took: Duration,
}

/// The limits to be told when a request is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Answers {
    limits: u64,
    asks: Asks,
}

#[derive(Debug)]
struct Counting {
    limit: Limit,
    allows: Allowance,
}

impl Limits {
    pub fn new(limits: &[Limit]) -> Limits {
        Limits {
            limits: counting(limits, 1.0),
            strangers: counting(limits, STRANGERS),
            learned: Learned::default(),
            share: 1.0,
            since: clock::now(),
            quickest: Quickest::default(),
            quickest_own: Quickest::default(),
        }
    }

    /// Whether any limit counts what is asked.
    pub fn count(&self, what: Use) -> bool {
        self.limits.iter().any(|counting| counting.limit.counts(what))
    }

    /// Whether the provider counts reads and writes apart.
    pub fn apart(&self) -> bool {
        self.limits.iter().any(|counting| counting.limit.of.is_some())
    }

    /// The wait for what only requests of this kind are held by.
    pub fn wait_alone(&self, ask: Ask) -> Option<Instant> {
        // Without a part all wait alike, for the next that is left to this process.
        if self.share == 0.0 {
            return None;
        }
        let own = self
            .strangers
            .iter()
            .filter(|_| ask.priority == Priority::Stranger);
        let kinds = self.limits.iter().filter(|counting| counting.limit.of.is_some());
        let paces =
            that_count(self.limits.iter(), ask).filter_map(|counting| counting.allows.pace(asks(ask)));
        longest(own.chain(kinds), ask).max(paces.max())
    }

    pub fn wait(&self, ask: Ask) -> Option<Instant> {
        if self.share == 0.0 {
            return Some(clock::now() + LEFT_WITHOUT);
        }
        longest(self.limits.iter(), ask)
    }

    pub fn charge(&mut self, ask: Ask) -> Answers {
        let is_stranger = ask.priority == Priority::Stranger;
        let strangers = self.strangers.iter_mut().map(|counting| (counting, is_stranger));
        let all = self
            .limits
            .iter_mut()
            .map(|counting| (counting, true))
            .chain(strangers);
        let mut answers = Answers {
            asks: asks(ask),
            ..Answers::default()
        };
        for (place, (counting, counts)) in all.enumerate() {
            if counts && counting.limit.counts(ask.what) && counting.allows.charge(answers.asks) {
                answers.limits |= 1 << (place % 64);
            }
        }
        answers
    }

    /// A request that went at `sent` is answered, or never will be.
    pub fn answered(&mut self, answers: Answers, sent: Instant, now: Instant) {
        let took = now.saturating_duration_since(sent);
        let quickest = match answers.asks {
            Asks::App => self.quickest.with(took, FIRST),
            Asks::Own => self.quickest_own.with(took, FIRST_OWN),
        };
        let longer = took.saturating_sub(quickest);
        self.awaiting(answers)
            .for_each(|counting| counting.allows.answered(sent, longer));
    }

    /// Nothing of a request that went was sent.
    pub fn never_left(&mut self, answers: Answers) {
        self.awaiting(answers)
            .for_each(|counting| counting.allows.never_left());
    }

    fn awaiting(&mut self, answers: Answers) -> impl Iterator<Item = &mut Counting> {
        let awaiting = self
            .all()
            .enumerate()
            .filter(move |(place, _)| answers.limits & 1 << (place % 64) != 0);
        awaiting.map(|(_, counting)| counting)
    }

    /// The provider has refused what the limit allowed.
    pub fn refused(&mut self, now: Instant) {
        if self.learned.refused(now) {
            self.resize(now);
        }
    }

    /// Forgets what no longer counts, and creeps back to the published limit while all is well.
    pub fn turn(&mut self, now: Instant) {
        self.all().for_each(|counting| counting.allows.turn(now));
        if self.learned.turn(now) {
            self.resize(now);
        }
    }

    pub fn learned(&self) -> f64 {
        self.learned.share()
    }

    /// How much of the whole limit one such request costs, in seconds of it.
    pub fn cost(&self, what: Use) -> f64 {
        self.spread(what, |per| per)
    }

    /// A period of the limit that holds such a request back most, by the requests that it allows.
    fn spread(&self, what: Use, period: impl Fn(Duration) -> Duration) -> f64 {
        let costs = self.rates(what).map(|rate| {
            each(Rate {
                per: period(rate.per),
                ..rate
            })
        });
        costs.fold(0.0, f64::max)
    }

    /// The limit of which a read costs most; of those that count none a write.
    pub fn slowest(&self) -> Option<Rate> {
        let slowest = |what| {
            self.rates(what)
                .max_by(|one, other| each(*one).total_cmp(&each(*other)))
        };
        slowest(Use::Read).or_else(|| slowest(Use::Write))
    }

    fn rates(&self, what: Use) -> impl Iterator<Item = Rate> {
        let limits = self.limits.iter().map(|counting| counting.limit);
        limits
            .filter(move |limit| limit.counts(what))
            .map(|limit| limit.rate)
    }

    /// One more place for such a request is there after each so long.
    pub fn every(&self, ask: Ask) -> Duration {
        let strangers = match ask.priority {
            Priority::Stranger => STRANGERS,
            _ => 1.0,
        };
        let part = strangers * (self.share * self.learned.share()).max(LEAST);
        Duration::try_from_secs_f64(self.spread(ask.what, window::lengthened) / part).unwrap_or(Duration::MAX)
    }

    /// The part that others must leave to this process: what it holds, and what it has spent of a
    /// larger one before.
    pub fn share(&mut self) -> f64 {
        self.all().for_each(|counting| counting.allows.give_up());
        let kept = self.limits.iter().map(|counting| counting.allows.kept());
        kept.fold(self.share, f64::max).min(1.0)
    }

    /// Other processes have the rest of the limit, and whoever has had any of it since `since` is there still.
    /// Says whether anything has changed.
    pub fn hold(&mut self, share: f64, since: Instant, now: Instant) -> bool {
        let changes = share != self.share;
        self.since = since;
        if changes {
            self.share = share;
            self.resize(now);
        }
        changes
    }

    /// Nothing of the limit is this process's, nor was any of it.
    pub fn hold_nothing(&mut self, now: Instant) {
        self.hold(0.0, now, now);
        self.all().for_each(|counting| counting.allows.keep_nothing());
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Counting> {
        self.limits.iter_mut().chain(&mut self.strangers)
    }

    fn resize(&mut self, now: Instant) {
        let part = (self.share * self.learned.share()).max(LEAST);
        for counting in &mut self.limits {
            counting.allows.resize(part, self.since, now);
        }
        for counting in &mut self.strangers {
            counting.allows.resize(part * STRANGERS, self.since, now);
        }
    }
}

impl Quickest {
    /// What is known of it with one more, after the `first`.
    fn with(&mut self, took: Duration, first: u32) -> Duration {
        self.took = match self.seen {
            0 => took,
            _ => took.min(self.took + took.saturating_sub(self.took) / CREEPS),
        };
        self.seen = self.seen.saturating_add(1);
        if self.seen > first {
            self.took
        } else {
            Duration::ZERO
        }
    }
}

impl Answers {
    pub fn is_none(self) -> bool {
        self.limits == 0
    }
}

fn counting(limits: &[Limit], share: f64) -> Vec<Counting> {
    let counting = |limit: &Limit| Counting {
        limit: *limit,
        allows: Allowance::share(limit.rate, share),
    };
    limits.iter().map(counting).collect()
}

/// How much of a limit a request costs, in seconds of it.
fn each(rate: Rate) -> f64 {
    rate.per.as_secs_f64() / f64::from(rate.requests.max(1))
}

fn asks(ask: Ask) -> Asks {
    match ask.priority {
        Priority::App | Priority::Stranger => Asks::App,
        Priority::Refetch | Priority::Backfill => Asks::Own,
    }
}

fn longest<'w>(counting: impl Iterator<Item = &'w Counting>, ask: Ask) -> Option<Instant> {
    that_count(counting, ask)
        .filter_map(|counting| counting.allows.wait(asks(ask)))
        .max()
}

fn that_count<'w>(
    counting: impl Iterator<Item = &'w Counting>,
    ask: Ask,
) -> impl Iterator<Item = &'w Counting> {
    counting.filter(move |counting| counting.limit.counts(ask.what))
}
