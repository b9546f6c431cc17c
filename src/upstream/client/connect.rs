//! Connecting to the origin.

use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper::client::conn::{http1, http2};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use super::super::{Obstacle, RequestBody};
use super::Way;
use super::line::Line;
use super::outgoing::Outgoing;
use super::pool::IDLE;
use super::reach::{self, Reach};
use super::shared::Shared;
use crate::config::ForwardProxy;
use crate::descriptors;
use crate::tasks::Tasks;

/// A connection's bytes, encrypted or not.
pub(super) type Io = MaybeHttpsStream<TokioIo<TcpStream>>;

pub(super) struct Connect {
    origin: Uri,
    both: HttpsConnector<Reach>,
    first_only: HttpsConnector<Reach>,
    patience: Duration,
    tasks: Tasks,
    /// The origin has not shown that it speaks nothing but HTTP/1.1.
    may_share: AtomicBool,
}

impl Connect {
    /// `patience`: for the address, the connection, the tunnel and TLS together.
    pub fn to(
        origin: Uri,
        tls: ClientConfig,
        proxy: Option<&ForwardProxy>,
        patience: Duration,
        tasks: &Tasks,
    ) -> Connect {
        let reach = Reach::new(tcp(patience), proxy);
        let connector = || {
            HttpsConnectorBuilder::new()
                .with_tls_config(tls.clone())
                .https_or_http()
        };
        Connect {
            may_share: AtomicBool::new(origin.scheme() == Some(&Scheme::HTTPS)),
            both: connector().enable_all_versions().wrap_connector(reach.clone()),
            first_only: connector().enable_http1().wrap_connector(reach),
            origin,
            patience,
            tasks: tasks.clone(),
        }
    }

    /// Whether the next connection may be one for all requests.
    pub fn may_share(&self) -> bool {
        self.may_share.load(Ordering::Relaxed)
    }

    /// A new connection.
    pub async fn way(&self) -> Result<Way, Obstacle> {
        let connected = async {
            let io = self.io(&self.both).await?;
            let is_second = io.connected().is_negotiated_h2();
            self.may_share.store(is_second, Ordering::Relaxed);
            match is_second {
                true => self.shared(io).await.map(Way::Shared),
                false => own(io).await.map(|line| Way::Own(Box::new(line))),
            }
        };
        self.in_time(connected).await
    }

    /// A new connection that may become something else than HTTP.
    pub async fn upgradable(&self) -> Result<http1::SendRequest<RequestBody>, Obstacle> {
        let connected = async {
            let (sender, connection) = http1::handshake(self.io(&self.first_only).await?)
                .await
                .map_err(|_| Obstacle::Broken)?;
            self.in_background(connection.with_upgrades());
            Ok(sender)
        };
        self.in_time(connected).await
    }

    async fn io(&self, connector: &HttpsConnector<Reach>) -> Result<Io, Obstacle> {
        // It is always ready: it has no queue.
        let connected = connector.clone().call(self.origin.clone()).await;
        connected.map_err(|error| obstacle(&*error))
    }

    async fn shared(&self, io: Io) -> Result<Shared, Obstacle> {
        let (sender, connection) = http2::Builder::new(self.tasks.clone())
            .timer(TokioTimer::new())
            .adaptive_window(true)
            .keep_alive_interval(IDLE)
            .handshake(io)
            .await
            .map_err(|_| Obstacle::Broken)?;
        self.in_background(connection);
        Ok(Shared::new(sender, self.patience))
    }

    /// A connection ends with the last who may send over it.
    fn in_background(&self, connection: impl Future<Output = hyper::Result<()>> + Send + 'static) {
        self.tasks.spawn(async {
            // Whoever sends over it is told.
            let _ended = connection.await;
        });
    }

    async fn in_time<T>(&self, connected: impl Future<Output = Result<T, Obstacle>>) -> Result<T, Obstacle> {
        let connected = timeout(self.patience, connected).await;
        connected.unwrap_or(Err(Obstacle::Silent))
    }
}

/// As the connector calls a host's name that was not found.
const UNRESOLVED: &str = "dns error";

fn obstacle(error: &(dyn Error + 'static)) -> Obstacle {
    let all = || std::iter::successors(Some(error), |&error| cause(error));
    let mut of_io = all().filter_map(|error| error.downcast_ref::<io::Error>());
    // Whatever else it is called: a name is looked up over a connection too.
    if of_io.any(descriptors::is_short) {
        return Obstacle::Short;
    }
    all().find_map(told).unwrap_or(Obstacle::Broken)
}

/// What an error of input or output wraps is not its source.
fn cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    wrapped.map(|error| error as _).or_else(|| error.source())
}

fn told(error: &(dyn Error + 'static)) -> Option<Obstacle> {
    if let Some(obstacle) = reach::told(error) {
        return Some(obstacle);
    }
    match error.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::InvalidCertificate(_)) => return Some(Obstacle::Untrusted),
        Some(rustls::Error::InvalidMessage(_)) => return Some(Obstacle::Plain),
        _ => {}
    }
    match error.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => Some(Obstacle::Refused),
        Some(io::ErrorKind::TimedOut) => Some(Obstacle::Silent),
        _ => (error.to_string() == UNRESOLVED).then_some(Obstacle::Nameless),
    }
}

fn tcp(patience: Duration) -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(IDLE * 3));
    // Shared by the addresses of a name, so that one that is silent leaves time for the next.
    tcp.set_connect_timeout(Some(patience));
    tcp
}

async fn own(io: Io) -> Result<Line, Obstacle> {
    let (io, has_left) = Outgoing::of(io);
    let (sender, connection) = http1::handshake(io).await.map_err(|_| Obstacle::Broken)?;
    Ok(Line::new(sender, connection, has_left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Failed(&'static str, #[source] io::Error);

    #[test]
    fn a_name_that_cannot_be_looked_up_for_want_of_descriptors_is_not_unknown() {
        let emfile = nix::errno::Errno::EMFILE as i32;
        for (what, code, found) in [
            (UNRESOLVED, emfile, Obstacle::Short),
            ("tcp open error", emfile, Obstacle::Short),
            (UNRESOLVED, 0, Obstacle::Nameless),
        ] {
            assert_eq!(
                obstacle(&Failed(what, io::Error::from_raw_os_error(code))),
                found,
                "{what}"
            );
        }
    }
}
