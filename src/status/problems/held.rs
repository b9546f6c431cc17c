//! Whom somebody's lock holds up, whose snapshot holds back the database, and changes by SQL that are not told.

use super::{Problem, problem};
use crate::db::Unfitness;
use crate::record;
use crate::station::NAMED;

const UNSEEN: &str = "by-hand-unseen";

pub(super) fn of_held(held: &[String]) -> Option<Problem> {
    locked("rows-held", "what was seen of", "is not in the table yet", held)
}

/// Users are named, the first few.
fn locked(word: &'static str, what: &str, lacks: &str, held: &[String]) -> Option<Problem> {
    let named: Vec<&str> = held.iter().map(String::as_str).take(NAMED as usize).collect();
    let remedy = "end that transaction (pg_locks shows whose it is); nobody else waits meanwhile";
    let what = format!(
        "{what} {} users {lacks}, as another transaction has their rows or states locked: {}",
        held.len(),
        named.join(", ")
    );
    (!held.is_empty()).then(|| problem(word, what, remedy))
}

pub(super) fn of_versions(held: &Unfitness) -> Problem {
    problem("versions-held", &*held.what, &*held.remedy)
}

pub(super) fn of_by_hand(by_hand: &record::ByHandFigures) -> impl Iterator<Item = Problem> {
    const WORD: &str = "by-hand-waits";
    let held = locked(
        WORD,
        "changes by SQL to",
        "are not in the feed yet",
        &by_hand.held,
    );
    let trouble = by_hand.trouble.as_ref().map(|trouble| {
        let what = format!("changes by SQL are not in the feed yet: {trouble}");
        problem(WORD, what, "mend the database; nothing is lost meanwhile")
    });
    let unseen = by_hand.is_deaf.then(|| {
        let what = "changes by SQL are not seen: a trigger of usertap's on users_sync is disabled or gone";
        let remedy = "run ALTER TABLE with ENABLE ALWAYS TRIGGER for usertap_insert, usertap_update, usertap_delete and \
                      usertap_truncate, then `usertap reconcile`";
        problem(UNSEEN, what, remedy)
    });
    held.into_iter().chain(trouble).chain(unseen)
}

/// Postgres runs triggers of rows alone for what a subscription brings.
pub(super) fn of_subscribed(subscriptions: &str) -> Problem {
    let what = format!("what logical replication writes into users_sync is not seen: by {subscriptions}");
    let remedy = "take users_sync out of the publication that it follows and refresh the subscription, or drop it where \
                  this is the server that you move to; then run `usertap reconcile`: usertap writes this table itself";
    problem(UNSEEN, what, remedy)
}
