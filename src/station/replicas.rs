//! Several processes on one database: each knows of the others, follows what they record, and
//! holds its part of the provider's limit.
//!
//! What must never be: anything sent before the others know of this process; a kept answer given
//! while what others did in the last second is not known; more asked of the provider by all
//! together than its limit, but where one of them alone cannot reach the database: it cannot tell that from a
//! database that is away for all, and keeps its part.

use std::collections::BTreeSet;
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
use crate::upstream::share::{Wants, fair, next};

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
    /// The part of the provider's limit that is written down as this process's.
    leased: f64,
    others: Others,
    back: Option<Back>,
    /// It has left the others, and not come back.
    has_left: bool,
}

/// Who else was there at the last heartbeat, and since when none of those is gone: what they had since then
/// of the provider's limit they leave only once it no longer counts for them.
#[derive(Debug, Default)]
struct Others {
    ids: BTreeSet<Uuid>,
    since: Option<Instant>,
}

impl Others {
    fn hear(&mut self, heard: &Heard, now: Instant) -> Instant {
        let ids: BTreeSet<Uuid> = heard.others.iter().map(|other| other.id).collect();
        let are_there = ids.is_superset(&self.ids) && !heard.is_new && heard.silence.is_none();
        self.ids = ids;
        if !are_there {
            self.since = None;
        }
        *self.since.get_or_insert(now)
    }
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
        if !self.database.is_open() {
            return;
        }
        if let Some(dead) = before {
            let _ = instances::leave(&self.database, dead).await;
        }
        self.upstream.hold_nothing();
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
    /// what they spent of the provider's limit, where nothing of it was written down as this process's.
    fn come_back(&self, heard: &Heard) {
        let has_left = {
            let mut known = self.standing.lock();
            if heard.is_new {
                known.leased = 0.0;
            }
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
            if heard.is_new {
                self.upstream.hold_nothing();
            }
        }
    }

    /// Moves towards the part of the provider's limit that is just. What is left to others is not
    /// used from the moment on that they may have it, and what was spent of it is not theirs before
    /// the provider has ceased to count it.
    async fn share(&self, heard: &Heard) -> Result<(), DbError> {
        let since = self.standing.lock().others.hear(heard, clock::now());
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
        let held = self.upstream.share();
        let next = next(held, fair(mine, &others), of_others);
        if next <= held {
            self.upstream.hold(next, since);
            failpoint::reached("share.left");
        }
        let (leased, left) = (self.standing.lock().leased, next.max(self.upstream.share()));
        if left < leased {
            instances::shrink(&self.database.ahead(), self.instance, left).await?;
            self.standing.lock().leased = left;
        } else if next > leased {
            let horizon = self.standing.horizon(clock::now());
            let granted = instances::grow(&self.database.ahead(), self.instance, next, horizon).await?;
            self.standing.lock().leased = granted;
            self.upstream.hold(next.min(granted), since);
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(others: &[u128]) -> Heard {
        let other = |id: &u128| Other {
            id: Uuid::from_u128(*id),
            serves: true,
            share: 0.25,
            apps: 0.0,
            own: 0.0,
            everyone_yields: None,
            own_yields: None,
            has_met_us: true,
        };
        Heard {
            apps: 0.0,
            own: 0.0,
            others: others.iter().map(other).collect(),
            is_new: false,
            silence: None,
            recorder: None,
        }
    }

    #[test]
    fn whoever_is_gone_is_missed_and_whoever_comes_is_not() {
        let began = clock::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut others = Others::default();
        assert_eq!(others.hear(&heard(&[1, 2]), at(1)), at(1));
        assert_eq!(others.hear(&heard(&[1, 2, 3]), at(2)), at(1));
        // As many, and not the same.
        assert_eq!(others.hear(&heard(&[1, 3, 4]), at(3)), at(3));
        assert_eq!(others.hear(&heard(&[4, 3, 1]), at(4)), at(3));
        // This process itself was not there to see it.
        let (is_new, silence) = (true, Some(Duration::from_secs(9)));
        let new = Heard {
            is_new,
            ..heard(&[1, 3, 4])
        };
        assert_eq!(others.hear(&new, at(5)), at(5));
        let silent = Heard {
            silence,
            ..heard(&[1, 3, 4])
        };
        assert_eq!(others.hear(&silent, at(6)), at(6));
        assert_eq!(others.hear(&heard(&[]), at(7)), at(7));
    }
}
