//! A promise to say what became of a submission, and the words it is told in.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{sleep_until, timeout_at};

use super::waiters::Settling;
use super::{Effect, Recorder};
use crate::clock::{self, Instant};
use crate::user::{Observation, Origin, Seen, Source, UserId};

/// A promise to say what became of a [`super::Submission`].
#[derive(Debug)]
pub struct Receipt {
    recorder: Recorder,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Settled(Settled),
    Waiting {
        reply: oneshot::Receiver<Settled>,
        /// Whether it is in the journal, once it must not wait for the commit any more.
        durable: oneshot::Receiver<bool>,
    },
    Refused,
}

/// What the writer says of a submission, after the commit.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub effects: Vec<Effect>,
    /// The last change, as consumers see its position.
    pub position: Option<String>,
    /// Doubts that the answer must wait for.
    pub doubts: Vec<(UserId, oneshot::Receiver<Settling>)>,
    /// The walk's row was moved on (or there was none to move).
    pub checkpoint_kept: bool,
}

/// What became of a submission; the word in `x-usertap-recorded`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// The rows say what the answer says. `position` of the last change, if anything changed.
    Committed { position: Option<String> },
    /// On disk, not yet in the database.
    Journaled,
    /// In memory, not yet in the database.
    Queued,
    /// Not there, and why.
    None(Unrecorded),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unrecorded {
    /// The database refused a row; it is retried.
    SetAside,
    /// There is no such user, and no row: nothing was to be written.
    NoUser,
    /// A re-read that the answer needed is not back.
    RereadLate,
    /// The queue was full while the database was away.
    QueueFull,
}

impl Unrecorded {
    /// The reason word in the header, the log and the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Unrecorded::SetAside => "set-aside",
            Unrecorded::NoUser => "no-user",
            Unrecorded::RereadLate => "reread-late",
            Unrecorded::QueueFull => "queue-full",
        }
    }
}

/// How a page fared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fared {
    pub effects: Vec<Effect>,
    /// Whether the checkpoint moved the walk's row: false where the run is no longer ours.
    pub checkpoint_kept: bool,
}

/// Whether what was submitted outlives this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durable {
    Committed {
        /// A row says something else than before.
        changed: bool,
        /// Reads that are owed because of it.
        doubts: usize,
        /// The database refused a row of it.
        set_aside: bool,
    },
    Journaled,
    /// Not yet, and perhaps never.
    No,
}

/// A skeleton is one small commit; where even that is not done by then, the database is in
/// trouble and the answer must not wait longer.
const SKELETON_WAIT: Duration = Duration::from_secs(1);
/// A sync takes milliseconds; a disk that takes longer than this is no place to wait for.
const JOURNAL_WAIT: Duration = Duration::from_secs(1);

impl Receipt {
    pub(super) fn settled(recorder: Recorder, effects: Vec<Effect>) -> Receipt {
        let settled = Settled {
            effects,
            checkpoint_kept: true,
            ..Settled::default()
        };
        Receipt {
            recorder,
            stage: Stage::Settled(settled),
        }
    }

    pub(super) fn waiting(
        recorder: Recorder,
        reply: oneshot::Receiver<Settled>,
        durable: oneshot::Receiver<bool>,
    ) -> Receipt {
        Receipt {
            recorder,
            stage: Stage::Waiting { reply, durable },
        }
    }

    pub(super) fn refused(recorder: Recorder) -> Receipt {
        Receipt {
            recorder,
            stage: Stage::Refused,
        }
    }

    /// Whether there is anything to wait for.
    pub fn waits(&self) -> bool {
        !matches!(self.stage, Stage::Settled(_))
    }

    /// Waits until all of it is committed and the doubts it raised are settled, at most so long;
    /// while the database is known to be away, only until it is in the journal. Users whose re-read
    /// is late have a skeleton row then.
    pub async fn recorded(self, at_most: Duration) -> Recorded {
        let (reply, durable) = match self.stage {
            Stage::Refused => return Recorded::None(Unrecorded::QueueFull),
            Stage::Settled(settled) => return settled.came_to(Rereads::default()),
            Stage::Waiting { reply, durable } => (reply, durable),
        };
        let deadline = clock::now() + at_most;
        let mut settled = match committed(reply, durable, deadline + self.recorder.journal_wait()).await {
            Ok(settled) => settled,
            Err(recorded) => return recorded,
        };
        let doubts = std::mem::take(&mut settled.doubts);
        let mut rereads = Rereads::of(doubts, deadline).await;
        let late = std::mem::take(&mut rereads.late);
        if !late.is_empty() {
            // Boxed: what is seldom must not make the future of every answer as large.
            Box::pin(stand(&self.recorder, late)).await;
            return Recorded::None(Unrecorded::RereadLate);
        }
        settled.came_to(rereads)
    }

    /// Waits until all of it is committed or in the journal, at most so long; not for the doubts that it
    /// raised, which are durable with it.
    pub async fn durable(self, at_most: Duration) -> Durable {
        let settled = match self.stage {
            Stage::Refused => return Durable::No,
            Stage::Settled(settled) => settled,
            Stage::Waiting { reply, durable } => {
                match committed(
                    reply,
                    durable,
                    clock::now() + at_most + self.recorder.journal_wait(),
                )
                .await
                {
                    Ok(settled) => settled,
                    Err(Recorded::Journaled) => return Durable::Journaled,
                    Err(_) => return Durable::No,
                }
            }
        };
        Durable::Committed {
            changed: settled.position.is_some(),
            doubts: settled.doubts.len(),
            set_aside: settled.effects.contains(&Effect::SetAside),
        }
    }

    /// Waits for the commit alone, as long as it takes. What a backfill waits for. `None` when the
    /// recorder was closed or its queue was full: nothing is known to be written.
    pub async fn fared(self) -> Option<Fared> {
        let settled = match self.stage {
            Stage::Refused => return None,
            Stage::Settled(settled) => settled,
            Stage::Waiting { reply, .. } => reply.await.ok()?,
        };
        Some(Fared {
            effects: settled.effects,
            checkpoint_kept: settled.checkpoint_kept,
        })
    }
}

impl Settled {
    /// None of the reads that it needed is late.
    fn came_to(self, rereads: Rereads) -> Recorded {
        let effects = &self.effects;
        if rereads.is_set_aside || effects.contains(&Effect::SetAside) {
            return Recorded::None(Unrecorded::SetAside);
        }
        let absent = effects.iter().filter(|effect| **effect == Effect::Absent);
        let absent = absent.count() + rereads.absent;
        if absent > 0 && absent == effects.len() {
            return Recorded::None(Unrecorded::NoUser);
        }
        Recorded::Committed {
            position: self.position.max(rereads.last),
        }
    }
}

impl Recorder {
    /// What the journal may take beyond the time that the database has.
    fn journal_wait(&self) -> Duration {
        match self.has_journal() {
            true => JOURNAL_WAIT,
            false => Duration::ZERO,
        }
    }
}

/// What the writer says, unless the journal has it first or the time is up.
async fn committed(
    mut reply: oneshot::Receiver<Settled>,
    mut durable: oneshot::Receiver<bool>,
    deadline: Instant,
) -> Result<Settled, Recorded> {
    let mut expired = std::pin::pin!(sleep_until(deadline));
    tokio::select! {
        biased;
        Ok(settled) = &mut reply => Ok(settled),
        Ok(is_durable) = &mut durable => match (reply.try_recv(), is_durable) {
            (Ok(settled), _) => Ok(settled),
            (Err(_), true) => Err(Recorded::Journaled),
            (Err(_), false) => Err(Recorded::Queued),
        },
        () = &mut expired => Err(Recorded::Queued),
    }
}

/// What came of the reads that an answer needed.
#[derive(Debug, Default)]
struct Rereads {
    /// Users whose doubts are not settled by the deadline.
    late: Vec<UserId>,
    is_set_aside: bool,
    /// Those that found nobody.
    absent: usize,
    /// The last change that settled one.
    last: Option<String>,
}

impl Rereads {
    async fn of(doubts: Vec<(UserId, oneshot::Receiver<Settling>)>, deadline: Instant) -> Rereads {
        let mut rereads = Rereads::default();
        for (user, settled) in doubts {
            match timeout_at(deadline, settled).await {
                Ok(Ok(Settling::Recorded(change))) => rereads.last = rereads.last.take().max(change),
                Ok(Ok(Settling::SetAside)) => rereads.is_set_aside = true,
                Ok(Ok(Settling::NoUser)) => rereads.absent += 1,
                _ => rereads.late.push(user),
            }
        }
        rereads
    }
}

/// Sees to it that these users have a row, so that foreign keys hold.
async fn stand(recorder: &Recorder, users: Vec<UserId>) {
    let source = Source::own(Origin::Refetch, "reread");
    let users = users.into_iter();
    let awaited = users.map(|id| Observation::unasked(id, Seen::Awaited, &source));
    let fared = recorder.submit(awaited.collect::<Vec<_>>().into()).fared();
    let _ = tokio::time::timeout(SKELETON_WAIT, fared).await;
}
