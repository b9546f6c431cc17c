//! A stand-in for a provider's user API on loopback, for trying and testing without an account.
//!
//! `clerk` plays Clerk; everything else here plays Stack Auth. That behaves like a recorded server of backend version 2.8.86: errors that arrive as HTTP 200,
//! inclusive cursors that end silently once their user is gone, client and server views, keys and
//! tokens that are really checked, several projects at one address. Everything lives in memory and
//! goes with the process. Project ids, keys and the first users are the same at every start, so
//! that a database which has met the sandbox knows it again.
//!
//! `routes` is what it answers, one request at a time and without IO; `server` is the only part
//! that knows sockets; [`Control`] is how a test looks inside, works behind a proxy's back and
//! scripts faults. Nothing of a request but its target and the names of its headers is remembered.

mod access;
mod answer;
mod call;
mod clerk;
mod control;
mod data;
mod failure;
mod fault;
mod played;
mod project;
mod rate;
mod routes;
mod seed;
mod server;
mod token;
mod user;
mod view;
mod webhooks;
mod world;
mod write;

use std::net::SocketAddr;
use std::time::Duration;

use crate::config;
use crate::tasks::Tasks;

pub use clerk::Clerk;
pub use control::{Control, Logged, OauthAccount};
pub use fault::{Action, Canned, Fault, Gate};
pub use played::Plays;
pub use webhooks::{Deliveries, Event, Webhooks};

/// What `usertap sandbox` is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The provider it stands in for.
    pub plays: Plays,
    pub listen: SocketAddr,
    /// Users of the first project in all; the others start empty.
    pub users: usize,
    /// Counted per project.
    pub rate: Option<config::Rate>,
    /// Added to every answer.
    pub latency: Duration,
    /// Tenants at the same address, at least one.
    pub projects: usize,
    /// Where the first project's webhooks go.
    pub webhooks: Option<String>,
    /// How they are sent.
    pub deliveries: Deliveries,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            plays: Plays::default(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            users: 0,
            rate: None,
            latency: Duration::ZERO,
            projects: 1,
            webhooks: None,
            deliveries: Deliveries::default(),
        }
    }
}

/// A running sandbox. It ends with the [`Tasks`] it was started on.
#[derive(Debug)]
pub struct Sandbox {
    addr: SocketAddr,
    control: Control,
}

impl Sandbox {
    /// Listens and serves; the port may be 0.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub async fn start(options: Options, tasks: &Tasks) -> std::io::Result<Sandbox> {
        let listener = tokio::net::TcpListener::bind(options.listen).await?;
        let addr = listener.local_addr()?;
        let control = Control::new(&options, format!("http://{addr}"));
        let shell = server::Shell::new(&options, control.clone(), tasks.clone());
        tasks.spawn(server::serve(listener, shell));
        for webhooks in (0..).map_while(|project| control.webhooks(project)) {
            tasks.spawn(webhooks.run(tasks.clone()));
        }
        if let (Some(url), Some(webhooks)) = (options.webhooks, control.webhooks(0)) {
            webhooks.deliver(options.deliveries);
            webhooks.send_to(&url);
        }
        Ok(Sandbox { addr, control })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The settings that point usertap at a project, in the order in which they are printed; every
    /// project but the first has `OTHER_` before each name. Empty for a project that there is not.
    pub fn settings(&self, project: usize) -> Vec<(String, String)> {
        let prefix = if project == 0 { "" } else { "OTHER_" };
        let upstream = format!("http://{}", self.addr);
        let Some(own) = self.control.played().settings(project) else {
            return Vec::new();
        };
        let plays = self.control.plays().name().to_owned();
        let settings = [("USERTAP_PROVIDER", plays), ("USERTAP_UPSTREAM", upstream)];
        let settings = settings.into_iter().chain(own);
        settings
            .map(|(name, value)| (format!("{prefix}{name}"), value))
            .collect()
    }

    /// For tests in the same process.
    pub fn control(&self) -> &Control {
        &self.control
    }
}
