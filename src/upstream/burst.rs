//! Requests that may go at any moment, as many as a provider takes in a period.
//!
//! The provider counts when a request arrives, which is at some time between its leaving and its answer:
//! what is under way counts as just gone, and what is answered from whenever the caller is sure that it
//! had arrived. What must never be: one more in a period than the limit has.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::{self, Instant};

/// A large limit is remembered in so many pieces at the most.
const PIECES: u32 = 1024;
/// So many are left to a process that has just begun, whatever was spent before it.
const AT_FIRST: u32 = 1;
/// In as many pieces what others may have spent of a part that is new here.
const SPENT_BY_OTHERS: u32 = 64;

/// Those that are younger than a period, the oldest first.
#[derive(Debug)]
pub(super) struct Burst {
    most: u32,
    period: Duration,
    /// The provider's own.
    whole: Duration,
    went: VecDeque<Went>,
    /// How many those are.
    used: u32,
    /// Those of what is spread evenly beside this.
    evenly: VecDeque<Went>,
    used_evenly: u32,
    /// Those that are not answered yet.
    under_way: u32,
    turned: Instant,
    /// How many might go, as far back as a period.
    held: VecDeque<Held>,
}

/// So many might go from then on.
#[derive(Debug, Clone, Copy)]
struct Held {
    since: Instant,
    most: u32,
}

/// Some that went at about the same time.
#[derive(Debug, Clone, Copy)]
struct Went {
    first: Instant,
    last: Instant,
    many: u32,
    /// They are not this process's, as far as anybody knows.
    are_of_others: bool,
}

impl Burst {
    /// Of less than one in a period one in so much longer a period.
    pub fn of(requests: f64, period: Duration) -> Burst {
        let stretched = requests.clamp(f64::MIN_POSITIVE, 1.0);
        let (most, since) = ((requests as u32).max(1), clock::now());
        Burst {
            most,
            period: period.div_f64(stretched),
            whole: period,
            went: VecDeque::new(),
            used: 0,
            evenly: VecDeque::new(),
            used_evenly: 0,
            under_way: 0,
            turned: since,
            held: VecDeque::from([Held { since, most }]),
        }
    }

    pub fn period(&self) -> Duration {
        self.period
    }

    /// How many count now.
    pub fn all(&self) -> u32 {
        self.used + self.under_way
    }

    /// Forgets what no longer counts; before anything is asked.
    pub fn turn(&mut self, now: Instant) {
        self.turned = now;
        while let Some(oldest) = self.went.front().filter(|went| went.last + self.period <= now) {
            self.used -= oldest.many;
            self.went.pop_front();
        }
        while let Some(oldest) = self.evenly.front().filter(|went| went.last + self.whole <= now) {
            self.used_evenly -= oldest.many;
            self.evenly.pop_front();
        }
        while self
            .held
            .get(1)
            .is_some_and(|held| held.since + self.period <= now)
        {
            self.held.pop_front();
        }
    }

    /// When the next may go; nothing if at once.
    pub fn wait(&self) -> Option<Instant> {
        if self.all() < self.most {
            return None;
        }
        // Where the part was larger a moment ago, more than one must have left.
        let frees = first_beyond(self.went.iter(), self.all() - self.most);
        Some(frees.unwrap_or(self.turned) + self.period)
    }

    /// One is on its way; [`Burst::answered`] or [`Burst::never_left`] is to follow.
    pub fn leaves(&mut self) {
        self.under_way += 1;
    }

    /// Nothing of one of those under way was sent.
    pub fn never_left(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// One of those under way is answered, or never will be: it counts as of `at`.
    pub fn answered(&mut self, at: Instant) {
        self.under_way = self.under_way.saturating_sub(1);
        self.used += 1;
        let together = self.together();
        add(&mut self.went, at, together);
    }

    /// One goes of what is spread evenly.
    pub fn goes_evenly(&mut self) {
        self.used_evenly += 1;
        let together = self.together();
        add(&mut self.evenly, self.turned, together);
    }

    /// How many the provider counts still, of what is spread evenly too.
    pub fn counted(&self) -> u32 {
        if self.period == self.whole {
            return self.all().saturating_add(self.used_evenly);
        }
        self.under_way + self.all_counted().map(|went| went.many).sum::<u32>()
    }

    /// When the provider will have ceased to count so many that fewer than `most` are left; nothing if they are now.
    pub fn falls_below(&self, most: u32) -> Option<Instant> {
        let over = self.counted().checked_sub(most)?;
        let frees = first_beyond(self.all_counted(), over);
        Some(frees.unwrap_or(self.turned) + self.whole)
    }

    /// The oldest first.
    fn all_counted(&self) -> impl Iterator<Item = &Went> {
        let (mut went, mut evenly) = (self.went.iter().peekable(), self.evenly.iter().peekable());
        let all = std::iter::from_fn(move || match (went.peek(), evenly.peek()) {
            (Some(one), Some(other)) if other.last < one.last => evenly.next(),
            (None, _) => evenly.next(),
            _ => went.next(),
        });
        all.filter(|went| went.last + self.whole > self.turned)
    }

    /// When the next may go of those that go each so often, whatever else went; nothing if at once.
    pub fn next(&self, every: Duration) -> Option<Instant> {
        let last = [self.went.back(), self.evenly.back()].into_iter().flatten();
        let last = last.map(|went| went.last).max();
        last.map(|last| last + every).filter(|next| *next > self.turned)
    }

    /// Of a large limit such as went within so long are remembered in one piece.
    fn together(&self) -> Duration {
        let large = self.most > 2 * PIECES;
        if large {
            self.period / PIECES
        } else {
            Duration::ZERO
        }
    }

    /// Keeps to the limit of another from now on. What went before goes on to count. What is new here others
    /// left once it no longer counted for them; whoever had it before `since` may be gone, and then nobody
    /// counts it but this: as much as an even pace would have spent of it while it was not here.
    pub fn resize(&mut self, next: &Burst, since: Instant, now: Instant) {
        let grows = next.most > self.most;
        (self.most, self.period) = (next.most, next.period);
        if grows {
            self.others_spent(since, now);
        }
        let most = self.most;
        self.held.push_back(Held { since: now, most });
        self.turn(now);
    }

    /// Whatever it kept to before, others had all of it.
    pub fn kept_nothing(&mut self) {
        self.held.clear();
    }

    /// Anew: a part that comes and goes is not spent once more each time.
    fn others_spent(&mut self, since: Instant, now: Instant) {
        self.went.retain(|went| !went.are_of_others);
        let (mut lacking, mut spent) = (0, 0);
        for piece in 0..SPENT_BY_OTHERS {
            let ago = |pieces: u32| now.checked_sub(self.period * pieces / SPENT_BY_OTHERS);
            let (Some(at), Some(begins)) = (ago(piece), ago(piece + 1)) else {
                break;
            };
            if begins < since {
                lacking += u64::from(self.most.saturating_sub(self.held_at(begins)));
            }
            let many = lacking.div_ceil(u64::from(SPENT_BY_OTHERS)) - spent;
            spent += many;
            if many > 0 {
                self.went.push_back(Went::of_others(at, many as u32));
            }
        }
        self.went.make_contiguous().sort_by_key(|went| went.last);
        self.used = self.went.iter().map(|went| went.many).sum();
    }

    fn held_at(&self, at: Instant) -> u32 {
        let held = self.held.iter().rev().find(|held| held.since <= at);
        held.map_or(AT_FIRST, |held| held.most)
    }
}

impl Went {
    fn one(at: Instant) -> Went {
        Went {
            first: at,
            last: at,
            many: 1,
            are_of_others: false,
        }
    }

    fn of_others(at: Instant, many: u32) -> Went {
        Went {
            many,
            are_of_others: true,
            ..Went::one(at)
        }
    }
}

/// When the one went that comes after so many.
fn first_beyond<'w>(mut all: impl Iterator<Item = &'w Went>, mut many: u32) -> Option<Instant> {
    let beyond = all.find(|went| {
        let is_beyond = many < went.many;
        many = many.saturating_sub(went.many);
        is_beyond
    });
    beyond.map(|went| went.last)
}

fn add(all: &mut VecDeque<Went>, at: Instant, together: Duration) {
    let place = all.partition_point(|went| went.last <= at);
    let joins =
        |before: &&mut Went| !before.are_of_others && at.saturating_duration_since(before.first) < together;
    let before = place.checked_sub(1).and_then(|place| all.get_mut(place));
    match before.filter(joins) {
        Some(before) => {
            before.last = at;
            before.many += 1;
        }
        None => all.insert(place, Went::one(at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many as may go now, answered at once, and at most so many.
    fn go(burst: &mut Burst, most: usize) -> usize {
        burst.turn(clock::now());
        let may = (0..most).take_while(|_| {
            let may = burst.wait().is_none();
            if may {
                burst.leaves();
                burst.answered(clock::now());
            }
            may
        });
        may.count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_of_any_size_takes_little_memory() {
        const ALL: usize = 1_000_000;
        let mut burst = Burst::of(ALL as f64, Duration::from_secs(1));
        assert_eq!(go(&mut burst, usize::MAX), ALL);
        assert!(burst.went.len() <= 1_100);
        tokio::time::advance(Duration::from_secs(2)).await;
        let mut went = 0;
        for _ in 0..1_100 {
            tokio::time::advance(Duration::from_millis(1)).await;
            went += go(&mut burst, ALL / 1_000);
            assert!(burst.went.len() <= 1_100);
        }
        assert!(went >= ALL, "{went}");
    }
}
