//! The database: how to reach it, the schema, and the statements' form.
//!
//! A [`Database`] is one tenant's: its schema names and id type are in it, nothing is global.
//! Statements that write `users_sync` and the change rows stand in `record/sql*` alone.

pub mod columns;
pub mod connect;
pub mod due;
pub mod embedded;
pub mod epochs;
pub mod fitness;
mod hosts;
pub mod idle;
pub mod instances;
pub mod listing;
pub mod migrate;
pub mod missing;
pub mod names;
pub mod opening;
pub mod partitions;
pub mod polls;
pub mod publication;
pub mod references;
pub mod rights;
pub mod rows;
pub mod runs;
pub mod statement;
pub mod surroundings;
pub mod tenant;
pub mod time;
pub mod to_come;
pub mod unseen;
pub mod users_table;
pub mod walked;

use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::TimeoutType;
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::pooled_connection::deadpool::{Object, Pool, PoolError};

use crate::failpoint;

pub use connect::{Reach, Way, Wire};
pub use idle::Idle;
pub use names::Names;
pub use opening::Opening;

use idle::Asked;

/// Connections for reads beside the recorder's own one.
const POOL: usize = 4;
/// A pool that gives nothing for so long means a database that is away.
const POOL_WAIT: Duration = Duration::from_secs(5);
/// A connection that is no sooner at rest is in the midst of what somebody has given up, perhaps for ever (a commit
/// that a standby must confirm): another one is taken.
const AT_REST: Duration = Duration::from_secs(1);

const UNCONNECTED: &str = "no connection within 5 s: it hangs, or a pooler before it has none left (a `serve` has up to eight \
     through it, a walk of its own four more)";

/// So long a start waits for an answer about the schema: shorter than the bounds that the database itself has.
const LOOK_WAIT: Duration = Duration::from_secs(4);

/// One tenant's database; cheap to clone.
#[derive(Clone)]
pub struct Database {
    pool: Pool<AsyncPgConnection>,
    pub reach: Arc<Reach>,
    pub names: Arc<Names>,
    opening: Option<Arc<Opening>>,
    idle: Arc<Idle>,
    asked: Asked,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// Why the database did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// No connection, or it broke: whether the last statement happened is not known.
    #[error("the database cannot be reached: {0}")]
    Away(String),
    /// The server answered with an error. `kind` never quotes data.
    #[error("the database refused: {kind}{}", .place.as_deref().map(|p| format!(" ({p})")).unwrap_or_default())]
    Refused { kind: Refusal, place: Option<String> },
    /// Settings and database do not go together; the sentence says what to do.
    #[error("{0}")]
    Unfit(String),
}

impl DbError {
    /// `meta` and `feed_floor` have one row each, from the first migration on.
    pub fn without_meta() -> DbError {
        DbError::Unfit(
            "usertap's table meta, or feed_floor, is empty: where row-level security hides it `usertap doctor` says so; otherwise \
             restore it from a backup, or drop the schemas of usertap's tables and of users_sync (foreign keys to it go with \
             them) and start again"
                .into(),
        )
    }
}

/// What of the database does not do for usertap, and what makes it so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfitness {
    pub what: String,
    pub remedy: String,
}

impl std::fmt::Display for Unfitness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.what, self.remedy)
    }
}

impl From<Unfitness> for DbError {
    fn from(unfit: Unfitness) -> Self {
        DbError::Unfit(unfit.to_string())
    }
}

/// What sort of refusal, without the message: that may quote a user's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Constraint,
    ReadOnly,
    Serialization,
    Privilege,
    /// A row was left out without an error.
    Suppressed,
    /// It was given up after as long as it was given.
    TooLong,
    /// Somebody else has what a migration needs; it passes by itself.
    Locked,
    Other,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Refusal::Constraint => "a constraint was violated",
            Refusal::ReadOnly => "it is read-only",
            Refusal::Serialization => "a concurrent transaction won",
            Refusal::Privilege => "usertap's user lacks a right or an ownership (SQLSTATE 42501)",
            Refusal::Suppressed => "a trigger or a policy of users_sync suppressed a row",
            Refusal::TooLong => "it took longer than it may",
            Refusal::Locked => "a lock that a migration needs is not to be had",
            Refusal::Other => "it could not carry out a statement, and its log says which",
        })
    }
}

impl From<diesel::result::Error> for DbError {
    fn from(error: diesel::result::Error) -> Self {
        use diesel::result::DatabaseErrorKind as Kind;
        use diesel::result::Error;
        let Error::DatabaseError(kind, about) = error else {
            return DbError::Refused {
                kind: Refusal::Other,
                place: None,
            };
        };
        let refusal = match kind {
            Kind::UnableToSendCommand | Kind::ClosedConnection => {
                return DbError::Away("the connection broke".into());
            }
            Kind::ReadOnlyTransaction => Refusal::ReadOnly,
            Kind::SerializationFailure => Refusal::Serialization,
            Kind::Unknown if about.message().starts_with("prepared statement ") => {
                return DbError::Unfit(fitness::LOSES_STATEMENTS.into());
            }
            Kind::Unknown if is_of_an_end(about.message()) => {
                return DbError::Away("it ended the connection in the midst of a statement".into());
            }
            Kind::Unknown if is_of_privilege(about.message()) => Refusal::Privilege,
            Kind::Unknown => Refusal::Other,
            _ => Refusal::Constraint,
        };
        let place = about.constraint_name().or(about.table_name()).map(str::to_owned);
        DbError::Refused { kind: refusal, place }
    }
}

/// The last word on a connection, by a server that is stopped, ends a session or is a standby that must go on, and by
/// PgBouncer whose server is gone.
fn is_of_an_end(message: &str) -> bool {
    [
        "terminating connection ",
        "server conn crashed",
        "query_wait_timeout",
        "pgbouncer cannot connect to server",
    ]
    .iter()
    .any(|beginning| message.starts_with(beginning))
}

/// The client's error does not carry the SQLSTATE, and its message is looked at, never shown. A server
/// that speaks another language gives [`Refusal::Other`]: [`rights`] tells it from the catalogue.
fn is_of_privilege(message: &str) -> bool {
    ["permission denied ", "must be owner of "]
        .iter()
        .any(|beginning| message.starts_with(beginning))
}

impl Database {
    /// A pool that connects when it is first asked.
    pub fn new(reach: Reach, names: Names) -> Database {
        let manager = AsyncDieselConnectionManager::new_with_config(reach.url(), reach.manager_config());
        let pool = Pool::builder(manager)
            .max_size(POOL)
            .wait_timeout(Some(POOL_WAIT))
            .create_timeout(Some(POOL_WAIT))
            .recycle_timeout(Some(AT_REST))
            .runtime(deadpool::Runtime::Tokio1)
            .build();
        Database {
            pool: pool.unwrap_or_else(|_| unreachable!("timeouts are given with their runtime")),
            reach: Arc::new(reach),
            names: Arc::new(names),
            opening: None,
            idle: Arc::default(),
            asked: Asked::OfNeed,
        }
    }

    /// To be left alone once nobody has needed it for so long.
    pub fn left_alone_after(self, idle: Option<Duration>) -> Database {
        Database {
            idle: Arc::new(Idle::after(idle)),
            ..self
        }
    }

    /// To be opened before its first use.
    pub fn opened_by(self, opening: Opening) -> Database {
        Database {
            opening: Some(Arc::new(opening)),
            ..self
        }
    }

    /// A connection for reads and small writes.
    ///
    /// # Errors
    /// [`DbError::Away`] when none comes within five seconds.
    pub async fn get(&self) -> Result<Object<AsyncPgConnection>, DbError> {
        self.asked_for().await;
        self.pool
            .get()
            .await
            .map_err(|error| DbError::Away(ungiven(&error)))
    }

    /// Whether it answers anything. Asked on a connection of its own: those for reads may all be in use.
    pub async fn answers(&self) -> bool {
        connect::answers(&self.reach).await
    }

    /// The recorder's own connections, their wires in its hand.
    ///
    /// # Errors
    /// [`DbError::Away`].
    pub async fn connect_on_wire(&self) -> Result<(AsyncPgConnection, Wire), DbError> {
        self.asked_for().await;
        in_time(connect::establish_on_wire(&self.reach)).await
    }

    /// A connection of the caller's own.
    ///
    /// # Errors
    /// [`DbError::Away`].
    pub async fn connect(&self) -> Result<AsyncPgConnection, DbError> {
        self.asked_for().await;
        in_time(connect::establish_bounded(&self.reach)).await
    }

    /// The same with nothing set on it.
    async fn connect_plainly(&self) -> Result<AsyncPgConnection, DbError> {
        in_time(connect::establish(&self.reach.way)).await
    }

    /// Past a pooler, for migrations.
    ///
    /// # Errors
    /// [`DbError::Away`].
    pub async fn connect_directly(&self) -> Result<AsyncPgConnection, DbError> {
        self.asked_for().await;
        in_time(connect::establish(&self.reach.direct)).await
    }

    /// Those that are idle. Ones made before a migration may hold plans of the old tables.
    pub fn forget_connections(&self) {
        self.pool.retain(|_, _| false);
    }
}

fn ungiven(error: &PoolError) -> String {
    match error {
        PoolError::Timeout(TimeoutType::Wait) => format!("all {POOL} connections for reads are in use"),
        PoolError::Timeout(_) => UNCONNECTED.into(),
        error => connect::reason(error),
    }
}

async fn in_time<T>(connecting: impl Future<Output = diesel::ConnectionResult<T>>) -> Result<T, DbError> {
    let connected = tokio::time::timeout(POOL_WAIT, connecting).await;
    connected
        .map_err(|_| DbError::Away(UNCONNECTED.into()))?
        .map_err(|error| DbError::Away(connect::reason(&error)))
}

/// A database that is not to be looked at in time is away, whatever keeps it.
async fn looked<T>(at_most: Duration, look: impl Future<Output = Result<T, DbError>>) -> Result<T, DbError> {
    let at_most = failpoint::wait("look", at_most);
    let looked = tokio::time::timeout(at_most, look).await;
    looked.unwrap_or_else(|_| {
        Err(DbError::Away(format!(
            "no answer about usertap's own tables within {} s: somebody has locked one of them (pg_locks shows who), \
             or the server hangs",
            at_most.as_secs()
        )))
    })
}
