//! Against a provider that speaks HTTP/1.1 alone, over TLS.

use http_body_util::Full;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;
use crate::config::ForwardProxy;
use crate::upstream::tests::tls_file;

const EARLY: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
const STEP: usize = 48 << 10;
/// The least that a socket takes in.
const NARROW: u32 = 4096;

struct Provider {
    listener: TcpListener,
    tls: TlsAcceptor,
    base: Base,
    client: Client,
    tasks: Tasks,
}

impl Provider {
    fn new() -> Provider {
        let certificates = CertificateDer::pem_file_iter(tls_file("cert.pem")).unwrap();
        let certificates = certificates.collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_file(tls_file("key.pem")).unwrap();
        let crypto = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(crypto)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(NARROW).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(16).unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let base = Base::of(&url.parse().unwrap()).unwrap();
        let tasks = Tasks::default();
        Provider {
            client: Client::new(&base, Some(&tls_file("ca.pem")), None, SECOND * 20, &tasks).unwrap(),
            base,
            tasks,
            tls: TlsAcceptor::from(Arc::new(config)),
            listener,
        }
    }

    async fn connection(&self) -> TlsStream<TcpStream> {
        let (stream, _) = self.listener.accept().await.unwrap();
        self.tls.accept(stream).await.unwrap()
    }

    async fn answer_to(&self, method: Method, body: RequestBody) -> Bytes {
        let mut request = Box::new(Request::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.base.target("/users").unwrap();
        let answer = self.client.request(request).await.unwrap();
        answer.into_body().collect().await.unwrap().to_bytes()
    }
}

/// The length of a request's head.
async fn head(stream: &mut TlsStream<TcpStream>) -> usize {
    let mut got = Vec::new();
    while !got.ends_with(b"\r\n\r\n") {
        got.push(stream.read_u8().await.unwrap());
    }
    got.len()
}

#[tokio::test]
async fn an_upload_arrives_whole_wherever_it_is_when_its_answer_comes() {
    // What the sockets between take in is the system's to say (2.8 MB here), and less than a step
    // of it is what encryption holds.
    for length in (40..=80).map(|many| many * STEP) {
        let provider = Provider::new();
        let (answered, is_answered) = tokio::sync::oneshot::channel::<()>();
        let taking = async {
            let mut stream = provider.connection().await;
            head(&mut stream).await;
            stream.write_all(EARLY).await.unwrap();
            stream.flush().await.unwrap();
            is_answered.await.unwrap();
            let mut body = vec![0; length];
            let read = tokio::time::timeout(SECOND * 5, stream.read_exact(&mut body));
            assert!(read.await.is_ok_and(|read| read.is_ok()), "{length}");
        };
        let uploading = async {
            let body = Full::new(Bytes::from(vec![b'x'; length])).map_err(|never| match never {});
            assert_eq!(provider.answer_to(Method::POST, body.boxed()).await, "{}");
            answered.send(()).unwrap();
        };
        tokio::join!(taking, uploading);
    }
}

#[tokio::test]
async fn a_connection_that_becomes_free_serves_who_waits_for_another_and_no_stop_waits_for_that() {
    let provider = Provider::new();
    let get = || provider.answer_to(Method::GET, empty());
    let serving = async {
        let mut stream = provider.connection().await;
        for _ in 0..2 {
            head(&mut stream).await;
            stream.write_all(EARLY).await.unwrap();
        }
        // The next connection never comes about: only then is the request before it answered.
        head(&mut stream).await;
        let silent = provider.listener.accept().await.unwrap();
        stream.write_all(EARLY).await.unwrap();
        head(&mut stream).await;
        stream.write_all(EARLY).await.unwrap();
        silent
    };
    let asking = async {
        // It shows that it speaks HTTP/1.1 alone.
        assert_eq!((get().await, get().await), ("{}".into(), "{}".into()));
        assert_eq!(tokio::join!(get(), get()), ("{}".into(), "{}".into()));
    };
    let all = async { tokio::join!(serving, asking) };
    let (_silent, ()) = tokio::time::timeout(SECOND * 5, all).await.unwrap();
    provider.tasks.stop();
    assert!(provider.tasks.ended(SECOND * 5).await);
}

/// Whoever makes the tunnel sees nothing but TLS.
#[tokio::test]
async fn a_tunnel_leads_to_the_providers_own_tls() {
    let mut provider = Provider::new();
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let through = ForwardProxy {
        address: format!("http://{}/", proxy.local_addr().unwrap())
            .parse()
            .unwrap(),
        authorization: None,
    };
    let ca = tls_file("ca.pem");
    provider.client = Client::new(
        &provider.base,
        Some(&ca),
        Some(&through),
        SECOND * 20,
        &provider.tasks,
    )
    .unwrap();
    let origin = provider.listener.local_addr().unwrap();
    let tunnelling = async {
        let (mut stream, _) = proxy.accept().await.unwrap();
        let asked = format!("CONNECT {origin} HTTP/1.1\r\nHost: {origin}\r\n\r\n");
        let mut head = vec![0; asked.len()];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(String::from_utf8(head).unwrap(), asked);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let mut there = TcpStream::connect(origin).await.unwrap();
        let _ended = tokio::io::copy_bidirectional(&mut stream, &mut there).await;
    };
    let asking = async {
        let serving = async {
            let mut stream = provider.connection().await;
            head(&mut stream).await;
            stream.write_all(EARLY).await.unwrap();
            stream
        };
        let (_stream, answer) = tokio::join!(serving, provider.answer_to(Method::GET, empty()));
        assert_eq!(answer, "{}");
    };
    tokio::select! {
        () = tunnelling => panic!("it is not over"),
        () = asking => {}
    }
}
