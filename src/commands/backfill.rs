//! `usertap backfill`: the walk itself, or following a serving process that does it.
//!
//! Two processes never spend one budget twice: beside a live `serve` the walk is handed to it,
//! also when that `serve` starts later; when it dies, the walk comes back.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use uuid::Uuid;

use super::account::{self, Progress};
use crate::config::Config;
use crate::db::instances::{self, BEAT, Kind};
use crate::db::runs::{self, Run};
use crate::db::{Database, DbError};
use crate::serve::told_to_end;
use crate::station::{self, StartError, Station};
use crate::tasks::Tasks;

/// How often the progress is looked up.
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub async fn run(config: Config, json: bool) -> ExitCode {
    let run = tokio::select! {
        run = to_its_end(Arc::new(config)) => run,
        () = told_to_end() => Err(StartError("stopped; started again, it goes on where it stopped".into())),
    };
    match run {
        Ok(run) => report(&run, json),
        Err(error) => {
            eprintln!("usertap: {error}");
            ExitCode::FAILURE
        }
    }
}

fn report(run: &Run, json: bool) -> ExitCode {
    if let Some(error) = run.error.as_deref().filter(|_| run.state == "failed") {
        eprintln!(
            "usertap: the backfill failed: {error}. Mend it and run the same again: it goes on where it stopped"
        );
    }
    match json {
        true => println!("{}", account::json(run)),
        false => println!("{}", account::sentence(run)),
    }
    match run.state == "done" && run.balanced() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

async fn to_its_end(config: Arc<Config>) -> Result<Run, StartError> {
    let (database, _embedded) = station::database(&config).await?;
    station::open(&database).await?;
    let run = runs::request(&database).await.map_err(start_error)?;
    let mut progress = Progress::new();
    loop {
        let serving = instances::serving(&database).await.map_err(start_error)?;
        match serving {
            true => follow(&database, run, &mut progress).await?,
            false => walk(&config, &database, run, &mut progress).await?,
        }
        if let Some(ended) = over(&database, run).await? {
            progress.end();
            return Ok(ended);
        }
    }
}

async fn over(database: &Database, run: Uuid) -> Result<Option<Run>, StartError> {
    let found = runs::one(database, run).await.map_err(start_error)?;
    match found {
        Some(run) => Ok(run.is_over().then_some(run)),
        None => Err(StartError(
            "the walk is gone from the database: run the backfill again".into(),
        )),
    }
}

/// Shows the progress until the walk is over or nobody serves any more.
async fn follow(database: &Database, run: Uuid, progress: &mut Progress) -> Result<(), StartError> {
    tracing::info!("a serve is at work on this database: it walks, this follows");
    while instances::serving(database).await.map_err(start_error)? {
        if let Some(at) = runs::one(database, run).await.map_err(start_error)? {
            progress.show(&at);
            if at.is_over() {
                break;
            }
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Walks here until the end, or until a serve comes to life.
async fn walk(
    config: &Arc<Config>,
    database: &Database,
    run: Uuid,
    progress: &mut Progress,
) -> Result<(), StartError> {
    let tasks = Tasks::default();
    let station = Station::assemble(config.clone(), database.clone(), None, &tasks)?;
    let walked = {
        let walking = walk_unless_served(&station);
        let showing = show(database, run, progress);
        tokio::select! {
            walked = walking => walked,
            never = showing => never,
        }
    };
    tasks.stop();
    station.close().await;
    // Gone all the same once the heartbeat is old.
    let _ = instances::leave(database, station.instance).await;
    walked.map_err(start_error)
}

async fn walk_unless_served(station: &Station) -> Result<(), DbError> {
    if station.beat(Kind::Backfill).await?.serving > 0 {
        return Ok(());
    }
    let Some(run) = runs::take(&station.database, station.instance).await? else {
        sleep(LOOK_EVERY).await;
        return Ok(());
    };
    let backfill = station.backfill();
    tokio::select! {
        () = backfill.walk_to_its_end(&run) => Ok(()),
        () = served(station) => runs::release(&station.database, run.run).await,
    }
}

/// Resolves when a serve has come to life on this database.
async fn served(station: &Station) {
    loop {
        sleep(BEAT).await;
        match station.beat(Kind::Backfill).await {
            Ok(others) if others.serving > 0 => return,
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "no heartbeat"),
        }
    }
}

async fn show(database: &Database, run: Uuid, progress: &mut Progress) -> Result<(), DbError> {
    loop {
        if let Ok(Some(run)) = runs::one(database, run).await {
            progress.show(&run);
        }
        sleep(LOOK_EVERY).await;
    }
}

fn start_error(error: DbError) -> StartError {
    StartError(error.to_string())
}
