//! What a run of histories has been through.

use std::fmt;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    History,
    Step,
    Commit,
    /// Processes killed, and started again.
    Kill,
    Outage,
    StartInOutage,
    /// Failovers that lost commits.
    LostCommits,
    NewEpoch,
    /// Epochs that another process had begun.
    Followed,
    /// Users read again because of a loss, and losses of which a process knew too little.
    ReadAgain,
    Unknown,
    /// Connections that broke before and after the commit that they asked for.
    CutBefore,
    CutAfter,
    Overtaken,
    /// Transactions that left out whom another one held.
    Held,
    /// Rows that the database refused.
    Refused,
    Purged,
    Journaled,
    Drained,
    DiskFull,
    /// Writes of which nobody saw the end.
    LostAnswer,
    LateWebhook,
    DoubledWebhook,
    LaggingList,
    /// Answers that said committed, and what they said was there.
    Committed,
    RowCompared,
    Replayed,
}

const NAMES: [(Event, &str); 27] = [
    (Event::History, "histories"),
    (Event::Step, "steps"),
    (Event::Commit, "commits"),
    (Event::Kill, "processes killed and started again"),
    (Event::Outage, "outages of the database"),
    (Event::StartInOutage, "starts during an outage"),
    (Event::LostCommits, "failovers that lost commits"),
    (Event::NewEpoch, "new epochs"),
    (Event::Followed, "epochs that another process had begun"),
    (Event::ReadAgain, "users in doubt because of a loss"),
    (Event::Unknown, "losses that a process knew too little of"),
    (Event::CutBefore, "connections cut before a commit"),
    (Event::CutAfter, "connections cut after a commit"),
    (Event::Overtaken, "transactions overtaken by another process"),
    (Event::Held, "transactions that left out whom another held"),
    (Event::Refused, "rows refused and set aside"),
    (Event::Purged, "rows purged"),
    (Event::Journaled, "submissions journaled"),
    (Event::Drained, "submissions drained from the journal"),
    (Event::DiskFull, "turns in which the disk took nothing"),
    (Event::LostAnswer, "writes without an answer"),
    (Event::LateWebhook, "webhooks delivered late"),
    (Event::DoubledWebhook, "webhooks delivered twice"),
    (Event::LaggingList, "lists that lagged"),
    (Event::Committed, "committed answers checked"),
    (
        Event::RowCompared,
        "rows compared with the provider and the replayed feed",
    ),
    (Event::Replayed, "changes replayed"),
];

#[derive(Debug, Clone, Default)]
pub struct Figures([u64; NAMES.len()]);

impl Figures {
    pub fn count(&mut self, event: Event) {
        self.count_many(event, 1);
    }

    pub fn count_many(&mut self, event: Event, many: u64) {
        self.0[event as usize] += many;
    }

    pub fn add(&mut self, other: &Figures) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum += more;
        }
    }

    pub fn of(&self, event: Event) -> u64 {
        self.0[event as usize]
    }

    /// What never happened.
    pub fn missing(&self) -> Vec<&'static str> {
        let never = NAMES.iter().filter(|(event, _)| self.of(*event) == 0);
        never.map(|(_, name)| *name).collect()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        NAMES
            .iter()
            .try_for_each(|(event, name)| writeln!(f, "{:>10} {name}", self.of(*event)))
    }
}
