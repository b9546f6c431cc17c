//! Reaching Postgres: URLs as hosts hand them out, TLS that checks certificates.

use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use diesel::{ConnectionError, ConnectionResult};
use diesel_async::pooled_connection::ManagerConfig;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, RootCertStore};
use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::config::{SslNegotiation, TargetSessionAttrs};
use tokio_postgres::tls::TlsStream;
use tokio_postgres::{Client, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::hosts::{self, Stream};

/// A server that acknowledges nothing for so long is gone (a failover that told nobody): without
/// this a statement would wait for the kernel's quarter of an hour.
const SILENT: Duration = Duration::from_secs(30);

/// Generous: whatever others wait for has tighter ones. A role's own level may be one at which every
/// statement can fail for what others do meanwhile.
const BOUNDS: &str = "SET lock_timeout = '5s'; SET statement_timeout = '60s'; \
    SET default_transaction_isolation = 'read committed'";

/// The SQLSTATE of what PgBouncer answers in a server's place.
const BY_POOLER: &str = "08P01";
const POOLER_IS_FULL: &str = "max_client_conn";

/// What carries a connection's bytes, to be run beside it: where it ends, whatever waits on the connection
/// fails.
pub type Wire = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One way to a database.
#[derive(Clone)]
pub struct Way {
    url: SecretString,
    tls: Arc<rustls::ClientConfig>,
}

impl Way {
    /// `ca` is the PEM file of a private authority; the public ones are always trusted.
    ///
    /// # Errors
    /// When the CA file cannot be read.
    pub fn new(url: SecretString, ca: Option<&Path>) -> Result<Way, std::io::Error> {
        let tls = Arc::new(client_tls(ca)?);
        Ok(Way { url, tls })
    }

    fn url(&self) -> &str {
        self.url.expose_secret()
    }
}

/// How to reach one database.
#[derive(Clone)]
pub struct Reach {
    pub(super) way: Way,
    /// For migrations and LISTEN where `way` leads through a pooler.
    pub(super) direct: Way,
}

impl Reach {
    pub fn new(way: Way, direct: Way) -> Reach {
        Reach { way, direct }
    }

    /// By one way alone.
    pub fn by(way: Way) -> Reach {
        Reach::new(way.clone(), way)
    }

    pub fn url(&self) -> &str {
        self.way.url()
    }

    /// `DATABASE_URL` is not the way to the database itself.
    pub(super) fn is_pooled(&self) -> bool {
        self.way.url() != self.direct.url()
    }

    pub(super) fn manager_config(&self) -> ManagerConfig<AsyncPgConnection> {
        let reach = self.clone();
        let mut config = ManagerConfig::default();
        config.custom_setup = Box::new(move |_| {
            let reach = reach.clone();
            async move { establish_bounded(&reach).await }.boxed() as BoxFuture<'_, _>
        });
        config
    }
}

/// The same, and no statement waits for ever for a lock, nor runs for ever. Behind a pooler the
/// session is not ours to set; what runs users' triggers has bounds of its own in its transaction.
pub(super) async fn establish_bounded(reach: &Reach) -> ConnectionResult<AsyncPgConnection> {
    bounded(reach, establish(&reach.way).await?).await
}

/// The same, its wire in the caller's hand.
pub(super) async fn establish_on_wire(reach: &Reach) -> ConnectionResult<(AsyncPgConnection, Wire)> {
    let (client, connection) = open(&reach.way).await?;
    let mut wire: Wire = Box::pin(carry(connection));
    let made = async { bounded(reach, AsyncPgConnection::try_from(client).await?).await };
    tokio::select! {
        made = made => Ok((made?, wire)),
        () = &mut wire => Err(ConnectionError::BadConnection("the connection broke".into())),
    }
}

/// What the server says unasked is passed over.
async fn carry<S: TlsStream + Unpin>(mut connection: Connection<Socket, S>) {
    while let Some(Ok(_)) = poll_fn(|cx| connection.poll_message(cx)).await {}
}

async fn bounded(reach: &Reach, mut conn: AsyncPgConnection) -> ConnectionResult<AsyncPgConnection> {
    if !reach.is_pooled() {
        let bounded = conn.batch_execute(BOUNDS).await;
        bounded.map_err(ConnectionError::CouldntSetupConfiguration)?;
    }
    Ok(conn)
}

/// Opens one connection.
pub async fn establish(way: &Way) -> ConnectionResult<AsyncPgConnection> {
    let (client, connection) = open(way).await?;
    AsyncPgConnection::try_from_client_and_connection(client, connection).await
}

/// Whether the server answers anything: a refusal is an answer too, say of one that has no free connection.
pub(super) async fn answers(reach: &Reach) -> bool {
    let (client, connection) = match reached(&reach.way).await {
        Ok(reached) => reached,
        Err(error) => return is_the_servers(&error),
    };
    tokio::select! {
        answered = client.batch_execute("SELECT 1") => answered.is_ok(),
        () = carry(connection) => false,
    }
}

/// A pooler speaks in the server's place where that says nothing; not where it has itself no room left.
fn is_the_servers(error: &tokio_postgres::Error) -> bool {
    error
        .as_db_error()
        .is_some_and(|said| said.code().code() != BY_POOLER || said.message().contains(POOLER_IS_FULL))
}

async fn open(way: &Way) -> ConnectionResult<(Client, Connection<Socket, Stream>)> {
    reached(way).await.map_err(refused)
}

async fn reached(way: &Way) -> Result<(Client, Connection<Socket, Stream>), tokio_postgres::Error> {
    let mut config: tokio_postgres::Config = way.url().parse()?;
    let tls = MakeRustlsConnect::new(speaking(&way.tls, config.get_ssl_negotiation()));
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(SILENT);
    }
    // Only one that takes writes is of use: a standby that answers sooner must not be taken for the primary.
    if config.get_hosts().len() > 1 && config.get_target_session_attrs() == TargetSessionAttrs::Any {
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    config.keepalives_idle(SILENT).keepalives_interval(SILENT / 6);
    hosts::connect(&config, &tls).await
}

/// Postgres ends a connection that begins with TLS and does not name its protocol there.
fn speaking(tls: &rustls::ClientConfig, negotiation: SslNegotiation) -> rustls::ClientConfig {
    let mut tls = tls.clone();
    if negotiation == SslNegotiation::Direct {
        tls.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    tls
}

fn refused(error: tokio_postgres::Error) -> ConnectionError {
    if let Some(wrong) = distrusted(&error) {
        return ConnectionError::BadConnection(untrusted(wrong).into());
    }
    let code = error.code().map(|code| code.code().to_owned());
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    let text = match (code.as_deref(), cause) {
        (Some("28P01"), _) => "user or password are refused: correct DATABASE_URL".into(),
        (Some("28000"), _) => "the role is not let in (there is none, it has no LOGIN, whoever checks its password or token refuses it, or no line of pg_hba.conf is for it, as without TLS): see to it, or correct DATABASE_URL".into(),
        (Some("3D000"), _) => "the database does not exist: create it or correct DATABASE_URL".into(),
        (Some(BY_POOLER), _) => refused_by_pooler(&error),
        (Some("53300"), _) => "it has no free connection: raise max_connections (or the CONNECTION LIMIT of the role or the database), or use fewer clients".into(),
        (Some(code), _) => format!("the server refused the connection (SQLSTATE {code})"),
        (None, Some(cause)) => cause,
        (None, None) => error.to_string(),
    };
    ConnectionError::BadConnection(text)
}

/// What is wrong with the server's certificate. What an error of input or output wraps is not its source.
fn distrusted(error: &tokio_postgres::Error) -> Option<&CertificateError> {
    let broken: &std::io::Error = std::error::Error::source(error)?.downcast_ref()?;
    match broken.get_ref()?.downcast_ref() {
        Some(rustls::Error::InvalidCertificate(wrong)) => Some(wrong),
        _ => None,
    }
}

/// Hosts often have an authority of their own.
fn untrusted(wrong: &CertificateError) -> &'static str {
    match wrong {
        // The second is what an authority of the same name gives whose key is another.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate is signed by an authority that is not known here: set DATABASE_CA to the PEM file of that one, \
             which whoever runs the database has"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another host than DATABASE_URL names: write the name that stands in it"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has run out: have it renewed"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: look at this machine's clock"
        }
        _ => {
            "its certificate cannot be a server's: have it be one of version 3 with the host's name, signed by an authority \
             instead of being one itself"
        }
    }
}

/// What PgBouncer answers in a server's place. The message is looked at, never shown.
fn refused_by_pooler(error: &tokio_postgres::Error) -> String {
    let message = error.as_db_error().map_or("", |error| error.message());
    let meant = [
        (
            POOLER_IS_FULL,
            "it takes no more clients: raise its max_client_conn",
        ),
        (
            "query_wait_timeout",
            "it has had no free connection for too long: raise its default_pool_size",
        ),
        (
            "startup parameter",
            "it does not know a parameter of DATABASE_URL: take that out, or name it in its ignore_startup_parameters",
        ),
    ];
    let found = meant.iter().find(|(word, _)| message.contains(word));
    let told = found.map_or("its log says why (SQLSTATE 08P01)", |(_, told)| told);
    format!("a pooler refused the connection: {told}")
}

/// The sentence in an error of the pool or of [`establish`]; never the URL.
pub fn reason(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

pub(super) fn client_tls(ca: Option<&Path>) -> Result<rustls::ClientConfig, std::io::Error> {
    let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    for certificate in ca.map(read_ca).transpose()?.unwrap_or_default() {
        roots.add(certificate).map_err(std::io::Error::other)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn read_ca(path: &Path) -> Result<Vec<CertificateDer<'static>>, std::io::Error> {
    let named = |error: &dyn std::fmt::Display| {
        std::io::Error::other(format!("{}: {error}", PathBuf::from(path).display()))
    };
    let certificates = CertificateDer::pem_file_iter(path).map_err(|e| named(&e))?;
    certificates.collect::<Result<_, _>>().map_err(|e| named(&e))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Whether a server answers that refuses every connection so.
    async fn refusing(code: &str, message: &str) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let url = SecretString::from(format!("postgres://u@127.0.0.1:{port}/d?sslmode=disable"));
        let reach = Reach::by(Way::new(url, None).expect("no file"));
        let said = format!("SFATAL\0C{code}\0M{message}\0\0");
        let refuses = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let _startup = stream.read(&mut [0; 512]).await.expect("a startup message");
            let length = u32::try_from(said.len() + 4).expect("short");
            let packet = [&b"E"[..], &length.to_be_bytes(), said.as_bytes()].concat();
            stream.write_all(&packet).await.expect("whole");
        };
        tokio::join!(answers(&reach), refuses).0
    }

    #[tokio::test]
    async fn a_refusal_is_an_answer_unless_a_pooler_gives_it_for_a_server() {
        assert!(refusing("53300", "sorry, too many clients already").await);
        assert!(refusing("28P01", "password authentication failed").await);
        assert!(refusing("08P01", "no more connections allowed (max_client_conn)").await);
        assert!(!refusing("08P01", "server login failed: timeout").await);
        let nobody = SecretString::from("postgres://u@127.0.0.1:1/d?sslmode=disable".to_owned());
        assert!(!answers(&Reach::by(Way::new(nobody, None).expect("no file"))).await);
    }
}
