//! `usertap serve`: the listeners around a station, and an orderly end.
//!
//! The order of an end: stop accepting, finish requests, drain the recorder, leave the database.
//! Addresses are bound before anything else happens, so that a port in use leaves nothing behind. Whoever is
//! told to end while it starts ends at once.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, join_all, select_all};
use futures_util::stream::FuturesUnordered;
use http::HeaderMap;
use nix::errno::Errno;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use crate::admin::Admin;
use crate::clock;
use crate::config::Config;
use crate::db::instances::Kind;
use crate::descriptors;
use crate::ensure;
use crate::proxy::{
    Judged, Local, LocalAnswer, Named, Parts, Proxy, Readiness, WebhookAnswer, WebhookTaken, WebhookUnread,
};
use crate::station::{StartError, Station, left_behind, note_served};
use crate::status;
use crate::tasks::Tasks;
use crate::user::UserId;
use crate::webhook::{Taken, Unread};

/// Connections that may wait to be taken, where the system allows as many.
const BACKLOG: u32 = 1024;

/// A serving process.
pub struct Serving {
    pub station: Arc<Station>,
    /// Where apps reach the proxy.
    pub listen: SocketAddr,
    pub admin: SocketAddr,
    servers: Tasks,
}

/// Where it listens: nobody is answered yet.
pub struct Listeners {
    proxied: TcpListener,
    admin: TcpListener,
}

/// Serves until the process is told to end.
///
/// # Errors
/// [`StartError`].
pub async fn run(tenants: Vec<Config>) -> Result<(), StartError> {
    let told = told_to_end();
    let left: BTreeSet<PathBuf> = tenants.iter().flat_map(left_behind).collect();
    for folder in left {
        tracing::warn!(
            folder = %folder.display(),
            "a journal that nobody takes over waits here: serve once with the settings under which it was written, \
             until it is empty"
        );
    }
    tracing::debug!(
        allowed = descriptors::allowed(),
        "files and connections that may be open at once"
    );
    if let Some(short) = descriptors::too_few(tenants.len()) {
        tracing::warn!("{}; {}", short.what, short.remedy);
    }
    let mut started = Vec::new();
    let serving = async {
        start_all(tenants, &mut started).await?;
        std::future::pending().await
    };
    let ended = tokio::select! {
        failed = serving => failed,
        () = told => {
            tracing::info!("stopping");
            Ok(())
        }
    };
    stop_all(started).await;
    ended
}

/// Each tenant has everything of its own, and waits for no other; where one cannot start, none is to go on. Those
/// that are starting then come to their start first, so that they can be stopped: in the midst of it they would
/// leave behind what they hold. None of them may take longer over it than over a stop.
///
/// # Errors
/// [`StartError`], naming the tenant where there are several: that of the first which failed.
async fn start_all(tenants: Vec<Config>, started: &mut Vec<Serving>) -> Result<(), StartError> {
    let drain = tenants.iter().map(|config| config.drain).max();
    let mut starts: FuturesUnordered<_> = tenants.into_iter().map(start_one).collect();
    while let Some(start) = starts.next().await {
        match start {
            Ok(serving) => started.push(serving),
            Err(error) => {
                let ended = timeout(drain.unwrap_or_default(), start_the_rest(starts, started));
                if ended.await.is_err() {
                    tracing::warn!("DRAIN is over: a start that is still under way is cut");
                }
                return Err(error);
            }
        }
    }
    Ok(())
}

async fn start_the_rest(
    mut starts: FuturesUnordered<impl Future<Output = Result<Serving, StartError>>>,
    started: &mut Vec<Serving>,
) {
    while let Some(start) = starts.next().await {
        match start {
            Ok(serving) => started.push(serving),
            Err(error) => tracing::error!(%error, "another tenant does not start either"),
        }
    }
}

async fn start_one(config: Config) -> Result<Serving, StartError> {
    let name = config.name.clone();
    let started = Serving::start(config).await;
    started.map_err(|error| match name {
        Some(name) => StartError(format!("tenant {name}: {error}")),
        None => error,
    })
}

/// All at once: `DRAIN` holds for each of them.
pub async fn stop_all(serving: Vec<Serving>) {
    join_all(serving.into_iter().map(Serving::stop)).await;
}

/// SIGINT, SIGTERM or SIGHUP (whoever started it is gone), from this call on: none ends the process by
/// itself any more.
pub fn told_to_end() -> impl Future<Output = ()> + Send {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate()];
    let hangup = (!outlives_hangups()).then(SignalKind::hangup);
    let signals: Result<Vec<Signal>, _> = kinds.into_iter().chain(hangup).map(signal).collect();
    async move {
        let Ok(mut signals) = signals else {
            return std::future::pending().await;
        };
        select_all(signals.iter_mut().map(|signal| Box::pin(signal.recv()))).await;
    }
}

/// Started by `nohup`, it ignores SIGHUP; whoever listens for a signal ignores it no more.
fn outlives_hangups() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // The signals are counted from one.
    ignored.is_some_and(|mask| mask & 1 << (SignalKind::hangup().as_raw_value() - 1) != 0)
}

impl Serving {
    /// Binds, starts and returns once requests are answered.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: Config) -> Result<Serving, StartError> {
        let listeners = Listeners::bind(config.listen, config.admin_listen)?;
        Serving::start_at(listeners, config).await
    }

    /// The same where it is bound already.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_at(listeners: Listeners, config: Config) -> Result<Serving, StartError> {
        let Listeners { proxied, admin } = listeners;
        let config = Arc::new(config);
        let (tasks, servers) = (Tasks::default(), Tasks::default());
        let station = Arc::new(Station::open(config.clone(), &tasks).await?);
        station.keep_up(&servers);
        if station.database.is_open() {
            note_served(&config.journal_dir);
        }
        let proxy = Proxy::new(Parts {
            config: config.clone(),
            recorder: station.recorder.clone(),
            upstream: station.upstream.clone(),
            cache: station.cache.clone(),
            tasks: servers.clone(),
            local: Arc::new(LocalRows {
                station: station.clone(),
            }),
        });
        let proxy = proxy.map_err(|error| StartError(error.to_string()))?;
        let listen = address(&proxied, config.listen);
        let admin_listen = address(&admin, config.admin_listen);
        let console = Admin::new(
            station.clone(),
            proxy.traffic(),
            proxy.door(),
            (listen, admin_listen),
        );
        station.join(Kind::Serve).await;
        station.ask_the_provider().await;
        servers.spawn(proxy.serve(proxied));
        servers.spawn(console.serve(admin, servers.clone()));
        station.feed_consumers();
        tasks.spawn(station.clone().follow_others());
        tasks.spawn(station.clone().tell_others());
        tasks.spawn(station.clone().keep_beating(Kind::Serve));
        tasks.spawn(station.backfill().serve(config.reconcile_every));
        tasks.spawn(station.backfill().find_the_unnamed());
        if let Some((poll, every)) = station.poll() {
            tasks.spawn(poll.serve(every));
        }
        let (provider, tenant) = (&config.tenant.provider, config.name.as_deref());
        tracing::info!(%listen, admin = %admin_listen, provider, tenant, "serving");
        Ok(Serving {
            station,
            listen,
            admin: admin_listen,
            servers,
        })
    }

    /// Drains and ends.
    pub async fn stop(self) {
        let drain = self.station.config.drain;
        let deadline = clock::now() + drain;
        self.servers.stop();
        if !self.servers.ended(drain).await {
            tracing::warn!("DRAIN is over: what is still under way is cut");
        }
        self.station.close(deadline).await;
    }
}

impl Listeners {
    /// # Errors
    /// [`StartError`], naming the setting.
    pub fn bind(listen: SocketAddr, admin_listen: SocketAddr) -> Result<Listeners, StartError> {
        Ok(Listeners {
            proxied: bind("LISTEN", listen)?,
            admin: bind("ADMIN_LISTEN", admin_listen)?,
        })
    }
}

fn bind(setting: &str, address: SocketAddr) -> Result<TcpListener, StartError> {
    let bound = match listener(address) {
        // Without IPv6 all interfaces are those of IPv4.
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && lacks_ipv6(&error) => {
            listener((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        bound => bound,
    };
    bound.map_err(|error| {
        StartError(format!(
            "{setting}={address} cannot be listened on: {error}. Stop what uses it, or set another"
        ))
    })
}

fn listener(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address.is_ipv6() {
        true => TcpSocket::new_v6()?,
        false => TcpSocket::new_v4()?,
    };
    // A port that was in use a moment ago can be taken.
    socket.set_reuseaddr(true)?;
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        // All interfaces are those of IPv4 too, whatever the system makes of it (`net.ipv6.bindv6only`).
        SockRef::from(&socket).set_only_v6(false)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn lacks_ipv6(error: &std::io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL))
}

fn address(listener: &TcpListener, asked: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(asked)
}

/// What the proxied side may ask of the rest of the process.
struct LocalRows {
    station: Arc<Station>,
}

impl Local for LocalRows {
    fn readiness(&self) -> Readiness {
        status::readiness(&self.station)
    }

    fn needs_database(&self) -> Option<BoxFuture<'_, ()>> {
        self.station.needs_database()
    }

    fn takes_key(&self) -> Judged<'_> {
        Box::pin(self.station.is_key_taken())
    }

    fn user(&self, id: UserId, ensure: bool) -> LocalAnswer<'_> {
        Box::pin(ensure::user(&self.station, id, ensure))
    }

    fn settled_user(&self, id: UserId) -> LocalAnswer<'_> {
        Box::pin(ensure::settled_user(&self.station, id))
    }

    fn user_of<'l>(&'l self, alias: &'l str) -> Named<'l> {
        Box::pin(self.station.refetch.user_of(alias))
    }

    fn takes_webhooks(&self) -> bool {
        self.station.webhooks.is_open()
    }

    fn webhook<'l>(&'l self, headers: &'l HeaderMap, body: Bytes) -> WebhookAnswer<'l> {
        Box::pin(async move {
            match self.station.webhooks.take(headers, &body).await {
                Taken::Closed => WebhookTaken::Closed,
                Taken::Acknowledged(word) => WebhookTaken::Acknowledged(word.as_str()),
                Taken::Refused(refused) => WebhookTaken::Refused(refused.as_str()),
                Taken::NotDurable => WebhookTaken::NotDurable,
            }
        })
    }

    fn webhook_unread(&self, why: WebhookUnread) {
        self.station.webhooks.unread(match why {
            WebhookUnread::TooLarge => Unread::TooLarge,
            WebhookUnread::Broken => Unread::Broken,
            WebhookUnread::NotHeld => Unread::NotHeld,
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    /// Also where the system leaves IPv4 out of them (`net.ipv6.bindv6only`).
    #[tokio::test]
    async fn all_interfaces_are_those_of_both_families() {
        let everywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let bound = bind("PORT", everywhere).unwrap();
        let port = bound.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    }
}
