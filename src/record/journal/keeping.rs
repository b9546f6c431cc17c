//! Copies into the journal what must not wait in memory alone.
//!
//! All that waits is appended and synced once, while the next gathers. Where the journal takes
//! nothing, those who wait are told so at once, and it is tried again: traffic never stands still
//! for a disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep_until;

use super::super::Shared;
use super::super::backlog::{Due, Group};
use super::keeper::{Keeper, take_in};
use super::{JournalFault, Left, Place, entry};
use crate::clock::{self, Instant};
use crate::failpoint;
use crate::user::{Observation, Origin};

/// Between attempts at a journal that takes nothing.
const AGAIN: Duration = Duration::from_secs(1);
/// So soon it is noticed that the folder was removed, and its lock with it.
const HELD_EVERY: Duration = Duration::from_secs(2);
/// Nothing is to be done before something stirs.
const IDLE: Duration = Duration::from_secs(3_600);

/// Runs until the writer has ended and nothing is left to keep.
pub async fn keep(shared: Arc<Shared>) {
    Keeping::new(shared.clone()).run().await;
    if let Some(intents) = &shared.intents {
        intents.over();
    }
    if let Some(keeper) = &shared.keeper {
        keeper.close();
    }
}

/// What is known from one look to the next.
struct Keeping {
    shared: Arc<Shared>,
    /// Nothing is tried before: the last attempt was in vain.
    again: Instant,
    /// What could not be read is looked at no sooner. It keeps nothing else from being written.
    unread: Instant,
    /// Whether the folder is this process's is asked no sooner.
    held: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    All,
    NotAll,
}

impl Keeping {
    fn new(shared: Arc<Shared>) -> Keeping {
        let now = clock::now();
        Keeping {
            shared,
            again: now,
            unread: now,
            held: now + HELD_EVERY,
        }
    }

    async fn run(mut self) {
        let shared = self.shared.clone();
        let mut trouble = shared.health.trouble.subscribe();
        loop {
            let away = trouble.borrow_and_update().why().is_some();
            let until = match shared.backlog.due(clock::now(), patience(&shared), away) {
                Due::Over => return,
                Due::Nothing => self.look_again().await,
                Due::At(at) => Some(self.look_again().await.map_or(at, |look| look.min(at))),
                Due::Now(group) => match self.keep_group(group).await {
                    Kept::All => continue,
                    Kept::NotAll if shared.backlog.has_ended() => return lost(&shared),
                    Kept::NotAll => Some(self.again),
                },
            };
            tokio::select! {
                () = shared.backlog.stirred() => {}
                _ = trouble.changed() => {}
                () = sleep_until(until.unwrap_or(clock::now() + IDLE)) => {}
            }
        }
    }

    /// While nothing is to be written nobody else notices that a fault has gone or the folder is another's, or what it
    /// holds that could not be read. When to look next.
    async fn look_again(&mut self) -> Option<Instant> {
        let keeper = self.shared.keeper.clone()?;
        let takes = keeper.fault().is_none() && self.is_held(&keeper).await;
        if takes && keeper.unread().is_none() {
            return Some(self.held);
        }
        let next = if takes { &mut self.unread } else { &mut self.again };
        if *next > clock::now() {
            return Some(*next);
        }
        let (here, there) = (self.shared.clone(), keeper.clone());
        let looked = blocking(move || {
            open_late(&here, &there)?;
            take_in_late(&here, &there, &there.take_over_late());
            if takes { Ok(()) } else { there.look() }
        });
        match looked.await {
            Ok(()) => {
                keeper.note(None);
                keeper.unread()?;
            }
            Err(JournalFault::Robbed) => robbed(&self.shared),
            Err(fault) => keeper.note(Some(&fault)),
        }
        *next = clock::now() + AGAIN;
        Some(*next)
    }

    async fn is_held(&mut self, keeper: &Arc<Keeper>) -> bool {
        if self.held > clock::now() {
            return true;
        }
        self.held = clock::now() + HELD_EVERY;
        let keeper = keeper.clone();
        blocking(move || Ok(keeper.is_held())).await.unwrap_or(true)
    }

    async fn keep_group(&mut self, group: Group) -> Kept {
        let numbers = group.numbers.clone();
        let Some(keeper) = self.shared.keeper.clone() else {
            return self.refuse(&numbers);
        };
        if self.again > clock::now() && !self.shared.backlog.has_ended() {
            self.shared.backlog.not_kept(&numbers);
            return Kept::NotAll;
        }
        // Where one group follows the other nobody else looks; not with each of them, for it costs the files' length.
        let looks = self.unread <= clock::now() && keeper.unread().is_some();
        if looks {
            self.unread = clock::now() + AGAIN;
        }
        let (here, there) = (self.shared.clone(), keeper.clone());
        let appended = blocking(move || {
            if looks {
                take_in_late(&here, &there, &there.take_over_late());
            }
            append(&here, &there, &group)
        });
        self.settle(&keeper, &numbers, appended.await)
    }

    fn settle(
        &mut self,
        keeper: &Keeper,
        numbers: &[u64],
        appended: Result<Vec<Place>, JournalFault>,
    ) -> Kept {
        match appended {
            Ok(places) => {
                let over = self.shared.backlog.kept(numbers, &places);
                keeper.consumed(&over);
                let left = &numbers[places.len()..];
                if left.is_empty() {
                    keeper.note(None);
                    return Kept::All;
                }
                keeper.note(Some(&JournalFault::Full));
                self.refuse(left)
            }
            Err(JournalFault::Robbed) => {
                robbed(&self.shared);
                Kept::All
            }
            Err(fault) => {
                keeper.note(Some(&fault));
                self.refuse(numbers)
            }
        }
    }

    fn refuse(&mut self, numbers: &[u64]) -> Kept {
        self.shared.backlog.not_kept(numbers);
        self.again = clock::now() + AGAIN;
        Kept::NotAll
    }
}

/// Without a journal nobody is told anything but at the end of their own patience.
fn patience(shared: &Shared) -> Duration {
    shared.keeper.as_ref().map_or(IDLE, |keeper| keeper.patience())
}

/// Work with files, where nobody else waits for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, JournalFault> + Send + 'static,
) -> Result<T, JournalFault> {
    let worked = tokio::task::spawn_blocking(work).await;
    worked.unwrap_or_else(|error| Err(JournalFault::broken(error)))
}

fn append(shared: &Shared, keeper: &Keeper, group: &Group) -> Result<Vec<Place>, JournalFault> {
    open_late(shared, keeper)?;
    let payloads = payloads(shared, group);
    failpoint::reached("journal.appending");
    let places = keeper.append(&payloads)?;
    failpoint::reached("journal.synced");
    let kept = group.entries.iter().take(places.len());
    // What a read told is in its own answer, and mostly nothing new.
    kept.flat_map(|(_, seen)| seen.iter())
        .filter(|seen| seen.source.origin != Origin::ProxyRead)
        .for_each(|seen| shared.tell(&seen.id, &seen.source.request_id));
    Ok(places)
}

fn open_late(shared: &Shared, keeper: &Keeper) -> Result<(), JournalFault> {
    take_in_late(shared, keeper, &keeper.try_open()?);
    Ok(())
}

fn take_in_late(shared: &Shared, keeper: &Keeper, left: &Left) {
    if !left.places.is_empty() {
        // Found late: what was judged meanwhile is not to be told apart from it.
        shared.memory.distrust(clock::now());
    }
    take_in(shared, keeper, left);
}

/// What is to be written. A stamp that something was judged after which left its trace in memory alone
/// proves nothing to a later process.
pub fn payloads(shared: &Shared, group: &Group) -> Vec<Vec<u8>> {
    let is_proven = |seen: &Observation| {
        !group.untraced.contains(&seen.id) && shared.memory.mark_of(&seen.id) <= seen.sent.tick
    };
    let entries = group.entries.iter();
    entries
        .map(|(at, observations)| entry::encode(*at, observations, is_proven))
        .collect()
}

/// What is in memory too is written anew, in its order.
fn robbed(shared: &Shared) {
    let lost = shared.backlog.lost();
    shared.health.damaged.fetch_add(lost as u64, Ordering::Relaxed);
    tracing::error!(lost, "{}", JournalFault::Robbed);
}

fn lost(shared: &Shared) {
    let waiting = shared.backlog.depth();
    tracing::error!(
        submissions = waiting.waiting - waiting.journaled,
        "stopped with the database away: what waited in memory is lost; run a backfill"
    );
}
