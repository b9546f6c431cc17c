//! A database that says nothing: its connections stand, and nothing comes on them.
//!
//! Nothing ever breaks then, and each answer would wait as long as it may. So the lanes note here what they
//! have asked and when they were answered. Where nothing was heard for a while, one question beside them
//! decides: a database that answers it is slow, and is let be; from one that does not the lanes are cut off,
//! and it is away like one that cannot be reached. A lane that waits longer than the database lets it, while the
//! question is answered, has a connection that is dead, as where a firewall has forgotten it: it is cut off, and so
//! are those that have said nothing as long. What must never be: a statement that only takes long taken for silence for
//! ever. Behind a pooler that has no connection left the question waits as well: so one that was cut off is waited
//! for twice as long the next time, until its work is done.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use diesel::connection::{Instrumentation, InstrumentationEvent};
use diesel::result::{DatabaseErrorKind, Error};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::clock::{self, Instant};
use crate::db::Database;

/// How often it is looked whether somebody waits.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A while, as long as an answer may wait, within these bounds.
const AT_LEAST: Duration = Duration::from_secs(1);
const AT_MOST: Duration = Duration::from_secs(5);
/// Nothing that a lane asks in a transaction takes longer, its wait for a pooler's connection included.
const AT_MOST_AFTER_CUTS: Duration = Duration::from_secs(30);
/// Longer than the database lets any other statement of a lane take than a commit or a removal, the wait for locks included.
const ANSWERED_BY: Duration = Duration::from_secs(15);
/// A commit may take as long as another server does, and a removal as long as all that refers to the row. One that is not
/// answered by then never is.
const OVERDUE: Duration = Duration::from_secs(75);

const SAYS_NOTHING: &str =
    "the database says nothing: neither what was asked is answered nor a question after it";

/// What the lanes have asked.
#[derive(Debug)]
pub(super) struct Silence {
    lines: Mutex<Lines>,
    over: CancellationToken,
}

#[derive(Debug)]
struct Lines {
    /// When anything was last heard.
    heard: Instant,
    /// Of each lane.
    lines: Vec<Line>,
}

/// A lane's connection.
#[derive(Debug)]
struct Line {
    /// When anything was last heard on it.
    heard: Instant,
    /// Since when its statement waits for an answer.
    asked: Option<Instant>,
    /// What it asks is a commit or a removal.
    may_last: bool,
    cut: CancellationToken,
    /// How often it was cut off for silence while it waited, and its lane has not done its work since.
    cuts: u32,
}

/// Notes what is asked on one connection, and that it is answered.
pub(super) struct Ear {
    silence: Arc<Silence>,
    lane: usize,
}

impl Silence {
    pub fn new(lanes: usize) -> Silence {
        let heard = clock::now();
        let lines = (0..lanes).map(|_| Line::new(heard)).collect();
        Silence {
            lines: Mutex::new(Lines { heard, lines }),
            over: CancellationToken::new(),
        }
    }

    /// A lane has a new connection: to be cut when the token says so.
    pub fn listen_to(self: &Arc<Self>, lane: usize) -> (Ear, CancellationToken) {
        let cut = CancellationToken::new();
        self.lock().lines[lane].begins(cut.clone(), clock::now());
        let silence = self.clone();
        (Ear { silence, lane }, cut)
    }

    /// What the lane asks next is a commit or a removal.
    pub fn may_last(&self, lane: usize) {
        self.lock().lines[lane].may_last = true;
    }

    /// A lane has left its connection.
    pub fn left(&self, lane: usize) {
        self.lock().lines[lane].asked = None;
    }

    /// A lane has done what it had to.
    pub fn done(&self, lane: usize) {
        self.lock().lines[lane].cuts = 0;
    }

    /// Nobody asks any more.
    pub fn over(&self) {
        self.over.cancel();
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Line {
    fn new(heard: Instant) -> Line {
        Line {
            heard,
            asked: None,
            may_last: false,
            cut: CancellationToken::new(),
            cuts: 0,
        }
    }

    fn begins(&mut self, cut: CancellationToken, now: Instant) {
        self.answered(now);
        self.cut = cut;
    }

    fn answered(&mut self, now: Instant) {
        (self.heard, self.asked, self.may_last) = (now, None, false);
    }

    fn has_waited_in_vain(&self, patience: Duration, now: Instant) -> bool {
        let waits = |asked: Instant| asked + patience.max(ANSWERED_BY) <= now;
        !self.may_last && self.asked.is_some_and(waits)
    }

    fn is_idle(&self, patience: Duration, now: Instant) -> bool {
        self.asked.is_none() && self.heard + patience.max(ANSWERED_BY) <= now
    }

    fn cut_off(&mut self) {
        self.cuts += u32::from(self.asked.is_some());
        self.cut.cancel();
    }
}

impl Lines {
    fn asked(&mut self, lane: usize, now: Instant) {
        self.lines[lane].asked = Some(now);
    }

    fn answered(&mut self, lane: usize, now: Instant) {
        self.lines[lane].answered(now);
        self.heard = now;
    }

    /// Since when somebody waits and nothing is heard.
    fn silent_since(&self) -> Option<Instant> {
        let oldest = self.lines.iter().filter_map(|line| line.asked).min();
        oldest.map(|oldest| oldest.max(self.heard))
    }

    /// Since when somebody waits so that there is a question to be asked.
    fn to_be_asked(&self, patience: Duration, now: Instant) -> Option<Instant> {
        let since = self.silent_since()?;
        let in_vain = |line: &Line| line.has_waited_in_vain(patience, now);
        (since + patience <= now || self.lines.iter().any(in_vain)).then_some(since)
    }

    /// A question beside them, asked at `asked`, was answered. Who had waited in vain before never hears anything,
    /// and nor would those who are idle as long.
    fn is_there(&mut self, patience: Duration, asked: Instant, now: Instant) {
        self.heard = now;
        if self
            .lines
            .iter()
            .any(|line| line.has_waited_in_vain(patience, asked))
        {
            let suspect =
                |line: &&mut Line| line.has_waited_in_vain(patience, asked) || line.is_idle(patience, asked);
            self.lines.iter_mut().filter(suspect).for_each(Line::cut_off);
        }
    }

    /// How long those who wait may do so in silence, `least` where none was cut off before.
    fn patience(&self, least: Duration) -> Duration {
        let waiting = self.lines.iter().filter(|line| line.asked.is_some());
        let cuts = waiting.map(|line| line.cuts).max().unwrap_or_default();
        let longer = least.saturating_mul(2u32.saturating_pow(cuts));
        longer.min(AT_MOST_AFTER_CUTS)
    }

    fn cut_overdue(&self, now: Instant) {
        let is_overdue = |line: &&Line| line.asked.is_some_and(|asked| asked + OVERDUE <= now);
        self.lines
            .iter()
            .filter(is_overdue)
            .for_each(|line| line.cut.cancel());
    }
}

impl Instrumentation for Ear {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        let now = clock::now();
        match event {
            InstrumentationEvent::StartQuery { .. } => self.silence.lock().asked(self.lane, now),
            InstrumentationEvent::FinishQuery { error, .. } if is_of_connection(error) => {
                self.silence.left(self.lane);
            }
            InstrumentationEvent::FinishQuery { .. } => self.silence.lock().answered(self.lane, now),
            _ => {}
        }
    }
}

/// It broke: nobody has said anything.
fn is_of_connection(error: Option<&Error>) -> bool {
    use DatabaseErrorKind::{ClosedConnection, UnableToSendCommand};
    matches!(
        error,
        Some(Error::DatabaseError(ClosedConnection | UnableToSendCommand, _))
    )
}

/// Runs until the writer has ended.
pub(super) async fn listen(shared: Arc<Shared>, database: Database) {
    tokio::select! {
        () = shared.silence.over.cancelled() => {}
        () = shared.listen(&database) => {}
    }
}

impl Shared {
    async fn listen(&self, database: &Database) {
        let least = self.while_silent();
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let asked = clock::now();
            let (patience, since) = {
                let lines = self.silence.lock();
                lines.cut_overdue(asked);
                let patience = lines.patience(least);
                (patience, lines.to_be_asked(patience, asked))
            };
            let Some(since) = since else { continue };
            match timeout(patience, database.answers()).await {
                Ok(true) => self.silence.lock().is_there(patience, asked, clock::now()),
                Ok(false) | Err(_) => self.fall_silent(since),
            }
        }
    }

    /// How long the database may say nothing.
    pub(super) fn while_silent(&self) -> Duration {
        let keeper = self.keeper.as_ref();
        let patience = keeper.map_or(AT_MOST, |keeper| keeper.patience());
        patience.clamp(AT_LEAST, AT_MOST)
    }

    /// Unless something has been heard meanwhile. Asked while the trouble is noted: whoever hears something
    /// ends it afterwards.
    fn fall_silent(&self, since: Instant) {
        let is_silent = || self.silence.lock().heard <= since;
        if self.health.note_connecting_if(SAYS_NOTHING, is_silent) {
            self.silence.lock().lines.iter_mut().for_each(Line::cut_off);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_waits_behind_what_was_heard_last_waits_in_silence() {
        let silence = Silence::new(2);
        let mut lines = silence.lock();
        let start = lines.heard;
        assert_eq!(lines.silent_since(), None);
        lines.asked(0, start + SECOND);
        lines.asked(1, start + 2 * SECOND);
        assert_eq!(lines.silent_since(), Some(start + SECOND));
        lines.answered(1, start + 3 * SECOND);
        assert_eq!(lines.silent_since(), Some(start + 3 * SECOND));
        lines.answered(0, start + 4 * SECOND);
        assert_eq!(lines.silent_since(), None);
    }

    #[test]
    fn who_was_cut_off_is_waited_for_longer_until_its_work_is_done() {
        let silence = Arc::new(Silence::new(2));
        let now = silence.lock().heard;
        let cut_off = || {
            let mut lines = silence.lock();
            lines.asked(0, now);
            lines.lines.iter_mut().for_each(Line::cut_off);
            lines.patience(SECOND)
        };
        assert_eq!([cut_off(), cut_off()], [2 * SECOND, 4 * SECOND]);
        let (_ear, cut) = silence.listen_to(0);
        assert_eq!(
            (cut.is_cancelled(), silence.lock().patience(SECOND)),
            (false, SECOND)
        );
        silence.lock().asked(1, now);
        assert_eq!(
            silence.lock().patience(SECOND),
            SECOND,
            "it was not the one that waited"
        );
        for _ in 0..40 {
            assert!(cut_off() <= AT_MOST_AFTER_CUTS);
        }
        for lane in [0, 1] {
            silence.done(lane);
        }
        assert_eq!(silence.lock().patience(SECOND), SECOND);
    }

    #[test]
    fn who_waits_longer_than_it_may_is_cut_off_with_the_idle_where_a_question_is_answered() {
        let silence = Arc::new(Silence::new(4));
        let cuts: Vec<_> = (0..4).map(|lane| silence.listen_to(lane).1).collect();
        let cut_off = || {
            cuts.iter()
                .map(CancellationToken::is_cancelled)
                .collect::<Vec<_>>()
        };
        silence.may_last(1);
        let mut lines = silence.lock();
        let start = lines.lines[3].heard;
        lines.asked(0, start + SECOND);
        lines.asked(1, start + SECOND);
        lines.asked(2, start + 3 * SECOND);
        let now = start + SECOND + ANSWERED_BY;
        lines.heard = now;
        assert_eq!(lines.to_be_asked(SECOND, now - SECOND / 2), None);
        assert_eq!(lines.to_be_asked(SECOND, now), Some(now));
        lines.is_there(SECOND, now, now);
        assert_eq!(cut_off(), [true, false, false, true], "a commit may take longer");
        assert_eq!(lines.patience(SECOND), 2 * SECOND);
    }

    #[test]
    fn one_line_that_is_overdue_is_cut_alone() {
        let silence = Arc::new(Silence::new(2));
        let ((_, of_one), (_, of_other)) = (silence.listen_to(0), silence.listen_to(1));
        let now = silence.lock().heard + OVERDUE;
        silence.lock().asked(0, now - OVERDUE);
        silence.lock().asked(1, now - SECOND);
        silence.lock().cut_overdue(now);
        assert!(of_one.is_cancelled() && !of_other.is_cancelled());
    }
}
