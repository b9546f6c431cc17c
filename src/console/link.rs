//! Whether the provider takes the key: asked while somebody looks, never more often than it says here.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Semaphore;

use super::Console;
use crate::clock;
use crate::probe::{self, Found, REMEDY};
use crate::upstream::{Priority, UpstreamError};

/// A good answer is good for so long.
const GOOD: Duration = Duration::from_secs(15);
/// Somebody is waiting for it to be mended.
const BAD: Duration = Duration::from_secs(3);
/// A page does not wait longer for the first answer.
const FIRST: Duration = Duration::from_millis(700);

/// What the provider said, and when.
#[derive(Debug, Clone)]
pub struct Said {
    pub at: DateTime<Utc>,
    pub what: Connection,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    Connected,
    /// It answered, and does not take the key for this tenant.
    Refused(u16),
    Away(UpstreamError),
    NoKey,
}

impl Connection {
    pub fn is_good(self) -> bool {
        self == Connection::Connected
    }

    /// Why not, and what to do.
    pub fn problem(self) -> Option<(String, &'static str)> {
        match self {
            Connection::Connected => None,
            Connection::Refused(status) => {
                Some((format!("it answered {status} to usertap's own request"), REMEDY))
            }
            Connection::Away(error) => {
                let remedy = "apps' reads are answered stale where they can be and writes fail until it is back; \
                              check UPSTREAM, the way there, and the provider's own status page";
                Some((error.to_string(), remedy))
            }
            Connection::NoKey => Some((
                "there is no server key".into(),
                "set the provider's secret server key: the page Connect shows how",
            )),
        }
    }
}

#[derive(Debug)]
pub struct Link {
    said: Mutex<Option<Said>>,
    project: Mutex<Option<String>>,
    /// One asks at a time.
    turn: Semaphore,
}

impl Default for Link {
    fn default() -> Link {
        Link {
            said: Mutex::default(),
            project: Mutex::default(),
            turn: Semaphore::new(1),
        }
    }
}

impl Link {
    /// What it said last.
    pub fn said(&self) -> Option<Said> {
        lock(&self.said).clone()
    }

    /// What the tenant is called there, once that is known.
    pub fn project(&self) -> Option<String> {
        lock(&self.project).clone()
    }

    fn is_due(&self) -> bool {
        self.said().is_none_or(|said| {
            let good = if said.what.is_good() { GOOD } else { BAD };
            (clock::wall() - said.at).to_std().is_ok_and(|age| age >= good)
        })
    }
}

/// Asks where it is due, without keeping the page waiting for it; the first time a moment at most.
pub async fn looked_at(console: &Console) -> Option<Said> {
    if console.link.is_due() {
        let asked = console.station.tasks.spawn(ask(console.clone()));
        if console.link.said().is_none() {
            let _late = tokio::time::timeout(FIRST, asked).await;
        }
    }
    console.link.said()
}

async fn ask(console: Console) {
    let Ok(_turn) = console.link.turn.try_acquire() else {
        return;
    };
    let station = &console.station;
    let found = tokio::select! {
        found = probe::ask(&station.config, &station.upstream) => found,
        () = station.tasks.stopping() => return,
    };
    let what = match found {
        Found::Accepts(_) => Connection::Connected,
        Found::Refuses(status) => Connection::Refused(status.as_u16()),
        Found::Away(error) => Connection::Away(error),
        Found::NoKey => Connection::NoKey,
    };
    let at = clock::wall();
    *lock(&console.link.said) = Some(Said { at, what });
    if what.is_good() && console.link.project().is_none() {
        *lock(&console.link.project) = project(&console).await;
    }
}

async fn project(console: &Console) -> Option<String> {
    let config = &console.station.config;
    let request = config.provider.project_request(&config.tenant)?;
    let answer = console.station.upstream.own(request, Priority::App).await.ok()?;
    config
        .provider
        .project_name(answer.status, &answer.headers, &answer.body)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
