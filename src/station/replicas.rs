//! Several processes on one database: each knows of the others, follows what they record, and
//! holds its part of the provider's limit.
//!
//! What must never be: anything sent before the others know of this process; a kept answer given
//! while what others did in the last second is not known; more asked of the provider by all
//! together than its limit, but where one of them alone cannot reach the database: it cannot tell that from a
//! database that is away for all, and keeps its part.

mod others;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::broadcast::error::TryRecvError;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use uuid::Uuid;

use super::Station;
use crate::clock::{self, Instant};
use crate::db::DbError;
use crate::db::instances::{self, BEAT, DEAD_AFTER, Heard, Kind, Other, Said};
use crate::failpoint;
use crate::feed::Followed;
use crate::upstream::Left;
use crate::upstream::share::{Lease, Wants, fair, lease, next};
use others::Others;

/// Where others record too, a kept answer is given only while what they did is known up to a second ago.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Beside the journal: the process that has it.
const INSTANCE: &str = "instance";
/// A start looks so often whether the others have met it.
const MEET_EVERY: Duration = Duration::from_millis(200);
/// By then whoever has not met it is dead.
const MET_BY: Duration = DEAD_AFTER.saturating_add(BEAT.saturating_mul(2));
/// Refusals that come together, and writes that no change tells of, are told once.
const TOLD_TOGETHER: Duration = Duration::from_millis(100);

/// What this process knows of its standing among the others.
#[derive(Debug, Default)]
pub(super) struct Standing(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    others: Others,
    back: Option<Back>,
    /// It has left the others, and not come back.
    has_left: bool,
    /// It came back, and what it holds of the limit others may have had meanwhile: it takes its part anew.
    takes_anew: bool,
}

/// It has come back from a silence that made it dead to the others, as they may be to it.
#[derive(Debug, Clone, Copy)]
struct Back {
    at: Instant,
    silence: Duration,
}

impl Standing {
    /// What others do from now on, nobody here knows.
    pub fn leaves(&self) {
        self.lock().has_left = true;
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// How long others may have been silent and count as alive.
    fn horizon(&self, now: Instant) -> Duration {
        let back = self
            .lock()
            .back
            .map(|back| (now.saturating_duration_since(back.at), back.silence));
        match back {
            Some((ago, silence)) if ago < DEAD_AFTER => DEAD_AFTER + silence + ago,
            _ => DEAD_AFTER,
        }
    }
}

impl Station {
    /// Makes itself known, and waits until whoever is there has met it and left it a part of the
    /// provider's limit: what others judged in their memory until then is not known here.
    pub async fn join(&self, kind: Kind) {
        let before = self.inherit();
        self.upstream.hold_nothing();
        if !self.database.is_open() {
            return self.upstream.hold(1.0, clock::now());
        }
        if let Some(dead) = before {
            let _ = instances::leave(&self.database, dead).await;
        }
        self.meet(kind).await;
    }

    /// Beats until the others know of this process.
    pub(super) async fn meet(&self, kind: Kind) {
        let deadline = clock::now() + MET_BY;
        while clock::now() < deadline {
            let beat = timeout(DEAD_AFTER, self.beat(kind));
            match beat
                .await
                .unwrap_or_else(|_| Err(DbError::Away("it is silent".into())))
            {
                Ok(heard)
                    if heard.others.iter().all(|other| other.has_met_us) && self.upstream.share() > 0.0 =>
                {
                    return;
                }
                Ok(_) => sleep(MEET_EVERY).await,
                Err(error) => {
                    tracing::debug!(%error, "started without having met the others");
                    return self.upstream.hold(1.0, clock::now());
                }
            }
        }
    }

    /// Who had the journal before is dead, for its lock is this process's: nobody need wait for it.
    fn inherit(&self) -> Option<Uuid> {
        if self.recorder.figures().journal.trouble.is_some() {
            return None;
        }
        let note = self.config.journal_dir.join(INSTANCE);
        let before = std::fs::read_to_string(&note).ok();
        if let Err(error) = std::fs::write(&note, self.instance.to_string()) {
            tracing::debug!(error = %error.kind(), "after kill -9 the next start has to wait for this process to be taken for dead");
        }
        before?.trim().parse().ok()
    }

    /// Says that this process lives, and learns who else does.
    ///
    /// # Errors
    /// As the database gives them.
    pub async fn beat(&self, kind: Kind) -> Result<Heard, DbError> {
        let horizon = self.standing.horizon(clock::now());
        let database = self.database.ahead();
        let beat = instances::beat(&database, self.instance, self.said(kind), horizon).await;
        self.database_answers.store(beat.is_ok(), Ordering::Relaxed);
        let heard = beat?;
        self.come_back(&heard);
        let shared = !heard.others.is_empty();
        self.recorder.set_shared(shared);
        self.cache.set_shared(shared);
        self.cache.hears();
        heard
            .others
            .iter()
            .for_each(|other| self.upstream.yield_with_others(&left(other)));
        self.share(&heard).await?;
        Ok(heard)
    }

    fn said(&self, kind: Kind) -> Said {
        let (wants, yields) = (self.upstream.wants(), self.upstream.yields());
        Said {
            kind,
            apps: wants.apps,
            own: wants.own,
            everyone_yields: yields.everyone.map(|left| left.as_secs_f64()),
            own_yields: yields.own.map(|left| left.as_secs_f64()),
        }
    }

    /// What others judged while they did not know of this process, or took it for dead, is not known here. Nor is
    /// what they spent of the provider's limit, where this process had left it all to them.
    fn come_back(&self, heard: &Heard) {
        let has_left = {
            let mut known = self.standing.lock();
            if let Some(silence) = heard.silence {
                let at = clock::now();
                known.back = Some(Back { at, silence });
            }
            std::mem::take(&mut known.has_left)
        };
        let was_away = has_left || heard.silence.is_some();
        // Those who were there when it fell silent may be gone by now.
        let had_others = heard.silence.is_some() && self.recorder.is_shared();
        let has_others = had_others || !heard.others.is_empty();
        if was_away && self.recorder.returned(has_others, heard.recorder) {
            self.cache.forget_all();
            self.standing.lock().takes_anew |= has_left;
        }
    }

    /// Moves towards the part of the provider's limit that is just. What is left to others is not
    /// used from the moment on that they may have it, and what was spent of it is not theirs before
    /// the provider has ceased to count it.
    async fn share(&self, heard: &Heard) -> Result<(), DbError> {
        let (since, takes_anew) = {
            let mut known = self.standing.lock();
            (known.others.hear(heard, clock::now()), known.takes_anew)
        };
        let wants = |other: &Other| Wants {
            apps: other.apps,
            own: other.own,
        };
        let others: Vec<Wants> = heard.others.iter().map(wants).collect();
        let mine = Wants {
            apps: heard.apps,
            own: heard.own,
        };
        let of_others = heard.others.iter().map(|other| other.share).sum();
        let held = || match takes_anew {
            true => 0.0,
            false => self.upstream.share(),
        };
        let before = held();
        let next = next(before, fair(mine, &others), of_others);
        if next <= before {
            self.hold(next, since);
            failpoint::reached("share.left");
        }
        let database = self.database.ahead();
        let granted = match lease(next, held(), heard.leased) {
            Lease::Leaves(part) => {
                instances::shrink(&database, self.instance, part).await?;
                next
            }
            Lease::Takes(part) => {
                let horizon = self.standing.horizon(clock::now());
                instances::grow(&database, self.instance, part, horizon).await?
            }
            Lease::Has => next,
        };
        self.hold(next.min(granted), since);
        Ok(())
    }

    /// Until then it holds what it held: whatever fails before leaves it with that.
    fn hold(&self, part: f64, since: Instant) {
        if std::mem::take(&mut self.standing.lock().takes_anew) {
            self.upstream.hold_nothing();
        }
        self.upstream.hold(part, since);
    }

    /// Beats until the process stops, and at once when the provider has refused something.
    pub async fn keep_beating(self: Arc<Self>, kind: Kind) {
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.tasks.stopping() => break,
                _ = beats.tick() => {}
                () = self.upstream.refused() => sleep(TOLD_TOGETHER).await,
            }
            if !self.database.is_open() {
                self.database_answers.store(false, Ordering::Relaxed);
                continue;
            }
            match timeout(DEAD_AFTER, self.beat(kind)).await {
                Ok(Ok(heard)) => self.leave_alone(kind, &heard).await,
                Ok(Err(error)) => tracing::debug!(%error, "no heartbeat"),
                Err(_) => self.database_answers.store(false, Ordering::Relaxed),
            }
        }
        if self.database.idle().is_alone() {
            return;
        }
        // Gone all the same once the heartbeat is old.
        let _ = instances::in_parting(instances::leave(&self.database, self.instance)).await;
    }

    /// Where other processes record too, their changes end what is kept here.
    pub async fn follow_others(self: Arc<Self>) {
        let mut followed = self.feed.subscribe();
        let mut looks = interval(LOOK_EVERY);
        loop {
            tokio::select! {
                () = self.tasks.stopping() => return,
                change = followed.recv() => {
                    self.ends_kept(change.map_err(|_| TryRecvError::Lagged(0)));
                }
                // Others may have come meanwhile, and nothing changed.
                _ = looks.tick() => if self.cache.is_shared() {
                    self.feed.look();
                    let known_at = self.feed.known_at();
                    // What was known then has been handed over before.
                    while self.ends_kept(followed.try_recv()) {}
                    known_at.into_iter().for_each(|at| self.cache.bookmark(at));
                }
            }
        }
    }

    /// What was written here and no change tells of is told to the others by itself, moments later: who reads
    /// the feed would not know.
    pub async fn tell_others(self: Arc<Self>) {
        loop {
            tokio::select! {
                biased;
                () = self.cache.to_be_told() => {}
                () = self.tasks.stopping() => return,
            }
            // Each costs all of them what they keep.
            sleep(TOLD_TOGETHER).await;
            while let Err(error) = self.feed.tell_of_anybody().await {
                tracing::debug!(%error, "what others keep may be old, and they could not be told");
                tokio::select! {
                    () = self.tasks.stopping() => return,
                    () = sleep(MEET_EVERY) => {}
                }
            }
        }
    }

    /// False where there is nothing more. While nobody else records, all of it is this process' own.
    fn ends_kept(&self, change: Result<Followed, TryRecvError>) -> bool {
        match change {
            Ok(Followed::Change { id, position }) if self.cache.is_shared() => {
                self.cache.forget(&id);
                self.recorder.heard(&id, position);
            }
            Ok(Followed::Anybody) if self.cache.is_shared() => self.cache.forget_all(),
            Ok(_) => {}
            Err(TryRecvError::Lagged(_)) => self.cache.forget_all(),
            Err(_) => return false,
        }
        true
    }
}

fn left(other: &Other) -> Left {
    let left = |seconds: Option<f64>| seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Left {
        everyone: left(other.everyone_yields),
        own: left(other.own_yields),
    }
}
