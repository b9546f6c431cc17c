//! The way to the origin's port: straight, or through a tunnel that the operator's own proxy makes.
//!
//! What must never be: a request that the proxy can read where the origin speaks TLS.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use http::uri::{Authority, Scheme};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::super::Obstacle;
use crate::config::ForwardProxy;

#[derive(Clone)]
pub(super) enum Reach {
    Straight(HttpConnector),
    Through(Tunnel<HttpConnector>),
}

impl Reach {
    pub fn new(tcp: HttpConnector, proxy: Option<&ForwardProxy>) -> Reach {
        let Some(proxy) = proxy else {
            return Reach::Straight(tcp);
        };
        let tunnel = Tunnel::new(proxy.address.clone(), tcp);
        Reach::Through(match proxy.authorization.clone() {
            Some(authorization) => tunnel.with_auth(authorization),
            None => tunnel,
        })
    }
}

impl Service<Uri> for Reach {
    type Response = TokioIo<TcpStream>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    /// It is always ready: it has no queue.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, origin: Uri) -> Self::Future {
        match self {
            Reach::Straight(tcp) => {
                let connected = tcp.call(origin);
                Box::pin(async { Ok(connected.await?) })
            }
            Reach::Through(tunnel) => {
                let connected = tunnel.call(with_port(origin));
                Box::pin(async { Ok(connected.await?) })
            }
        }
    }
}

/// The tunnel takes any origin without a port for one that speaks TLS.
fn with_port(origin: Uri) -> Uri {
    let mut parts = origin.clone().into_parts();
    let port = match parts.scheme == Some(Scheme::HTTP) {
        true => 80,
        false => 443,
    };
    let host = origin.host().filter(|_| origin.port().is_none());
    let authority = host.and_then(|host| Authority::try_from(format!("{host}:{port}")).ok());
    parts.authority = authority.or(parts.authority);
    Uri::from_parts(parts).unwrap_or(origin)
}

/// What the tunnel says where there is none: its errors have no name to know them by.
pub(super) fn told(error: &(dyn Error + 'static)) -> Option<Obstacle> {
    let text = error.to_string();
    let why = text.strip_prefix("tunnel error: ")?;
    Some(match why {
        "failed to create underlying connection" => Obstacle::ProxyAway,
        "proxy authorization required" => Obstacle::ProxyLocked,
        _ => Obstacle::ProxyRefuses,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_leads_to_a_port() {
        for (origin, to) in [
            ("https://a.example/", "https://a.example:443/"),
            ("http://a.example/", "http://a.example:80/"),
            ("http://[::1]/", "http://[::1]:80/"),
            ("https://a.example:8443/", "https://a.example:8443/"),
        ] {
            assert_eq!(with_port(origin.parse().unwrap()), to);
        }
    }
}
