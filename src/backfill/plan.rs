//! Where a walk stands and where it goes next. Pure.
//!
//! A walk must get everyone: a place in the list that is lost (the user it began with was deleted
//! between two pages) is walked around from an older one, never taken for the end. Where places count
//! users, a page must show somebody who was met. What must never be: a page that cannot be true, taken
//! for the end or for one more.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::db::walked::is_short;
use crate::provider::{Cursor, Footing, Next};

/// Older places kept to go on from, half of them of the last page: that many users who are deleted
/// at once are walked around without beginning anew.
const TRAIL: usize = 40;

/// What the checkpoint holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Walk {
    /// Where the next page starts; the beginning where there is none.
    pub cursor: Option<Cursor>,
    /// Users seen, the latest last: places to go on from, and who must be met again.
    pub trail: Vec<String>,
    /// The server does not know the optional parameters.
    pub plain: bool,
    pub pages: u64,
    /// The end of the list was reached.
    #[serde(default)]
    pub swept: bool,
    /// Times that a place was lost since the walk last moved on.
    pub lost: u32,
    /// Times that it began anew.
    #[serde(default)]
    pub anew: u32,
    /// Users met since it began, each once.
    #[serde(default)]
    pub met: u64,
    /// All there were, where the first page said so.
    #[serde(default)]
    pub total: Option<u64>,
    /// Of a reconcile: rows that were changed past the triggers, and, counted in the database, users whom the list left
    /// out and who had changed.
    #[serde(default)]
    pub changed: u64,
    /// Users on the longest page.
    #[serde(default)]
    pub page: Option<u64>,
    /// What the last page showed, as one number.
    #[serde(default)]
    pub sum: Option<u64>,
    /// An earlier place, to which no later one may lead.
    #[serde(default)]
    pub past: Option<Cursor>,
    /// Pages without anybody, the last ones in a row.
    #[serde(default)]
    pub empty: u32,
}

/// What follows a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Next(Walk),
    Done(Walk),
}

impl Step {
    pub fn add_changed(&mut self, users: u64) {
        let (Step::Next(walk) | Step::Done(walk)) = self;
        walk.changed += users;
    }
}

/// A page, as far as the walk's way goes.
#[derive(Debug, Clone)]
pub struct Shown<'p> {
    /// Everyone on it, in its order.
    pub users: &'p [String],
    pub footing: Footing,
    pub next: Next,
    pub total: Option<u64>,
    /// What it shows, as one number; nothing where it is empty.
    pub sum: Option<u64>,
}

/// What a page is to a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Of each user whether the walk has met it here first.
    pub new: Vec<bool>,
    pub next: Next,
    /// It is the list's beginning, and shows nobody of those who were met.
    begins_anew: bool,
}

/// The provider loses every place that it gives: the walk cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the provider's list breaks off at the same place again and again, or changes its order: run the backfill again \
     later"
)]
pub struct Astray;

/// Times that the beginning may be lost before the walk gives up.
const LOST_AT_MOST: u32 = TRAIL as u32 + 3;
const ANEW_AT_MOST: u32 = 3;
/// A list may look through many users for each whom it shows.
const EMPTY_AT_MOST: u32 = 1_000;

/// So many more than twice of those there are cannot have come meanwhile.
const BEYOND: u64 = 1_000;

impl Walk {
    /// Taken up again: what was lost then may be found now.
    pub fn resumed(self, fetched: u64) -> Walk {
        Walk {
            lost: 0,
            anew: 0,
            met: match self.met {
                0 if self.pages > 0 && self.anew == 0 => fetched,
                met => met,
            },
            ..self
        }
    }

    /// After a page. `place` makes a cursor of a user, for providers whose cursors are ids.
    pub fn advance(
        self,
        shown: &Shown<'_>,
        place: impl Fn(&str) -> Option<Cursor>,
    ) -> Result<(Told, Step), Astray> {
        let told = self.told(shown);
        let step = match told.next.clone() {
            Next::More(cursor) => Step::Next(self.moved(shown, &told, Some(cursor))?),
            Next::End => Step::Done(Walk {
                swept: true,
                ..self.moved(shown, &told, None)?
            }),
            Next::Lost => Step::Next(self.lost(shown.footing, place)?),
        };
        Ok((told, step))
    }

    /// Who on a page is new, and what follows: a counted place where nobody is met has lost somebody.
    pub fn told(&self, shown: &Shown<'_>) -> Told {
        let Some(from) = self.new_from(shown) else {
            return Told {
                new: vec![false; shown.users.len()],
                next: Next::Lost,
                begins_anew: false,
            };
        };
        let repeats = shown.footing != Footing::Firm;
        let is_first = matches!(shown.footing, Footing::Counted { is_first: true, .. });
        let is_new = |(at, user): (usize, &String)| at >= from && !(repeats && self.latest().contains(user));
        let new: Vec<bool> = shown.users.iter().enumerate().map(is_new).collect();
        let users = shown.users.len() as u64;
        let is_end = match shown.footing {
            // A page as long as any may have others behind it.
            Footing::Counted { overlap, .. } => {
                users <= overlap && self.page.is_none_or(|page| users < page) && !new.contains(&true)
            }
            Footing::Firm | Footing::Instant => false,
        };
        Told {
            next: if is_end { Next::End } else { shown.next.clone() },
            begins_anew: self.pages > 0
                && is_first
                && !shown.users.iter().any(|user| self.trail.contains(user)),
            new,
        }
    }

    /// Before it everyone was met; nothing where somebody may have been passed over.
    ///
    /// Where the order is not the same each time, others may stand before whoever was met. Of no more than
    /// those who are remembered, each is known; of more, only who was asked for again can have been met.
    fn new_from(&self, shown: &Shown<'_>) -> Option<usize> {
        let Footing::Counted { overlap, is_first } = shown.footing else {
            return Some(0);
        };
        let of_latest = shown.users.iter().position(|user| self.latest().contains(user));
        // Between those further back the trail has gaps: somebody may count twice.
        let of_older = || shown.users.iter().rposition(|user| self.trail.contains(user));
        let is_beginning = is_first || self.trail.is_empty();
        let from = of_latest
            .or_else(|| of_older().map(|at| at + 1))
            .or(is_beginning.then_some(0))?;
        match overlap <= self.latest().len() as u64 {
            true => Some(0),
            false => Some(from.min(usize::try_from(overlap).unwrap_or(from))),
        }
    }

    /// Those met last, without a gap.
    fn latest(&self) -> &[String] {
        &self.trail[self.trail.len().saturating_sub(TRAIL / 2)..]
    }

    /// Why a page, well-formed as it is, cannot be what it says.
    pub fn doubt(&self, shown: &Shown<'_>) -> Option<String> {
        let told = self.told(shown);
        let is_beginning = shown.footing.is_beginning(self);
        let met = self.met + told.count();
        let totals = || [self.total, shown.total].into_iter().flatten();
        let next = match shown.next == Next::End {
            true => &Next::End,
            false => &told.next,
        };
        match next {
            _ if shown.users.is_empty() && is_beginning && self.pages > 0 && shown.next != Next::Lost => {
                Some("it is empty, after pages of users".into())
            }
            _ if self.repeats(shown) => Some("the next page shows the same users as the one before".into()),
            Next::More(next) if self.lost > 0 && told.count() == 0 && self.cursor.as_ref() == Some(next) => {
                Some("nobody stands behind those who were met, and it does not end".into())
            }
            Next::More(next) if shown.footing == Footing::Firm && self.past.as_ref() == Some(next) => {
                Some("its pages lead back to one before".into())
            }
            Next::More(_) if shown.users.is_empty() && self.empty >= EMPTY_AT_MOST => {
                Some("it goes on after a thousand pages without anybody".into())
            }
            Next::More(_)
                if totals()
                    .max()
                    .is_some_and(|total| met > total.saturating_mul(2).saturating_add(BEYOND)) =>
            {
                Some(format!(
                    "it goes on after {met} users, and says that there are {}",
                    totals().max().unwrap_or_default()
                ))
            }
            Next::End => {
                let total = shown.total.and_then(|_| totals().min())?;
                is_short(met, total)
                    .then(|| format!("it ends after {met} users, and says that there are {total}"))
            }
            _ => None,
        }
    }

    fn repeats(&self, shown: &Shown<'_>) -> bool {
        let may_repeat =
            shown.footing == Footing::Instant || shown.footing.is_beginning(self) || self.lost > 0;
        shown.sum.is_some() && shown.sum == self.sum && !may_repeat
    }

    /// The same place, without the parameters that the server does not know.
    pub fn plainly(self) -> Walk {
        Walk { plain: true, ..self }
    }

    fn moved(mut self, shown: &Shown<'_>, told: &Told, cursor: Option<Cursor>) -> Result<Walk, Astray> {
        if told.begins_anew {
            self = self.begun_anew()?;
        }
        let first = self.trail.len().saturating_sub(TRAIL / 2);
        self.trail.drain(..first);
        let new = shown.users.iter().zip(&told.new).filter(|(_, is_new)| **is_new);
        let new: Vec<&String> = new.map(|(user, _)| user).collect();
        let last = new.len().saturating_sub(TRAIL / 2);
        self.trail
            .extend(new.iter().skip(last).map(|user| (*user).to_owned()));
        let pages = self.pages + 1;
        Ok(Walk {
            past: if pages.is_power_of_two() {
                cursor.clone()
            } else {
                self.past
            },
            cursor,
            pages,
            lost: 0,
            met: self.met + told.count(),
            total: self.total.or(shown.total),
            page: self.page.max(Some(shown.users.len() as u64)),
            sum: shown.sum,
            empty: match shown.users.is_empty() {
                true => self.empty + 1,
                false => 0,
            },
            ..self
        })
    }

    /// A counted place is asked for further back; another is walked around.
    fn lost(self, footing: Footing, place: impl Fn(&str) -> Option<Cursor>) -> Result<Walk, Astray> {
        if self.lost >= LOST_AT_MOST {
            return Err(Astray);
        }
        let walk = Walk {
            lost: self.lost + 1,
            past: None,
            ..self
        };
        match footing {
            Footing::Counted { .. } => Ok(walk),
            Footing::Firm | Footing::Instant => walk.around(place),
        }
    }

    /// From the latest user seen that can be a place; from the beginning where none can.
    fn around(mut self, place: impl Fn(&str) -> Option<Cursor>) -> Result<Walk, Astray> {
        let cursor = std::iter::from_fn(|| self.trail.pop()).find_map(|user| place(&user));
        let walk = Walk { cursor, ..self };
        match walk.cursor {
            Some(_) => Ok(walk),
            None => walk.begun_anew(),
        }
    }

    fn begun_anew(self) -> Result<Walk, Astray> {
        if self.anew >= ANEW_AT_MOST {
            return Err(Astray);
        }
        Ok(Walk {
            anew: self.anew + 1,
            met: 0,
            ..self
        })
    }
}

impl Told {
    fn count(&self) -> u64 {
        self.new.iter().filter(|is_new| **is_new).count() as u64
    }
}

impl Footing {
    fn is_beginning(self, walk: &Walk) -> bool {
        match self {
            Footing::Firm => walk.cursor.is_none(),
            Footing::Instant => false,
            Footing::Counted { is_first, .. } => is_first,
        }
    }
}
