//! The pooled HTTP client: HTTP/1.1 or HTTP/2 as the provider's TLS agrees to, certificates
//! always checked.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::{RequestBody, UpstreamError};

pub(super) type Pooled = Client<HttpsConnector<HttpConnector>, RequestBody>;

/// Providers' edges keep idle connections a minute or more; well below that, a pooled one is
/// rarely closed under a request.
const IDLE: Duration = Duration::from_secs(20);
/// Connecting takes at most this part of the whole wait, so that its failure can still be told.
const CONNECTING: u32 = 2;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error("the CA file {path} cannot be used: {reason}; it must hold PEM certificates")]
    File { path: String, reason: String },
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// The client for everything but upgrades, and one that speaks only HTTP/1.1 for those.
pub(super) fn clients(ca: Option<&Path>, timeout: Duration) -> Result<(Pooled, Pooled), TrustError> {
    let tls = tls(ca)?;
    let connector = || {
        HttpsConnectorBuilder::new()
            .with_tls_config(tls.clone())
            .https_or_http()
    };
    let both = connector().enable_all_versions().wrap_connector(tcp(timeout));
    let first_only = connector().enable_http1().wrap_connector(tcp(timeout));
    Ok((pooled(both), pooled(first_only)))
}

fn pooled(connector: HttpsConnector<HttpConnector>) -> Pooled {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .http2_adaptive_window(true)
        .http2_keep_alive_interval(IDLE)
        .build(connector)
}

fn tcp(timeout: Duration) -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(IDLE * 3));
    tcp.set_connect_timeout(Some(timeout / CONNECTING));
    tcp
}

fn tls(ca: Option<&Path>) -> Result<ClientConfig, TrustError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots(ca)?).with_no_client_auth())
}

/// The public roots, and those of an own authority where one is named.
fn roots(ca: Option<&Path>) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let Some(path) = ca else { return Ok(roots) };
    let unusable = |reason: String| TrustError::File {
        path: path.display().to_string(),
        reason,
    };
    let mut own = CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?;
    let added = own.try_fold(0, |added, certificate| {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| unusable(error.to_string()))?;
        Ok::<usize, TrustError>(added + 1)
    })?;
    match added {
        0 => Err(unusable("it holds none".into())),
        _ => Ok(roots),
    }
}

/// Whether anything can have reached the provider is what matters of a failure.
pub(super) fn failure(error: &Error) -> UpstreamError {
    match error.is_connect() {
        true => UpstreamError::Unreachable,
        false => UpstreamError::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_that_cannot_be_used_is_named() {
        let missing = Path::new("no-such-ca.pem");
        assert!(
            roots(Some(missing))
                .unwrap_err()
                .to_string()
                .contains("no-such-ca.pem")
        );
        let manifest = Path::new("Cargo.toml");
        assert!(
            roots(Some(manifest))
                .unwrap_err()
                .to_string()
                .contains("it holds none")
        );
        assert!(roots(None).unwrap().len() > 50);
    }
}
