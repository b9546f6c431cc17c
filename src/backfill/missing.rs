//! What a reconcile does beyond a backfill: it deletes whom the provider has deleted without a word.
//!
//! A complete walk notes whom it meets. Whoever has a row, was not met and has not changed since the
//! beginning is read once, and only the provider's own not-found is evidence. One whom the provider
//! says nothing of holds up nobody behind, and fails the run at its end. And rows that were changed past the triggers
//! are noted, to be read again. What must never be: a user deleted
//! for missing in a list; more deletions an hour than the bound, unless somebody has said yes, also across
//! restarts.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::time::sleep;

use super::page::{PAUSES, limited};
use super::{Backfill, WalkFault, begin};
use crate::clock;
use crate::db::DbError;
use crate::db::missing::{self, Counts};
use crate::db::runs::{self, Kind, Run};
use crate::db::unseen::{self, Look};
use crate::reader::ReadFault;
use crate::record::{Effect, Submission};
use crate::upstream::Priority;
use crate::user::{Observation, Origin, UserId};

/// Users looked up at once.
const CHUNK: i64 = 64;
/// Reads under way at once: a walk's own way is one page after the other.
const AT_ONCE: usize = 8;
/// So many in a row of whom nothing is said: it is the key, or the provider, and not the users.
const UNCLEAR_AT_MOST: usize = 16;

/// What was noted is put right within this, where the provider and the database answer.
const PUT_RIGHT: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Of a reconcile: rows that were changed past the triggers.
#[derive(Debug, Default)]
pub(super) struct Unseen {
    /// They are not looked for any more.
    is_refused: bool,
    /// Noted, and not in the account yet.
    noted: u64,
    /// So many in all.
    all: u64,
}

impl Unseen {
    fn take(&mut self, look: Look) {
        match look {
            Look::Noted(noted) => {
                self.noted += noted;
                self.all += noted;
            }
            Look::NoTable => {}
            Look::Refused(why) => {
                self.is_refused = true;
                tracing::warn!(
                    why,
                    "rows that were changed past the triggers cannot be looked for"
                );
            }
        }
    }

    /// For the account, once.
    pub(super) fn take_noted(&mut self) -> u64 {
        std::mem::take(&mut self.noted)
    }

    fn counts(&mut self) -> Counts {
        Counts {
            changed: i64::try_from(self.take_noted()).unwrap_or(i64::MAX),
            ..Counts::default()
        }
    }
}

/// What was found of a chunk.
#[derive(Debug, Default)]
struct Found {
    counts: Counts,
    /// The last of them who was read and settled.
    last: Option<UserId>,
    /// The bound is reached.
    is_stopped: bool,
}

/// Of whom the provider says neither that they are there nor that they are not.
#[derive(Debug, Default)]
struct Unclear {
    first: Option<WalkFault>,
    in_a_row: usize,
}

impl Unclear {
    /// One more of them, or what ends the run at once.
    fn take(&mut self, fault: WalkFault) -> Result<(), WalkFault> {
        self.in_a_row += 1;
        match &fault {
            WalkFault::Read {
                fault: ReadFault::Unclear(_),
                ..
            } if self.in_a_row < UNCLEAR_AT_MOST => {
                tracing::warn!(error = %fault, "the others are looked at all the same");
                self.first.get_or_insert(fault);
                Ok(())
            }
            _ => Err(fault),
        }
    }
}

impl Backfill {
    pub(super) async fn reconcile(&self, run: &Run) -> Result<(), WalkFault> {
        let walk = begin(run);
        let mut unseen = Unseen::default();
        if walk == Default::default() {
            self.when_back(|| missing::forget_met(&self.database)).await?;
        }
        if !walk.swept {
            self.walk(run, &mut unseen).await?;
        }
        // Whoever is in the list has been judged by it.
        let note = || unseen::note_of_nobody(&self.database);
        self.look_for_unseen(&mut unseen, note).await?;
        self.add(run, unseen.counts()).await?;
        let held_back = self.read_the_missing(run).await?;
        if unseen.all > 0 {
            self.put_right().await?;
        }
        self.when_back(|| runs::end(&self.database, run.run, self.instance, held_back))
            .await
    }

    /// Before the page is written: a crash in between leaves somebody unread, never the other way.
    pub(super) async fn meet(
        &self,
        run: &Run,
        page: &Submission,
        unseen: &mut Unseen,
    ) -> Result<(), WalkFault> {
        if run.kind() == Kind::Reconcile {
            let users: Vec<&str> = page.observations.iter().map(|seen| seen.id.as_str()).collect();
            self.when_back(|| missing::met(&self.database, &users)).await?;
            let note = || unseen::note(&self.database, &page.observations);
            self.look_for_unseen(unseen, note).await?;
        }
        Ok(())
    }

    async fn look_for_unseen<F>(&self, unseen: &mut Unseen, note: impl Fn() -> F) -> Result<(), WalkFault>
    where
        F: Future<Output = Result<Look, DbError>>,
    {
        if unseen.is_refused {
            return Ok(());
        }
        let before = unseen.all;
        unseen.take(self.when_back(note).await?);
        if unseen.all > before {
            self.reader.recorder.changed_by_hand();
        }
        Ok(())
    }

    /// What is not by then is a moment later, in whichever process serves, or at the next start.
    async fn put_right(&self) -> Result<(), WalkFault> {
        let give_up = clock::now() + PUT_RIGHT;
        while clock::now() < give_up && self.when_back(|| unseen::is_under_way(&self.database)).await? {
            self.unless_stopping(async {
                sleep(LOOK_EVERY).await;
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// How many were held back.
    async fn read_the_missing(&self, run: &Run) -> Result<i64, WalkFault> {
        // One that is resumed here has read no page yet.
        self.head_known().await;
        let bound = self.when_back(|| missing::bound(&self.database)).await?;
        let mut after = String::new();
        let mut unclear = Unclear::default();
        loop {
            let users = self
                .when_back(|| missing::not_met(&self.database, run.since(), &after, CHUNK))
                .await?;
            let Some(last) = users.last().map(UserId::to_string) else {
                return unclear.first.map_or(Ok(0), Err);
            };
            let read = self.read_all(run, users, bound, &mut unclear);
            let found = self.unless_stopping(read).await?;
            self.add(run, found.counts).await?;
            if found.is_stopped {
                let after = found.last.map_or(after, |last| last.to_string());
                let how_many = || missing::how_many(&self.database, run.since(), &after);
                return self.when_back(how_many).await;
            }
            after = last;
        }
    }

    async fn add(&self, run: &Run, counts: Counts) -> Result<(), WalkFault> {
        let add = || missing::add(&self.database, run.run, self.instance, counts);
        match self.when_back(add).await? {
            true => Ok(()),
            false => Err(WalkFault::HandedOver),
        }
    }

    async fn read_all(
        &self,
        run: &Run,
        users: Vec<UserId>,
        bound: i64,
        unclear: &mut Unclear,
    ) -> Result<Found, WalkFault> {
        let reads = stream::iter(users).map(|user| async move { self.read_missing(&user).await });
        let mut reads = std::pin::pin!(reads.buffered(AT_ONCE));
        let mut found = Found::default();
        while let Some(read) = reads.next().await {
            match read {
                Ok(seen) => {
                    unclear.in_a_row = 0;
                    self.take_missing(run, seen, bound, &mut found).await?;
                }
                Err(fault) => unclear.take(fault)?,
            }
            if found.is_stopped {
                break;
            }
        }
        Ok(found)
    }

    async fn read_missing(&self, user: &UserId) -> Result<Observation, WalkFault> {
        let mut pauses = PAUSES.iter();
        loop {
            let read = self
                .reader
                .look(user, Origin::Reconcile, Priority::Backfill)
                .await;
            if let Err(ReadFault::Upstream(error)) = &read
                && let Some(wait) = limited(error)
            {
                sleep(wait).await;
                continue;
            }
            match (read, pauses.next()) {
                (Err(fault), Some(pause)) if fault.may_pass() => {
                    tracing::warn!(error = %fault, "a user could not be read; trying again");
                    sleep(*pause).await;
                }
                (read, _) => {
                    return read.map_err(|fault| WalkFault::Read {
                        user: user.clone(),
                        fault,
                    });
                }
            }
        }
    }

    async fn take_missing(
        &self,
        run: &Run,
        seen: Observation,
        bound: i64,
        found: &mut Found,
    ) -> Result<(), WalkFault> {
        let is_gone = seen.seen.is_deletion();
        if is_gone && !self.may_delete(run, bound).await? {
            found.is_stopped = true;
            return Ok(());
        }
        found.last = Some(seen.id.clone());
        let fared = self.reader.tell(seen).fared().await;
        let effects = fared.ok_or(WalkFault::HandedOver)?.effects;
        let applied = [Effect::Updated, Effect::Deleted];
        let is_applied = effects.iter().any(|effect| applied.contains(effect));
        // Whoever is gone and has changed meanwhile is neither.
        found.counts.deleted += i64::from(is_gone && is_applied);
        found.counts.spared += i64::from(!is_gone);
        found.counts.changed += i64::from(!is_gone && is_applied);
        Ok(())
    }

    /// Looked up each time: somebody may say yes while it goes on, and what was asked for takes nothing of what may
    /// go unasked.
    async fn may_delete(&self, run: &Run, bound: i64) -> Result<bool, WalkFault> {
        let may_delete = || missing::may_delete(&self.database, bound);
        Ok(self.is_lifted(run).await? || self.when_back(may_delete).await?)
    }

    /// Somebody has said yes, maybe only now.
    pub(super) async fn is_lifted(&self, run: &Run) -> Result<bool, WalkFault> {
        if run.lifted {
            return Ok(true);
        }
        let now = self.when_back(|| runs::one(&self.database, run.run)).await?;
        Ok(now.is_some_and(|run| run.lifted))
    }
}
