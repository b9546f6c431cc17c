//! One tenant's parts, put together: what `serve` and a lone `backfill` have in common.
//!
//! The order of a start: the way to the provider, the database (an embedded one is started), the
//! recorder, the reads that are owed. Nothing is recorded before the database is bound to the tenant.
//! What must never be: two ways to the provider in one station, each with a budget of its own.

mod embedded;
mod folder;
mod idle;
mod known;
mod replicas;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::backfill::Backfill;
use crate::cache::Cache;
use crate::clock::{self, Instant};
use crate::config::{self, Config, DatabaseUrl};
use crate::db::embedded::{Embedded, leave};
use crate::db::{Database, DbError, Names, Opening, Reach, Way};
use crate::failpoint;
use crate::feed::Feed;
use crate::feed::retention::Retention;
use crate::poll::{self, Poll};
use crate::probe::{Found, REMEDY, ask};
use crate::reader::Reader;
use crate::record::{Owed, Recorder};
use crate::refetch::Refetch;
use crate::tasks::Tasks;
use crate::upstream::{Answerer, Health, Upstream};
use crate::webhook::Intake;
use folder::{has_served, journal_place};

pub use folder::{left_behind, note_served, try_folder};
pub use known::{Known, NAMED};

/// Between questions to a provider that fails, or whether it is the provider.
const NOW_AND_THEN: Duration = Duration::from_secs(30);
/// Whoever shows a key that is refused spends no more of the provider's limit than this.
const KEY_ASKED_EVERY: Duration = Duration::from_secs(1);
/// A start waits so long to be told by its first question: whoever looks at its status then sees the answer.
const ASKED_AT_ONCE: Duration = Duration::from_secs(2);
/// What is left to the recorder where requests took the whole of `DRAIN`.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// Everything of one tenant in this process.
pub struct Station {
    pub config: Arc<Config>,
    pub database: Database,
    pub recorder: Recorder,
    pub upstream: Arc<Upstream>,
    pub cache: Arc<Cache>,
    pub refetch: Refetch,
    pub webhooks: Intake,
    pub feed: Feed,
    pub tasks: Tasks,
    pub instance: Uuid,
    reader: Reader,
    /// Where polling is on.
    polled: Option<Arc<poll::Counts>>,
    /// The last heartbeat.
    database_answers: AtomicBool,
    standing: replicas::Standing,
    last_known: std::sync::Mutex<Option<Arc<Known>>>,
    /// When somebody with a refused key last made usertap ask whether it is so.
    key_asked: tokio::sync::Mutex<Option<Instant>>,
    embedded: Option<Arc<Embedded>>,
}

/// Why a start failed: a sentence with the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

/// The database of a configuration, started where it is embedded; not yet opened.
///
/// # Errors
/// Where no embedded Postgres can be started or a CA file cannot be read.
pub async fn database(config: &Config) -> Result<(Database, Option<Arc<Embedded>>), StartError> {
    let names = Names {
        users_schema: config.schema.clone(),
        state_schema: config.state_schema.clone(),
        id_type: config.id_type,
    };
    let unread = |error| StartError(format!("the file of the database's authority: {error}"));
    let way = |url: &DatabaseUrl| Way::new(url.url.clone(), url.ca.as_deref()).map_err(unread);
    let (reach, embedded) = match &config.database {
        config::Database::Url { url, direct } => (Reach::new(way(url)?, way(direct)?), None),
        config::Database::Embedded => {
            let embedded = embedded::start(config).await?;
            let way = Way::new(embedded.url("postgres"), None).map_err(unread)?;
            (Reach::by(way), Some(Arc::new(embedded)))
        }
    };
    Ok((Database::new(reach, names), embedded))
}

/// The way to the provider; a stop of the tasks waits for what is on its way.
///
/// # Errors
/// Where the address or the CA is unfit.
pub fn upstream(config: &Config, tasks: &Tasks) -> Result<Arc<Upstream>, StartError> {
    let upstream = Upstream::new(config, tasks);
    upstream
        .map(Arc::new)
        .map_err(|error| StartError(error.to_string()))
}

/// With a wrong key or address a database must not be bound to its tenant for good.
fn opening(config: &Config, upstream: &Arc<Upstream>) -> Opening {
    let (migrate, tenant) = (config.migrate, config.tenant.clone());
    let (config, upstream) = (Arc::new(config.clone()), upstream.clone());
    let ask = move || -> BoxFuture<'static, _> { Box::pin(takes_the_key(config.clone(), upstream.clone())) };
    Opening::new(migrate, tenant, Box::new(ask))
}

async fn takes_the_key(config: Arc<Config>, upstream: Arc<Upstream>) -> Result<(), String> {
    match ask(&config, &upstream).await {
        Found::Refuses(status) => Err(format!(
            "the provider refuses usertap's own request ({status}): {REMEDY}"
        )),
        Found::Away(error) => Err(format!(
            "whether the provider takes the key could not be asked ({error}), and a database is bound to its \
             tenant once and for all: check UPSTREAM and the way there, then start again. Nothing is bound yet"
        )),
        Found::Accepts(_) | Found::NoKey => Ok(()),
    }
}

/// The database of a configuration, migrated and bound: it must be there.
///
/// # Errors
/// [`StartError`] with the remedy.
pub async fn opened(
    config: &Config,
    upstream: &Arc<Upstream>,
) -> Result<(Database, Option<Arc<Embedded>>), StartError> {
    let (database, embedded) = database(config).await?;
    let database = database.opened_by(opening(config, upstream));
    database.open().await.map_err(not_opened)?;
    Ok((database, embedded))
}

/// What is said of a database that is not fit for a start.
pub fn not_opened(error: DbError) -> StartError {
    match error {
        DbError::Away(_) => StartError(format!("{error}. Check DATABASE_URL and that the server runs")),
        error => StartError(error.to_string()),
    }
}

impl Station {
    /// Starts everything of a serving process but the listeners.
    ///
    /// # Errors
    /// [`StartError`]; with a database that is away, or refuses what nobody here can name, only where `DATA_DIR` has
    /// never served.
    pub async fn open(config: Arc<Config>, tasks: &Tasks) -> Result<Station, StartError> {
        let upstream = upstream(&config, tasks)?;
        let (database, embedded) = database(&config).await?;
        let database = database
            .left_alone_after(config.database_idle)
            .opened_by(opening(&config, &upstream));
        match database.open().await {
            Err(error @ (DbError::Away(_) | DbError::Refused { .. })) if has_served(&config.journal_dir) => {
                tracing::warn!(
                    %error,
                    "starting without the database: requests are forwarded, nothing is recorded yet"
                );
            }
            opened => opened.map_err(not_opened)?,
        }
        let (head, place) = (upstream.head().clone(), journal_place(&config));
        let started = Recorder::start_with_journal(database.in_passing(), head, config.deleted, place, tasks);
        let started = started.map_err(|fault| StartError(fault.to_string()))?;
        Ok(Station::put_together(
            config, upstream, database, embedded, started, tasks,
        ))
    }

    /// Puts the parts of a walk around a database: its pages wait for the database, so it has no
    /// journal.
    pub fn assemble(
        config: Arc<Config>,
        upstream: Arc<Upstream>,
        database: Database,
        tasks: &Tasks,
    ) -> Station {
        let head = upstream.head().clone();
        let started = Recorder::start(database.clone(), head, config.deleted, tasks);
        Station::put_together(config, upstream, database, None, started, tasks)
    }

    fn put_together(
        config: Arc<Config>,
        upstream: Arc<Upstream>,
        database: Database,
        embedded: Option<Arc<Embedded>>,
        (recorder, owed): (Recorder, mpsc::Receiver<Owed>),
        tasks: &Tasks,
    ) -> Station {
        let cache = Arc::new(Cache::new(&config));
        let told = cache.clone();
        recorder.on_change(move |user, by| told.heard(user, by));
        let reader = Reader {
            provider: config.provider.clone(),
            tenant: config.tenant.clone(),
            upstream: upstream.clone(),
            recorder: recorder.clone(),
        };
        let refetch = Refetch::start(reader.clone(), database.in_passing(), owed, tasks);
        let webhooks = Intake::new(&config, recorder.clone());
        let polled = config.poll_every.map(|_| Arc::default());
        let keep = config.feed_retention;
        let feed = Feed::new(database.clone(), &config.tenant.provider, Retention { keep });
        Station {
            config,
            database,
            recorder,
            upstream,
            cache,
            refetch,
            webhooks,
            feed,
            tasks: tasks.clone(),
            instance: Uuid::new_v4(),
            reader,
            polled,
            database_answers: AtomicBool::new(true),
            standing: replicas::Standing::default(),
            last_known: std::sync::Mutex::default(),
            key_asked: tokio::sync::Mutex::default(),
            embedded,
        }
    }

    /// The way to one user at the provider.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    pub fn backfill(&self) -> Backfill {
        Backfill {
            reader: self.reader.clone(),
            database: self.database.clone(),
            tasks: self.tasks.clone(),
            instance: self.instance,
        }
    }

    /// Nothing where polling is off.
    pub fn poll(&self) -> Option<(Poll, Duration)> {
        let poll = Poll {
            reader: self.reader.clone(),
            database: self.database.clone(),
            tasks: self.tasks.clone(),
            instance: self.instance,
            counts: self.polled.clone()?,
        };
        Some((poll, self.config.poll_every?))
    }

    /// What polling came to; nothing where it is off.
    pub fn polled(&self) -> Option<poll::Figures> {
        self.polled.as_ref().map(|counts| counts.shown())
    }

    /// The database answered the last heartbeat.
    pub fn database_answers(&self) -> bool {
        self.database_answers.load(Ordering::Relaxed)
    }

    /// The way to the provider for a question about these settings: this process's own where the
    /// provider would count it with what this process sends, one of its own otherwise.
    ///
    /// # Errors
    /// Where the address or the CA is unfit.
    pub fn way_for(&self, config: &Config) -> Result<Arc<Upstream>, StartError> {
        let counts = config.upstream == self.config.upstream && config.tenant.asks_as(&self.config.tenant);
        match counts {
            true => Ok(self.upstream.clone()),
            false => upstream(config, &Tasks::default()),
        }
    }

    /// Who answers at UPSTREAM is asked whether it is the provider, until that is settled, and while it fails, so
    /// that it need not wait for an app to be found well again. Returns once it was asked, or soon.
    pub async fn ask_the_provider(self: &Arc<Self>) {
        let (told, first) = oneshot::channel();
        self.tasks
            .spawn_until_stopped(self.clone().ask_now_and_then(told));
        let _late = timeout(ASKED_AT_ONCE, first).await;
    }

    /// Whether the provider takes the key of usertap's own requests, for all that is known: where it refused it,
    /// it is asked anew now and then. A 403 is its word on a right of the key and not on the key.
    pub async fn is_key_taken(&self) -> bool {
        let is_refused = || self.upstream.refused_key() == Some(401);
        if is_refused() {
            let mut asked = self.key_asked.lock().await;
            if asked.is_none_or(|at| at.elapsed() >= KEY_ASKED_EVERY) {
                drop(ask(&self.config, &self.upstream).await);
                *asked = Some(clock::now());
            }
        }
        !is_refused()
    }

    async fn ask_now_and_then(self: Arc<Self>, told: oneshot::Sender<()>) {
        let again = failpoint::wait("asked-again", NOW_AND_THEN);
        let mut told = Some(told);
        loop {
            let is_settled = self.upstream.answerer() == Answerer::Settled;
            if !is_settled
                || self.upstream.refused_key().is_some()
                || self.upstream.health() != Health::Closed
            {
                drop(ask(&self.config, &self.upstream).await);
            }
            told.take();
            sleep(again).await;
        }
    }

    /// Starts the feed, and tells it and the recorder of each other's news: what is committed here
    /// without a detour by the database, what was changed by hand.
    pub fn feed_consumers(&self) {
        self.feed.follow(&self.tasks);
        let feed = self.feed.clone();
        let mut changed = self.recorder.changed();
        self.tasks.spawn_until_stopped(async move {
            loop {
                match changed.recv().await {
                    Ok(committed) => feed.told(committed.position),
                    // What was missed is behind what comes.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        });
        let (feed, recorder) = (self.feed.clone(), self.recorder.clone());
        self.tasks.spawn_until_stopped(async move {
            loop {
                feed.changed_by_hand().await;
                recorder.changed_by_hand();
            }
        });
    }

    /// Keeps an embedded Postgres up as long as requests are taken: once this process is told to end, it may have been
    /// told the same.
    pub fn keep_up(&self, servers: &Tasks) {
        if let Some(embedded) = self.embedded.clone() {
            servers.spawn_until_stopped(embedded::keep_up(embedded, self.config.clone()));
        }
    }

    /// Writes what waits and ends, at the latest at `deadline`: listeners must have stopped before.
    pub async fn close(&self, deadline: Instant) {
        self.tasks.stop();
        self.recorder.close();
        let left = deadline.saturating_duration_since(clock::now());
        if !self.tasks.ended(left.max(LAST_MOMENT)).await {
            tracing::warn!("not everything ended within DRAIN");
        }
        leave(self.embedded.clone()).await;
    }
}
