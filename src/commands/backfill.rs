//! `usertap backfill` and `usertap reconcile`: the walk itself, or following another process that
//! does it.
//!
//! Two processes never spend one budget twice: beside a live `serve` (or another backfill) the walk
//! is left to it, also when that `serve` starts later; when it dies, the walk comes back.

use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use uuid::Uuid;

use super::account::{self, Progress};
use crate::clock;
use crate::config::Config;
use crate::db::embedded;
use crate::db::instances::{self, BEAT};
use crate::db::runs::{self, Kind, Run};
use crate::db::{Database, DbError};
use crate::serve::told_to_end;
use crate::station::{self, StartError, Station};
use crate::tasks::Tasks;
use crate::upstream::Upstream;

/// How often the progress is looked up.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// An outage of the database that is waited out while nobody walks here.
const OUTAGE: Duration = Duration::from_secs(120);

/// Which walk is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    kind: Kind,
    /// Deletions are not held back.
    lifted: bool,
}

impl Asked {
    pub const BACKFILL: Asked = Asked {
        kind: Kind::Backfill,
        lifted: false,
    };

    pub fn reconcile(lifted: bool) -> Asked {
        Asked {
            kind: Kind::Reconcile,
            lifted,
        }
    }
}

pub async fn run(config: Config, asked: Asked, json: bool) -> ExitCode {
    let (told, stop) = (told_to_end(), Tasks::default());
    let mut working = pin!(to_its_end(Arc::new(config), asked, &stop));
    let run = tokio::select! {
        run = &mut working => run,
        () = told => {
            stop.stop();
            working.await
        }
    };
    match run {
        Ok(run) => report(&run, json),
        Err(error) => {
            if json {
                say!("{}", serde_json::json!({ "error": error.to_string() }));
            }
            eprintln!("usertap: {error}");
            ExitCode::FAILURE
        }
    }
}

fn report(run: &Run, json: bool) -> ExitCode {
    match json {
        true => say!("{}", account::json(run)),
        false => say!("{}", account::sentence(run)),
    }
    match account::checked(run.clone()) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            let then = match run.is_failed() {
                true => ". Run the same again once that is mended: it goes on where it stopped",
                false => "",
            };
            eprintln!("usertap: {error}{then}");
            ExitCode::FAILURE
        }
    }
}

/// Who has the walk now.
enum Stand {
    Over(Box<Run>),
    /// A `serve` lives, or another backfill walks.
    Another,
    Nobody,
}

async fn to_its_end(config: Arc<Config>, asked: Asked, stop: &Tasks) -> Result<Run, StartError> {
    let upstream = station::upstream(&config, stop)?;
    let (database, embedded) = station::opened(&config, &upstream).await?;
    let walked = walked(&config, &upstream, &database, asked, stop).await;
    embedded::leave(embedded).await;
    walked
}

/// Until it is over, wherever it is walked.
async fn walked(
    config: &Arc<Config>,
    upstream: &Arc<Upstream>,
    database: &Database,
    asked: Asked,
    stop: &Tasks,
) -> Result<Run, StartError> {
    let run = request(database, asked).await.map_err(start_error)?;
    let mut progress = Progress::new();
    let mut goes_on = "started again, it goes on where it stopped";
    let mut give_up = clock::now() + OUTAGE;
    while !stop.is_stopping() {
        let stand = match stand(database, run).await {
            Err(DbError::Away(reason)) if clock::now() < give_up => {
                tracing::debug!(reason, "where the walk stands cannot be looked up");
                wait(stop).await;
                continue;
            }
            stand => stand.map_err(start_error)?,
        };
        match stand {
            Stand::Over(run) => {
                progress.end();
                return Ok(*run);
            }
            Stand::Another => {
                goes_on = "the walk goes on in the usertap that serves this database";
                follow(database, run, stop, &mut progress).await?;
            }
            Stand::Nobody => {
                goes_on = "started again, it goes on where it stopped";
                match walk(config, upstream, database, run, stop, &mut progress).await {
                    // How long that may last is seen at the beginning of a round.
                    Err(DbError::Away(reason)) => {
                        tracing::debug!(reason, "the walk cannot be taken");
                        wait(stop).await;
                        continue;
                    }
                    walked => walked.map_err(start_error)?,
                }
            }
        }
        give_up = clock::now() + OUTAGE;
    }
    progress.end();
    Err(StartError(format!("stopped; {goes_on}")))
}

async fn request(database: &Database, asked: Asked) -> Result<Uuid, DbError> {
    let run = runs::request_a(database, asked.kind).await?;
    if asked.lifted {
        runs::lift(database, run).await?;
    }
    Ok(run)
}

async fn stand(database: &Database, run: Uuid) -> Result<Stand, DbError> {
    let found = runs::one(database, run).await?;
    let found = found
        .ok_or_else(|| DbError::Unfit("the walk is gone from the database: run the backfill again".into()))?;
    if found.is_over() {
        return Ok(Stand::Over(Box::new(found)));
    }
    match found.is_owned || instances::serving(database).await? {
        true => Ok(Stand::Another),
        false => Ok(Stand::Nobody),
    }
}

/// Shows the progress until the walk is over or has nobody any more.
async fn follow(
    database: &Database,
    run: Uuid,
    stop: &Tasks,
    progress: &mut Progress,
) -> Result<(), StartError> {
    tracing::info!("another usertap is at work on this database: it walks, this follows");
    let mut give_up = clock::now() + OUTAGE;
    while !stop.is_stopping() {
        match stand(database, run).await {
            Ok(Stand::Another) => {
                give_up = clock::now() + OUTAGE;
                look(database, run, progress).await;
            }
            Ok(_) => return Ok(()),
            // Who walks waits for the database too.
            Err(DbError::Away(reason)) if clock::now() < give_up => tracing::debug!(reason, "no progress"),
            Err(error) => return Err(start_error(error)),
        }
        wait(stop).await;
    }
    Ok(())
}

/// Until it is time to look again.
async fn wait(stop: &Tasks) {
    tokio::select! {
        () = sleep(LOOK_EVERY) => {}
        () = stop.stopping() => {}
    }
}

/// Walks here until the end, or until a serve comes to life.
async fn walk(
    config: &Arc<Config>,
    upstream: &Arc<Upstream>,
    database: &Database,
    run: Uuid,
    stop: &Tasks,
    progress: &mut Progress,
) -> Result<(), DbError> {
    let tasks = Tasks::default();
    let station = Station::assemble(config.clone(), upstream.clone(), database.clone(), &tasks);
    let walked = tokio::select! {
        walked = walk_unless_served(&station, run, stop) => walked,
        never = show(database, run, progress) => never,
    };
    station.close(clock::now() + config.drain).await;
    // Gone all the same once the heartbeat is old.
    let _ = instances::in_parting(instances::leave(database, station.instance)).await;
    walked
}

async fn walk_unless_served(station: &Station, run: Uuid, stop: &Tasks) -> Result<(), DbError> {
    if station.beat(instances::Kind::Backfill).await?.is_served() {
        return Ok(());
    }
    let Some(run) = runs::take_one(&station.database, station.instance, Some(run)).await? else {
        return Ok(());
    };
    let backfill = station.backfill();
    let mut walking = pin!(backfill.walk_to_its_end(&run));
    tokio::select! {
        () = &mut walking => return Ok(()),
        () = served(station) => {}
        () = stop.stopping() => {}
    }
    station.tasks.stop();
    // With the database away nothing that waits will be written.
    station.recorder.close();
    walking.await;
    Ok(())
}

/// Resolves when a serve has come to life on this database.
async fn served(station: &Station) {
    loop {
        sleep(BEAT).await;
        match station.beat(instances::Kind::Backfill).await {
            Ok(heard) if heard.is_served() => return,
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "no heartbeat"),
        }
    }
}

async fn show(database: &Database, run: Uuid, progress: &mut Progress) -> Result<(), DbError> {
    loop {
        look(database, run, progress).await;
        sleep(LOOK_EVERY).await;
    }
}

async fn look(database: &Database, run: Uuid, progress: &mut Progress) {
    if let Ok(Some(run)) = runs::one(database, run).await {
        progress.show(&run);
    }
}

fn start_error(error: DbError) -> StartError {
    StartError(error.to_string())
}
