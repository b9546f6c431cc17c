//! Who else is at work on this database, and what they do to its provider. A heartbeat that stopped
//! is a process that died.
//!
//! Live processes share the provider's limit: each row holds a part of it. A part only grows under
//! one lock and only by what the others have left, so all parts together are never more than the
//! whole; it shrinks whenever its owner says so. A process that was silent for so long that the
//! others had to take it for dead is told so, and takes nobody for dead for a while: it may have
//! been the database that was away. A heartbeat from a time to come is of a clock that has been set back
//! since: it is as good as one as old.

use std::future::Future;
use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Double, Nullable, Text, Uuid as SqlUuid};
use diesel_async::SimpleAsyncConnection;
use tokio::time::timeout;
use uuid::Uuid;

use super::statement::{Bind, execute, load, optional, statement};
use super::{Database, DbError};

/// How often a live process says so.
pub const BEAT: Duration = Duration::from_secs(1);
/// Silent for so long, it is dead: five missed beats, so that a slow commit is no death.
pub const DEAD_AFTER: Duration = Duration::from_secs(5);

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Serve,
    Backfill,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Serve => "serve",
            Kind::Backfill => "backfill",
        }
    }
}

/// What a process tells the others of itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Said {
    pub kind: Kind,
    /// What apps, and what usertap itself, could use of the provider's limit: each from 0 to 1.
    pub apps: f64,
    pub own: f64,
    /// For so many seconds the provider wants nothing from anybody, or nothing of usertap's own.
    pub everyone_yields: Option<f64>,
    pub own_yields: Option<f64>,
}

/// Another live process.
#[derive(Debug, Clone, PartialEq, QueryableByName)]
pub struct Other {
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    #[diesel(sql_type = Bool)]
    pub serves: bool,
    /// The part of the provider's limit that it holds.
    #[diesel(sql_type = Double)]
    pub share: f64,
    #[diesel(sql_type = Double)]
    pub apps: f64,
    #[diesel(sql_type = Double)]
    pub own: f64,
    #[diesel(sql_type = Nullable<Double>)]
    pub everyone_yields: Option<f64>,
    #[diesel(sql_type = Nullable<Double>)]
    pub own_yields: Option<f64>,
    /// It has looked at who is there since this process came.
    #[diesel(sql_type = Bool)]
    pub has_met_us: bool,
}

/// What a beat showed.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// What this process said that it could use.
    pub apps: f64,
    pub own: f64,
    pub others: Vec<Other>,
    /// It was not known before.
    pub is_new: bool,
    /// The part of the provider's limit that is written down as this process's.
    pub leased: f64,
    /// Silence before this beat in which others had to take this process for dead.
    pub silence: Option<Duration>,
    /// Whose recorder came to this database last.
    pub recorder: Option<Uuid>,
}

#[derive(QueryableByName)]
struct Before {
    #[diesel(sql_type = Nullable<Double>)]
    silent: Option<f64>,
    #[diesel(sql_type = Double)]
    share: f64,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    recorder: Option<Uuid>,
}

#[derive(QueryableByName)]
struct Share {
    #[diesel(sql_type = Double)]
    share: f64,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// For how long the process `i` was not heard, in seconds.
pub(super) const SILENCE: &str = "abs(extract(epoch FROM now() - i.seen_at))";

const BEATS: &str = "
    WITH before AS (SELECT abs(extract(epoch FROM clock_timestamp() - seen_at))::double precision AS silent
                    FROM {state}.instances WHERE id = $1)
    INSERT INTO {state}.instances AS i (id, kind, started_at, seen_at, apps, own, everyone_until, own_until)
    VALUES ($1, $2, clock_timestamp(), clock_timestamp(), $3, $4, clock_timestamp() + make_interval(secs => $5),
            clock_timestamp() + make_interval(secs => $6))
    ON CONFLICT (id) DO UPDATE SET seen_at = clock_timestamp(), apps = excluded.apps, own = excluded.own,
        everyone_until = excluded.everyone_until, own_until = excluded.own_until,
        started_at = CASE WHEN i.seen_at < clock_timestamp() - make_interval(secs => $7)
                          THEN clock_timestamp() ELSE i.started_at END
    RETURNING (SELECT silent FROM before) AS silent, i.share, (SELECT recorder FROM {state}.meta WHERE only_row LIMIT 1) AS recorder";

const OTHERS: &str = "
    WITH gone AS (DELETE FROM {state}.instances WHERE seen_at < now() - interval '1 day')
    SELECT i.id, i.kind = 'serve' AS serves, i.share, i.apps, i.own,
           extract(epoch FROM i.everyone_until - now())::double precision AS everyone_yields,
           extract(epoch FROM i.own_until - now())::double precision AS own_yields,
           i.seen_at > me.started_at AS has_met_us
    FROM {state}.instances i JOIN {state}.instances me ON me.id = $1
    WHERE i.id <> $1 AND {silence} < $2";

/// Says that `id` lives, and learns who else does: whoever was heard within `horizon`. The dead of
/// more than a day ago are removed.
///
/// # Errors
/// As the database gives them.
pub async fn beat(database: &Database, id: Uuid, said: Said, horizon: Duration) -> Result<Heard, DbError> {
    let mut conn = database.get().await?;
    let sql = database.names.sql(BEATS);
    let beat = statement(&sql)
        .bind::<SqlUuid, _>(id)
        .bind::<Text, _>(said.kind.as_str())
        .bind::<Double, _>(said.apps)
        .bind::<Double, _>(said.own)
        .bind::<Nullable<Double>, _>(said.everyone_yields)
        .bind::<Nullable<Double>, _>(said.own_yields)
        .bind::<Double, _>(DEAD_AFTER.as_secs_f64());
    let before: Option<Before> = optional(beat, &mut conn).await?;
    let (silent, leased, recorder) = before.map_or((None, 0.0, None), |before| {
        (before.silent, before.share, before.recorder)
    });
    let silence = silent
        .and_then(|silent| Duration::try_from_secs_f64(silent).ok())
        .filter(|silence| *silence >= DEAD_AFTER);
    let sql = database.names.sql(OTHERS);
    // Whoever was heard when this process was heard last may have been silent for the same reason.
    let horizon = horizon + silence.unwrap_or_default();
    let others = statement(&sql)
        .bind::<SqlUuid, _>(id)
        .bind::<Double, _>(horizon.as_secs_f64());
    let others = load(others, &mut conn).await?;
    Ok(Heard {
        apps: said.apps,
        own: said.own,
        others,
        is_new: silent.is_none(),
        leased,
        silence,
        recorder,
    })
}

impl Heard {
    /// Whether another `serve` lives.
    pub fn is_served(&self) -> bool {
        self.others.iter().any(|other| other.serves)
    }
}

/// The part of the provider's limit that `id` holds, as the others see it.
///
/// # Errors
/// As the database gives them.
pub async fn share(database: &Database, id: Uuid) -> Result<f64, DbError> {
    let mut conn = database.get().await?;
    let sql = database
        .names
        .sql("SELECT share FROM {state}.instances WHERE id = $1");
    let share: Option<Share> = optional(statement(&sql).bind::<SqlUuid, _>(id), &mut conn).await?;
    Ok(share.map_or(0.0, |share| share.share))
}

/// Leaves what is more than `share` to others: nothing more must be used of it when this is called.
///
/// # Errors
/// As the database gives them.
pub async fn shrink(database: &Database, id: Uuid, share: f64) -> Result<(), DbError> {
    let mut conn = database.get().await?;
    let shrink = database
        .names
        .sql("UPDATE {state}.instances SET share = least(share, $2) WHERE id = $1");
    let shrink = statement(&shrink).bind::<SqlUuid, _>(id).bind::<Double, _>(share);
    execute(shrink, &mut conn).await?;
    Ok(())
}

/// Takes up to `share` of what those who were heard within `horizon` have left; what it came to.
///
/// # Errors
/// As the database gives them.
pub async fn grow(database: &Database, id: Uuid, share: f64, horizon: Duration) -> Result<f64, DbError> {
    // Numbers and an id, so in one text without binds: the lock ends with its statements, whatever
    // becomes of who waits here.
    let (lock, horizon) = (database.names.share_lock(), horizon.as_secs_f64());
    let grow = database.names.sql(&format!(
        "SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '4s';
         SELECT pg_advisory_xact_lock({lock});
         UPDATE {{state}}.instances SET share = greatest(share, least({share}, 1 - (
             SELECT coalesce(sum(i.share), 0) FROM {{state}}.instances i
             WHERE i.id <> '{id}' AND {{silence}} < {horizon})))
         WHERE id = '{id}'"
    ));
    database.get().await?.batch_execute(&grow).await?;
    self::share(database, id).await
}

/// Whether a `serve` is at work on this database.
///
/// # Errors
/// As the database gives them.
pub async fn serving(database: &Database) -> Result<bool, DbError> {
    let mut conn = database.get().await?;
    let sql = database
        .names
        .sql("SELECT count(*) AS count FROM {state}.instances i WHERE i.kind = 'serve' AND {silence} < $1");
    let serving = statement(&sql).bind::<Double, _>(DEAD_AFTER.as_secs_f64());
    let serving: Option<Count> = optional(serving, &mut conn).await?;
    Ok(serving.is_some_and(|serving| serving.count > 0))
}

/// Says goodbye, so that nobody waits for a heartbeat that will not come.
///
/// # Errors
/// As the database gives them.
pub async fn leave(database: &Database, id: Uuid) -> Result<(), DbError> {
    let mut conn = database.get().await?;
    let leave = database.names.sql("DELETE FROM {state}.instances WHERE id = $1");
    execute(statement(&leave).bind::<SqlUuid, _>(id), &mut conn).await?;
    Ok(())
}

/// Tells others what they would find out without it once this process is dead to them: no stop waits longer
/// for a database that does not answer.
///
/// # Errors
/// As the database gives them.
pub async fn in_parting(said: impl Future<Output = Result<(), DbError>>) -> Result<(), DbError> {
    let late = |_| Err(DbError::Away("it does not answer".into()));
    timeout(DEAD_AFTER, said).await.unwrap_or_else(late)
}
