//! What the database stands on, and how it gives way: a server that is stopped in haste or killed, a standby that
//! takes over, a pooler that is restarted. Everybody comes by one way, which leads to whichever server it is.

use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tokio::time::sleep;
use usertap::db::embedded::Embedded;

use super::climate::{Climate, Ground};
use super::dice::Dice;
use super::{Chaos, World};
use crate::processes::{Reachable, hosted};
use crate::support::process::Process;
use crate::support::relay::Relay;
use crate::support::standby::{Pair, durable};
use crate::support::{eventually, free_port, now, postgres};

/// Sessions of a pooler to the server: as many as all processes have.
const SESSIONS: usize = 60;

pub struct Place {
    /// None where the server is everybody's.
    way: Option<Relay>,
    server: Mutex<Server>,
    pooler: Mutex<Option<Pooler>>,
}

enum Server {
    Shared,
    Own {
        folder: Reachable,
        runs: Embedded,
    },
    Pair(Pair),
    /// The standby, which has taken over.
    After(Pair),
}

pub struct Pooler {
    process: Process,
    program: PathBuf,
    pub port: u16,
}

impl Place {
    /// The world's database is there from now on.
    pub async fn under(world: &mut World, climate: Climate) -> Place {
        let server = match climate.ground {
            Ground::Shared => Server::Shared,
            Ground::Own => {
                let folder = Reachable::new();
                let runs = durable(&folder.0).await;
                Server::Own { folder, runs }
            }
            Ground::Pair => Server::Pair(in_step().await),
        };
        let way = match server.url() {
            Some(url) => Some(leads(world, &url).await),
            None => None,
        };
        let pooler = if climate.is_pooled {
            Pooler::start(world).await
        } else {
            None
        };
        Place {
            way,
            server: Mutex::new(server),
            pooler: Mutex::new(pooler),
        }
    }

    fn leads_to(&self, port: u16) {
        let way = self.way.as_ref().expect("a way of its own");
        way.leads_to(port);
    }

    /// Where the standby listens, if apps of the database are told.
    pub async fn standby_port(&self, climate: Climate) -> Option<u16> {
        match &*self.server.lock().await {
            Server::Pair(pair) if climate.names_both => Some(pair.standby.port),
            _ => None,
        }
    }

    pub async fn pooler_port(&self) -> Option<u16> {
        self.pooler.lock().await.as_ref().map(|pooler| pooler.port)
    }
}

/// The world's URL is by a way that can lead elsewhere later.
async fn leads(world: &mut World, url: &SecretString) -> Relay {
    let mut url: url::Url = url.expose_secret().parse().expect("a URL");
    let way = Relay::to(url.port().expect("a port")).await;
    way.open();
    url.set_port(Some(way.addr.port())).expect("a port");
    world.url = url.to_string().into();
    world.client = postgres::client(&world.url).await;
    way
}

/// The standby has whatever is committed.
async fn in_step() -> Pair {
    let pair = Pair::start().await;
    let client = postgres::client(&pair.primary.url("postgres")).await;
    for statement in [
        "ALTER SYSTEM SET synchronous_standby_names = '*'",
        "SELECT pg_reload_conf()",
    ] {
        client.batch_execute(statement).await.expect("a setting");
    }
    postgres::shows(&pair.primary.url("postgres"), "synchronous_standby_names", "*").await;
    pair
}

impl Server {
    fn url(&self) -> Option<SecretString> {
        match self {
            Server::Shared => None,
            Server::Own { runs, .. } => Some(runs.url("postgres")),
            Server::Pair(pair) => Some(pair.primary.url("postgres")),
            Server::After(pair) => Some(pair.standby.url()),
        }
    }
}

impl Pooler {
    async fn start(world: &World) -> Option<Pooler> {
        let program = hosted::pgbouncer()?;
        let port = free_port();
        let (process, _) = hosted::pooled_at(world, &program, "session", SESSIONS, port).await;
        Some(Pooler {
            process,
            program,
            port,
        })
    }

    async fn again(self, world: &World) -> Pooler {
        self.process.killed().await;
        let (process, _) = hosted::pooled_at(world, &self.program, "session", SESSIONS, self.port).await;
        Pooler { process, ..self }
    }
}

pub async fn pooler_restarts(chaos: &Chaos, mut dice: Dice) {
    while !chaos.is_over() {
        sleep(dice.millis(3_000, 12_000)).await;
        chaos.lull_passes().await;
        let mut pooler = chaos.place.pooler.lock().await;
        let Some(before) = pooler.take() else { return };
        *pooler = Some(before.again(&chaos.world).await);
        chaos.ledger.count("database: pooler restarted");
    }
}

pub async fn server_falls(chaos: &Chaos, mut dice: Dice) {
    let half = (chaos.ends - now()) / 2;
    let takes_over = now() + half;
    while !chaos.is_over() {
        sleep(dice.millis(4_000, 15_000)).await;
        chaos.lull_passes().await;
        let mut server = chaos.place.server.lock().await;
        let stands = std::mem::replace(&mut *server, Server::Shared);
        *server = match stands {
            Server::Shared => return,
            Server::Own { folder, runs } => {
                ends(chaos, &runs, &mut dice).await;
                drop(runs);
                let runs = durable(&folder.0).await;
                chaos.place.leads_to(runs.port());
                Server::Own { folder, runs }
            }
            Server::Pair(pair) if now() > takes_over => Server::After(fails_over(chaos, pair).await),
            Server::Pair(mut pair) => {
                ends(chaos, &pair.primary, &mut dice).await;
                let folder = pair.primary.folder().parent().expect("its folder").to_owned();
                pair.primary = durable(&folder).await;
                chaos.place.leads_to(pair.primary.port());
                Server::Pair(pair)
            }
            after @ Server::After(_) => after,
        };
    }
}

async fn ends(chaos: &Chaos, server: &Embedded, dice: &mut Dice) {
    let (what, signal) = match dice.below(3) {
        0 => ("stopped fast", Signal::SIGINT),
        1 => ("stopped at once", Signal::SIGQUIT),
        _ => ("killed", Signal::SIGKILL),
    };
    kill(postmaster(server), signal).expect("it runs");
    eventually("the server has ended", || async {
        server.has_ended().then_some(())
    })
    .await;
    sleep(dice.millis(0, 1_500)).await;
    chaos.ledger.count(&format!("database: server {what}"));
}

async fn fails_over(chaos: &Chaos, pair: Pair) -> Pair {
    // What was committed when it was last killed is seen there, whether or not the standby has got it.
    pair.has_got_all(&postgres::client(&pair.standby.url()).await)
        .await;
    kill(postmaster(&pair.primary), Signal::SIGKILL).expect("it runs");
    chaos.place.leads_to(pair.standby.port);
    pair.standby.takes_over().await;
    chaos.ledger.count("database: standby took over");
    pair
}

fn postmaster(server: &Embedded) -> Pid {
    let file = server.folder().join("data/postmaster.pid");
    let text = std::fs::read_to_string(file).expect("it runs");
    let first = text.lines().next().and_then(|pid| pid.trim().parse().ok());
    Pid::from_raw(first.expect("a number"))
}
