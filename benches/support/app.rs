//! An app that calls its provider as a server does, over connections that it keeps.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use usertap::sandbox::Sandbox;

#[derive(Clone)]
pub struct App {
    client: Client<HttpConnector, Full<Bytes>>,
    base: String,
    headers: Vec<(&'static str, String)>,
}

impl App {
    /// Towards the sandbox itself or a proxy in front of it.
    pub fn new(towards: SocketAddr, sandbox: &Sandbox) -> App {
        let setting = |wanted: &str| {
            let settings = sandbox.settings(0).into_iter();
            let mut found = settings.filter_map(|(name, value)| (name == wanted).then_some(value));
            found.next().expect("the sandbox says it")
        };
        App {
            client: Client::builder(TokioExecutor::new()).build_http(),
            base: format!("http://{towards}/api/v1"),
            headers: vec![
                ("x-stack-project-id", setting("STACK_PROJECT_ID")),
                ("x-stack-secret-server-key", setting("STACK_SECRET_SERVER_KEY")),
                ("x-stack-access-type", "server".into()),
                ("content-type", "application/json".into()),
            ],
        }
    }

    /// The body of the answer; what `x-usertap-recorded` said with it.
    pub async fn ask(&self, method: Method, path: &str, body: String) -> (Bytes, String) {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::from(body)).expect("a request");
        let (head, body) = self
            .client
            .request(request)
            .await
            .expect("an answer")
            .into_parts();
        assert!(
            matches!(head.status, StatusCode::OK | StatusCode::CREATED),
            "{}",
            head.status
        );
        let recorded = head.headers.get("x-usertap-recorded");
        let recorded = recorded.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let body = body.collect().await.expect("a whole answer").to_bytes();
        (body, recorded.to_owned())
    }
}
