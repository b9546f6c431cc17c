//! What is wrong, each thing under a word of its own and with its remedy. The words are those of
//! the metric `usertap_problems`: an alert names them, so none is ever renamed.

mod held;
mod process;
mod provider;
mod webhooks;

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use crate::config::Config;
use crate::db::runs::Run;
use crate::db::{DbError, Refusal, Unfitness};
use crate::feed::slots::{self, Slot};
use crate::poll;
use crate::proxy::Traffic;
use crate::record;
use crate::refetch::GivenUp;
use crate::station::{Known, NAMED, Station};
use crate::user::on_one_line;
use crate::webhook;

use held::{of_by_hand, of_held, of_subscribed, of_versions};
use process::{of_defects, of_descriptors, of_left_behind};
use provider::of_provider;
use webhooks::{of_unkept, of_webhooks};

/// Something is wrong, and what to do about it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Which of [`WORDS`] it is.
    pub word: &'static str,
    pub what: String,
    pub remedy: String,
}

impl Problem {
    /// For one among several tenants: what is to be typed names it.
    fn of(self, config: &Config) -> Problem {
        let named = |text: String| {
            let text = text.replace("usertap backfill", &config.command("usertap backfill"));
            text.replace("usertap reconcile", &config.command("usertap reconcile"))
        };
        Problem {
            word: self.word,
            what: named(self.what),
            remedy: named(self.remedy),
        }
    }
}

/// Every problem there can be.
pub const WORDS: &[&str] = &[
    "not-recording",
    "journal",
    "journal-unread",
    "journal-damaged",
    "journal-left",
    "writes-unnoted",
    "answers-lost",
    "database-away",
    "database-refuses",
    "database-unfit",
    "partitions-refused",
    "set-aside",
    "rows-held",
    "versions-held",
    "by-hand-waits",
    "by-hand-unseen",
    "walk-failed",
    "walk-unbalanced",
    "walk-short",
    "deletions-held-back",
    "commits-lost",
    "slot-behind",
    "slot-lost",
    "provider-fails",
    "key-refused",
    "not-the-provider",
    "user-unreadable",
    "users-unfit",
    "users-unread",
    "webhooks-refused",
    "webhooks-untimely",
    "webhooks-malformed",
    "webhooks-foreign",
    "webhooks-silent",
    "webhooks-unkept",
    "poll-fails",
    "poll-missed",
    "descriptors-short",
    "defect",
];

fn problem(word: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Problem {
    debug_assert!(WORDS.contains(&word), "{word}");
    Problem {
        word,
        // Ids in it are whatever apps have asked for.
        what: on_one_line(&what.into()).into_owned(),
        remedy: remedy.into(),
    }
}

pub(super) fn all(
    station: &Station,
    traffic: &Traffic,
    known: &Result<Arc<Known>, DbError>,
    recorder: &record::Figures,
    unreadable: &[GivenUp],
    webhooks: Option<&webhook::Figures>,
    poll: Option<&poll::Figures>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(of_recorder(recorder, known.as_deref().ok()));
    problems.extend(of_journal(&recorder.journal));
    problems.extend(of_writes(&recorder.writes));
    problems.extend(of_held(&recorder.held));
    problems.extend(of_by_hand(&recorder.by_hand));
    match known {
        Err(error) => problems.push(of_database(error, kept_as(&recorder.journal))),
        Ok(known) => {
            problems.extend(known.unowned.iter().chain(&known.undropped).map(of_partitions));
            problems.extend(known.surroundings.subscriptions.as_deref().map(of_subscribed));
            problems.extend(known.surroundings.held.unfit().as_ref().map(of_versions));
            problems.extend(of_rows(known));
            problems.extend(known.unknown_epoch.map(of_lost));
            problems.extend(known.backfill.as_ref().and_then(of_walk));
            problems.extend(known.reconcile.as_ref().and_then(of_walk));
            problems.extend(known.missed.map(of_missed));
            problems.extend(known.slots.iter().filter_map(of_slot));
        }
    }
    problems.extend(of_reads(unreadable));
    problems.extend(of_unfit(traffic));
    problems.extend(of_unread(traffic));
    problems.extend(of_descriptors(&station.config));
    problems.extend(of_defects());
    problems.extend(of_left_behind(&station.config));
    problems.extend(of_provider(&station.upstream));
    problems.extend(webhooks.into_iter().flat_map(of_webhooks));
    problems.extend(of_unkept(&station.webhooks));
    problems.extend(poll.and_then(of_poll));
    let named = |problem: Problem| problem.of(&station.config);
    problems.into_iter().map(named).collect()
}

/// How answers leave that the database does not take.
fn kept_as(journal: &record::JournalFigures) -> &'static str {
    match journal.trouble {
        Some(_) => "until then answers leave `queued`",
        None => "until then answers leave `journaled`",
    }
}

fn of_database(error: &DbError, kept: &str) -> Problem {
    let (word, remedy) = match error {
        DbError::Away(_) => {
            let remedy = format!("check DATABASE_URL and that the server runs; {kept}");
            return problem("database-away", error.to_string(), remedy);
        }
        DbError::Refused {
            kind: Refusal::Privilege,
            ..
        } => (
            "database-refuses",
            "run `usertap doctor`: it names what is missing and who must grant it",
        ),
        DbError::Refused {
            kind: Refusal::Locked,
            ..
        } => ("database-refuses", "nothing else is needed than that it ends"),
        DbError::Refused { .. } => (
            "database-refuses",
            "mend what the database's log says, nothing else is needed",
        ),
        DbError::Unfit(_) => ("database-unfit", "do as it says, then restart usertap"),
    };
    problem(word, error.to_string(), remedy)
}

/// What keeps the recorder from a database that does not answer is said once, as the database's.
fn of_recorder(recorder: &record::Figures, known: Option<&Known>) -> impl Iterator<Item = Problem> {
    let kept = kept_as(&recorder.journal);
    let table = known.and_then(|known| known.table.as_ref());
    let waits = known.is_some_and(|known| known.surroundings.is_unconfirmed);
    let waits = waits.then(|| record::NOT_CONFIRMED.to_owned());
    let trouble = match (table, recorder.trouble.as_ref().or(waits.as_ref())) {
        (Some(table), _) => Some(problem(
            "not-recording",
            &*table.what,
            format!("{}; {kept}", table.remedy),
        )),
        (None, Some(trouble)) if known.is_some() => {
            let remedy = format!("mend the database, nothing else is needed; {kept}");
            Some(problem("not-recording", trouble, remedy))
        }
        (None, _) => None,
    };
    let lost = (recorder.lost > 0).then(|| {
        let what = format!(
            "{} answers found the queue full and were not recorded",
            recorder.lost
        );
        problem(
            "answers-lost",
            what,
            "run `usertap reconcile`, then restart usertap",
        )
    });
    trouble.into_iter().chain(lost)
}

/// Said before it matters: a new partition is due only now and then.
fn of_partitions(unfit: &Unfitness) -> Problem {
    problem("partitions-refused", &*unfit.what, &*unfit.remedy)
}

fn of_rows(known: &Known) -> impl Iterator<Item = Problem> {
    known.set_aside.iter().map(|aside| {
        problem(
            "set-aside",
            format!("user {} is set aside: {}", aside.id, aside.reason),
            format!(
                "mend the row or the constraint; it is tried again at {}",
                aside.next_try
            ),
        )
    })
}

fn of_journal(journal: &record::JournalFigures) -> impl Iterator<Item = Problem> {
    let trouble = journal.trouble.as_ref().map(|trouble| {
        problem(
            "journal",
            trouble,
            "until then answers leave `queued` while the database is away, and `kill -9` loses them",
        )
    });
    let damaged = (journal.damaged > 0).then(|| {
        let what = format!(
            "{} answers in the journal could not be read any more",
            journal.damaged
        );
        problem(
            "journal-damaged",
            what,
            "run `usertap reconcile`, then restart usertap",
        )
    });
    let unread = journal.unread.as_ref().map(|unread| {
        problem(
            "journal-unread",
            format!("what an earlier process saw is not all taken in: {unread}"),
            "nothing in it is lost, and it is taken in a moment after it can be read; if it never can, run `usertap reconcile`",
        )
    });
    trouble.into_iter().chain(damaged).chain(unread)
}

fn of_writes(writes: &record::WritesFigures) -> Option<Problem> {
    let remedy = "until then `kill -9` in the middle of a write leaves its user unread: run `usertap reconcile` after one";
    let trouble = writes.trouble.as_ref()?;
    let what = format!("writes are forwarded without a note: {trouble}");
    Some(problem("writes-unnoted", what, remedy))
}

fn of_lost(epoch: i64) -> Problem {
    let what = format!(
        "the database may have lost commits in a failover or a restored backup (epoch {epoch} began with it), and it is \
         not known any more whom all of them wrote"
    );
    problem("commits-lost", what, "run `usertap reconcile`")
}

fn of_slot(slot: &Slot) -> Option<Problem> {
    let (word, what, remedy) = match slot.status {
        slots::Status::Reserved | slots::Status::Extended => return None,
        slots::Status::Unreserved => (
            "slot-behind",
            "is too far behind: what it has not taken is about to go",
            "start its consumer at once, or delete the slot",
        ),
        slots::Status::Lost => (
            "slot-lost",
            "is lost: changes it has not taken are gone",
            "delete it, take the snapshot and make it anew at the snapshot's as_of",
        ),
    };
    Some(problem(word, format!("slot {} {what}", slot.name), remedy))
}

fn of_poll(poll: &poll::Figures) -> Option<Problem> {
    let trouble = poll.trouble.as_ref()?;
    let remedy = "check UPSTREAM, the provider's key and [poll] in the provider file; it is tried again every POLL_EVERY, and nothing is lost meanwhile";
    Some(problem("poll-fails", trouble, remedy))
}

fn of_missed(from: DateTime<Utc>) -> Problem {
    let from = from.to_rfc3339_opts(SecondsFormat::Secs, true);
    problem(
        "poll-missed",
        format!(
            "what changed from {from} on, where polling had stopped, may not have been told: it could not go on from there, and goes on behind that"
        ),
        "run `usertap reconcile`: it finds what changed meanwhile, and this goes once one has ended",
    )
}

/// The first few by name.
fn of_reads(unreadable: &[GivenUp]) -> impl Iterator<Item = Problem> {
    unreadable.iter().take(NAMED as usize).map(|given_up| {
        let wait = given_up.next.saturating_duration_since(crate::clock::now());
        problem(
            "user-unreadable",
            format!(
                "a read of user {} that is owed has failed {} times: {}",
                given_up.user, given_up.attempts, given_up.reason
            ),
            format!(
                "check the provider's key and this user there; it is tried again in {} s, or run `usertap reconcile`",
                wait.as_secs()
            ),
        )
    })
}

fn of_unfit(traffic: &Traffic) -> Option<Problem> {
    let route = traffic.told_of_unfit()?;
    Some(problem(
        "users-unfit",
        format!(
            "an answer of {route} told of users whose id is none of the type of users_sync.id: they have no row"
        ),
        "where the provider's ids are no uuids, set ID_TYPE=text with another SCHEMA and STATE_SCHEMA; this goes an \
         hour after the last such answer",
    ))
}

/// One that is none of the provider's own comes now and then.
const UNREAD: u64 = 10;

fn of_unread(traffic: &Traffic) -> Option<Problem> {
    let unread = traffic.unread();
    (unread >= UNREAD).then(|| {
        problem(
            "users-unread",
            format!("the last {unread} answers that should tell of users could not be read, and nothing of them is recorded"),
            "the log names the routes: hold what is answered there against [user] and [[route]] of the provider's file; of a \
             built-in one, run a newer usertap or report this",
        )
    })
}

fn of_walk(run: &Run) -> Option<Problem> {
    let kind = &run.kind;
    match run.state.as_str() {
        "failed" => Some(problem(
            "walk-failed",
            format!(
                "the {kind} failed: {}",
                run.error.as_deref().unwrap_or("no reason was noted")
            ),
            format!("mend the cause and run `usertap {kind}` again: it goes on where it stopped"),
        )),
        "done" if !run.balanced() => Some(problem(
            "walk-unbalanced",
            format!("the last {kind}'s account does not balance"),
            format!("run `usertap {kind}` again and report this"),
        )),
        "done" if run.held_back > 0 => Some(problem(
            "deletions-held-back",
            format!(
                "{} users who are not in the provider's list were not read: so many deletions at once are held back",
                run.held_back
            ),
            "if they are meant to be gone, run `usertap reconcile --yes`; if not, check UPSTREAM and the key",
        )),
        "done" if run.is_short() => Some(problem(
            "walk-short",
            format!(
                "the last {kind} met {} users, and the provider counts {}",
                run.fetched,
                run.total.unwrap_or_default()
            ),
            format!(
                "run `usertap {kind}` again; where it says the same, the provider counts users whom its list does not show"
            ),
        )),
        _ => None,
    }
}
