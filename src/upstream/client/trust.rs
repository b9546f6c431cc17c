//! Whom a provider's certificate is to be signed by.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error("the CA file {path} cannot be used: {reason}; it must hold PEM certificates")]
    File { path: String, reason: String },
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// With the public roots, and those of an own authority where one is named.
pub(super) fn tls(ca: Option<&Path>) -> Result<ClientConfig, TrustError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots(ca)?).with_no_client_auth())
}

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
