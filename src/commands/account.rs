//! A walk's account as people and scripts read it, and its progress while it goes.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::clock::{self, Instant};
use crate::db::runs::{Kind, Run};

/// Between log lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows a walk's progress: a bar on a terminal, log lines otherwise.
pub struct Progress {
    bar: Option<ProgressBar>,
    began: Instant,
    /// Users fetched before this process looked.
    before: Option<i64>,
    line: Instant,
}

impl Progress {
    pub fn new() -> Progress {
        let now = clock::now();
        Progress {
            bar: std::io::stderr().is_terminal().then(ProgressBar::no_length),
            began: now,
            before: None,
            line: now,
        }
    }

    pub fn show(&mut self, run: &Run) {
        let before = *self.before.get_or_insert(run.fetched);
        let rate = (run.fetched - before) as f64 / self.began.elapsed().as_secs_f64().max(0.001);
        match &self.bar {
            Some(bar) => move_bar(bar, run, rate),
            None => self.log(run, rate),
        }
    }

    fn log(&mut self, run: &Run, rate: f64) {
        if self.line.elapsed() >= LINE_EVERY {
            self.line = clock::now();
            let left =
                left(run, rate).map_or_else(String::new, |left| format!(", about {} s left", left.as_secs()));
            let held_up = held_up(run);
            tracing::info!(
                "{}: {} users, {rate:.0} a second{left}{held_up}",
                run.kind,
                run.fetched
            );
        }
    }

    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn move_bar(bar: &ProgressBar, run: &Run, rate: f64) {
    let known = run.total.and_then(|total| u64::try_from(total).ok());
    let form = match known {
        Some(total) => {
            bar.set_length(total);
            "{spinner} {bar:40} {pos} of {len} users  {msg}"
        }
        None => "{spinner} {pos} users  {msg}",
    };
    if let Ok(style) = ProgressStyle::with_template(form) {
        bar.set_style(style);
    }
    let left = left(run, rate).map_or_else(String::new, |left| format!("  {} s left", left.as_secs()));
    bar.set_message(format!("{rate:.0}/s{left}{}", held_up(run)));
    bar.set_position(run.fetched.unsigned_abs());
}

fn held_up(run: &Run) -> String {
    run.error
        .as_ref()
        .map_or_else(String::new, |error| format!("; {error}"))
}

fn left(run: &Run, rate: f64) -> Option<Duration> {
    let left = run.total? - run.fetched;
    Duration::try_from_secs_f64(left as f64 / rate).ok()
}

/// The account as one JSON object, with what went wrong, if anything did.
pub fn json(run: &Run) -> serde_json::Value {
    let mut account = json!({
        "fetched": run.fetched, "inserted": run.inserted, "updated": run.updated, "unchanged": run.unchanged,
        "older": run.older, "set_aside": run.set_aside, "resumed": run.resumed, "balanced": run.balanced(),
    });
    if let (Kind::Reconcile, Some(account)) = (run.kind(), account.as_object_mut()) {
        account.insert("drift".into(), json!(run.drift()));
        account.insert("spared".into(), run.spared.into());
        account.insert("held_back".into(), run.held_back.into());
    }
    if let (Err(error), Some(account)) = (checked(run.clone()), account.as_object_mut()) {
        account.insert("error".into(), error.into());
    }
    account
}

/// The walk, if it reached its end and every user is accounted for.
///
/// # Errors
/// What went wrong, in a sentence.
pub fn checked(run: Run) -> Result<Run, String> {
    match (run.state.as_str(), run.balanced()) {
        ("done", true) if run.held_back > 0 => Err(held_back(&run)),
        ("done", true) => Ok(run),
        ("done", false) => Err(sentence(&run)),
        _ => Err(format!(
            "the {} failed: {}",
            run.kind,
            run.error.as_deref().unwrap_or("no reason was noted")
        )),
    }
}

fn held_back(run: &Run) -> String {
    format!(
        "{} users who are not in the provider's list were not read: so many deletions at once are held back. If the \
         provider is the right one and they are meant to be gone, run `usertap reconcile --yes`",
        run.held_back
    )
}

/// The account as a sentence.
pub fn sentence(run: &Run) -> String {
    let balance = if run.balanced() {
        "the account balances"
    } else {
        "THE ACCOUNT DOES NOT BALANCE"
    };
    let account = format!(
        "{} users fetched: {} inserted, {} updated, {} unchanged, {} older, {} set aside; {balance}",
        run.fetched, run.inserted, run.updated, run.unchanged, run.older, run.set_aside
    );
    let drift = run.drift();
    match run.kind() {
        Kind::Backfill => account,
        Kind::Reconcile => format!(
            "{account}; drift: {} created, {} changed, {} deleted elsewhere; {} not in the list but there, {} held back",
            drift.created, drift.changed, drift.deleted, run.spared, run.held_back
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(fetched: i64, inserted: i64, total: Option<i64>) -> Run {
        Run {
            run: uuid::Uuid::nil(),
            state: "done".into(),
            checkpoint: None,
            fetched,
            met: fetched,
            inserted,
            updated: 0,
            unchanged: 0,
            older: 0,
            set_aside: 0,
            resumed: 0,
            total,
            error: None,
            kind: "backfill".into(),
            lifted: false,
            since: 0,
            deleted: 0,
            deleted_listed: 0,
            spared: 0,
            held_back: 0,
            changed_unlisted: 0,
            is_owned: true,
            started_at: None,
            ended_at: None,
        }
    }

    #[test]
    fn an_account_that_does_not_balance_says_so() {
        assert!(sentence(&run(3, 3, None)).ends_with("the account balances"));
        assert!(sentence(&run(3, 2, None)).ends_with("THE ACCOUNT DOES NOT BALANCE"));
        assert_eq!(json(&run(3, 2, None))["balanced"], false);
    }

    #[test]
    fn time_left_is_told_where_the_total_is_known() {
        assert_eq!(left(&run(50, 0, Some(150)), 10.0), Some(Duration::from_secs(10)));
        assert_eq!(left(&run(50, 0, None), 10.0), None);
        assert_eq!(left(&run(50, 0, Some(150)), 0.0), None);
    }
}
