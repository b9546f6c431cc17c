//! The listener: TLS where it is configured, HTTP/1.1 and HTTP/2, and an orderly end.

use std::convert::Infallible;
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body::Body;
use crate::config::Tls;
use crate::tasks::Tasks;

/// More connections wait in the kernel: each one here holds a descriptor and some buffers.
const CONNECTIONS: usize = 10_000;
/// A caller that dawdles over its handshake or its headers holds one of them.
const DAWDLING: Duration = Duration::from_secs(10);
/// Tokens and cookies make headers large; the provider has limits of its own.
const HEADERS: u32 = 128 << 10;
/// At the end of the drain, to say that there will be no answer.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// After an accept that failed for want of descriptors, trying at once fails again.
const BREATH: Duration = Duration::from_millis(50);

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

/// What connections have in common.
#[derive(Clone)]
pub(super) struct Listening {
    pub tasks: Tasks,
    pub tls: Option<TlsAcceptor>,
    pub drain: Duration,
    /// Cancelled a moment before the drain ends: what is not answered by then is to be told so.
    pub over: CancellationToken,
}

/// Certificates and key as the settings name them.
pub(super) fn acceptor(tls: &Tls) -> Result<TlsAcceptor, TlsError> {
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

fn unusable(setting: &'static str, path: &Path, error: &rustls_pki_types::pem::Error) -> TlsError {
    TlsError::File {
        setting,
        path: path.display().to_string(),
        reason: error.to_string(),
    }
}

impl Listening {
    /// Serves until the process is to stop, then lets go of the port, asks every connection to
    /// finish, and waits for them at most as long as the drain lasts.
    pub async fn serve<H, A>(self, listener: TcpListener, handler: H)
    where
        H: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        let open = TaskTracker::new();
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let (stream, room) = tokio::select! {
                accepted = accept(&listener, &room) => accepted,
                () = self.tasks.stopping() => break,
            };
            let (this, handler, open) = (self.clone(), handler.clone(), open.token());
            self.tasks.spawn(async move {
                this.connection(stream, handler).await;
                drop((room, open));
            });
        }
        drop(listener);
        open.close();
        let moment = LAST_WORDS.min(self.drain / 4);
        if timeout(self.drain - moment, open.wait()).await.is_ok() {
            return;
        }
        self.over.cancel();
        if timeout(moment, open.wait()).await.is_err() {
            tracing::warn!(
                left = open.len(),
                "the drain is over; connections still open are cut"
            );
        }
    }

    async fn connection<H, A>(self, stream: TcpStream, handler: H)
    where
        H: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        // An answer's last small segment must not wait for an acknowledgement.
        let _unsupported = stream.set_nodelay(true);
        match self.tls.clone() {
            None => self.http(stream, handler).await,
            Some(tls) => match timeout(DAWDLING, tls.accept(stream)).await {
                Ok(Ok(stream)) => self.http(stream, handler).await,
                Ok(Err(_)) | Err(_) => tracing::debug!("a TLS handshake failed"),
            },
        }
    }

    pub async fn http<S, H, A>(self, stream: S, handler: H)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        H: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        let service = service_fn(move |request| {
            let answer = handler(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let http = protocols();
        let mut connection = pin!(http.serve_connection_with_upgrades(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.tasks.stopping() => {
                connection.as_mut().graceful_shutdown();
                timeout(self.drain, connection.as_mut()).await.unwrap_or(Ok(()))
            }
        };
        if ended.is_err() {
            tracing::debug!("a connection ended early");
        }
    }
}

async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // Never closed, so there is always a permit in the end.
    let permit = room.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(_) => tokio::time::sleep(BREATH).await,
        }
    }
}

fn protocols() -> Builder<TokioExecutor> {
    let mut http = Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(DAWDLING);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(DAWDLING * 2)
        .max_header_list_size(HEADERS)
        .adaptive_window(true);
    http
}
