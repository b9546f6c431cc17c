//! What a bare hyper costs: a path looked up in moka, or a request sent on by hyper's own pooled client,
//! with nothing else done.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::ready;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::service::{Service, service_fn};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use moka::sync::Cache;
use serde_json::Value;
use tokio::net::TcpListener;
use usertap::tasks::Tasks;

/// Head and body of a kept answer.
type Kept = Arc<(HeaderMap, Bytes)>;
type Forwarding = Client<HttpConnector, Incoming>;

/// Gives kept answers, or the answers of whom it is to forward to.
pub fn serve(to: Option<&str>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at: SocketAddr = listener.local_addr().expect("an address");
        eprintln!("listen={at} ");
        match to {
            Some(to) => forwarding(listener, to.to_owned()).await,
            None => keeping(listener).await,
        }
    });
}

async fn keeping(listener: TcpListener) {
    let cache = Cache::new(10_000);
    cache.insert("/large".to_owned(), kept(100));
    let service = service_fn(move |request| ready(answer(&cache, &request)));
    connections(listener, Arc::new(service)).await;
}

async fn forwarding(listener: TcpListener, to: String) {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Forwarding = Client::builder(TokioExecutor::new()).build(connector);
    let service = service_fn(move |request| client.request(addressed(request, &to)));
    connections(listener, Arc::new(service)).await;
}

async fn connections<S, B>(listener: TcpListener, service: Arc<S>)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + Sync + 'static,
    S::Future: Send,
    S::Error: std::error::Error + Send + Sync,
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    let tasks = Tasks::default();
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let http = hyper::server::conn::http1::Builder::new();
        tasks.spawn(http.serve_connection(TokioIo::new(stream), service.clone()));
    }
}

fn addressed(mut request: Request<Incoming>, to: &str) -> Request<Incoming> {
    let target = format!("{to}{}", request.uri());
    *request.uri_mut() = Uri::try_from(target).expect("a path");
    request.headers_mut().remove(HOST);
    request
}

fn answer(
    cache: &Cache<String, Kept>,
    request: &Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path();
    let kept = cache.get(path).unwrap_or_else(|| {
        cache.insert(path.to_owned(), kept(1));
        kept(1)
    });
    let mut response = Response::new(Full::new(kept.1.clone()));
    *response.headers_mut() = kept.0.clone();
    Ok(response)
}

/// As large as a user, or so many, with as many headers as the provider's answers have.
fn kept(users: usize) -> Kept {
    const USER: usize = 830;
    const HEADERS: [(&str, &str); 8] = [
        ("content-type", "application/json; charset=utf-8"),
        ("cache-control", "no-store, max-age=0"),
        ("access-control-allow-origin", "*"),
        (
            "access-control-allow-methods",
            "GET, POST, PUT, PATCH, DELETE, OPTIONS",
        ),
        ("access-control-max-age", "86400"),
        (
            "access-control-allow-headers",
            "content-type, authorization, x-stack-project-id, x-stack-branch-id, x-stack-override-error-status, \
             x-stack-random-nonce, x-stack-client-version, x-stack-access-type, x-stack-publishable-client-key, \
             x-stack-secret-server-key, x-stack-super-secret-admin-key, x-stack-admin-access-token, \
             x-stack-refresh-token, x-stack-access-token, x-stack-allow-anonymous-user, ngrok-skip-browser-warning",
        ),
        (
            "access-control-expose-headers",
            "content-type, x-stack-actual-status, x-stack-known-error",
        ),
        ("x-stack-actual-status", "200"),
    ];
    let headers = HEADERS
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    let body = Value::String("a".repeat(USER * users)).to_string().into();
    Arc::new((headers.collect(), body))
}
