//! The certificate that a listener shows, with its key: read anew once its files have changed, so that one that is
//! renewed every few weeks needs no restart. One that cannot be used does not take the place of the one before.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use tokio_rustls::TlsAcceptor;

use crate::clock::{self, Instant};
use crate::config::Tls;

/// So soon after a change who connects is shown the new one.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Why the listener cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{setting} {path} cannot be used: {reason}; it must be a readable PEM file")]
    File {
        setting: &'static str,
        path: String,
        reason: String,
    },
    #[error("TLS_CERT and TLS_KEY do not go together: {0}")]
    Pair(rustls::Error),
}

/// As the settings name it.
pub(super) struct Certificate {
    tls: Tls,
    look_every: Duration,
    read: Mutex<Read>,
}

struct Read {
    acceptor: TlsAcceptor,
    /// Of what was read last, whether it could be used or not.
    files: Files,
    looked_at: Instant,
}

type Files = [Option<[u8; 32]>; 2];

impl Certificate {
    pub(super) fn new(tls: &Tls, look_every: Duration) -> Result<Arc<Certificate>, TlsError> {
        // Before they are used: what changes in between is found to have.
        let files = files(tls);
        let read = Read {
            acceptor: acceptor(tls)?,
            files,
            looked_at: clock::now(),
        };
        Ok(Arc::new(Certificate {
            tls: tls.clone(),
            look_every,
            read: Mutex::new(read),
        }))
    }

    /// The one to be shown now. Files are looked at by one who connects; the others do not wait for that.
    pub(super) async fn acceptor(self: &Arc<Self>) -> TlsAcceptor {
        if self.is_due() {
            let this = self.clone();
            // Whatever became of it, there is one.
            let _ = tokio::task::spawn_blocking(move || this.look()).await;
        }
        self.lock().acceptor.clone()
    }

    fn is_due(&self) -> bool {
        let (mut read, now) = (self.lock(), clock::now());
        let is_due = now.saturating_duration_since(read.looked_at) >= self.look_every;
        if is_due {
            read.looked_at = now;
        }
        is_due
    }

    fn look(&self) {
        let there = files(&self.tls);
        if std::mem::replace(&mut self.lock().files, there) == there {
            return;
        }
        match acceptor(&self.tls) {
            Ok(renewed) => {
                self.lock().acceptor = renewed;
                tracing::info!("TLS_CERT has changed: the new certificate is shown from now on");
            }
            Err(error) => {
                tracing::warn!(%error, "TLS_CERT has changed, and the certificate before is shown until it can be used");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// What stands in both files; nothing in one that cannot be read.
fn files(tls: &Tls) -> Files {
    [&tls.cert, &tls.key].map(|path| std::fs::read(path).ok().map(|file| Sha256::digest(file).into()))
}

fn acceptor(tls: &Tls) -> Result<TlsAcceptor, TlsError> {
    let chain =
        CertificateDer::pem_file_iter(&tls.cert).and_then(|chain| chain.collect::<Result<Vec<_>, _>>());
    let chain = chain.map_err(|error| unusable("TLS_CERT", &tls.cert, &error))?;
    let key =
        PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| unusable("TLS_KEY", &tls.key, &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(TlsError::Pair)?.with_no_client_auth();
    let mut config = config.with_single_cert(chain, key).map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config).into())
}

fn unusable(setting: &'static str, path: &Path, error: &rustls::pki_types::pem::Error) -> TlsError {
    TlsError::File {
        setting,
        path: path.display().to_string(),
        reason: error.to_string(),
    }
}
