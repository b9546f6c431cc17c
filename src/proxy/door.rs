//! The way in for this process itself: the same service as any app's, over a pipe in memory.
//!
//! What goes through here is judged, forwarded, recorded and answered exactly as if it had come over
//! the network: there is no second path to the table.

use std::sync::Arc;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::admitted::Places;
use super::listen::Listening;
use super::peer::Peer;
use super::{Shared, answer};
use crate::provider::OwnRequest;

/// In the pipe at once.
const PIPE: usize = 64 << 10;
/// A user is some kilobytes.
const LARGEST: usize = 16 << 20;

/// Cheap to clone.
#[derive(Clone)]
pub struct Door {
    shared: Arc<Shared>,
    listening: Listening,
}

/// What came back through the door.
#[derive(Debug)]
pub struct Through {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why nothing did.
#[derive(Debug, thiserror::Error)]
#[error("usertap did not answer itself in time; whether it was done is seen in the user")]
pub struct DoorFault;

impl Door {
    pub(super) fn new(shared: Arc<Shared>, listening: Listening) -> Door {
        Door { shared, listening }
    }

    /// How connections are kept, for the process's other listener.
    pub fn listening(&self) -> Listening {
        self.listening.plainly()
    }

    /// Sends a request of the tenant's own through the proxy.
    ///
    /// # Errors
    /// [`DoorFault`].
    pub async fn send(&self, own: OwnRequest, body: String) -> Result<Through, DoorFault> {
        let mut request = Request::new(Full::new(Bytes::from(body)));
        let target = format!("{}{}", self.shared.wire.base, own.target);
        *request.uri_mut() = target.parse().map_err(|_| DoorFault)?;
        *request.method_mut() = own.method;
        *request.headers_mut() = own.headers;
        request
            .headers_mut()
            .insert(HOST, HeaderValue::from_static("usertap.invalid"));
        let config = &self.shared.config;
        let patience = 2 * (config.timeout + config.sync_timeout);
        timeout(patience, self.sent(request))
            .await
            .unwrap_or(Err(DoorFault))
    }

    async fn sent(&self, request: Request<Full<Bytes>>) -> Result<Through, DoorFault> {
        let (near, far) = tokio::io::duplex(PIPE);
        let tasks = &self.shared.wire.tasks;
        let shared = self.shared.clone();
        let served = self.listening.clone().http(
            far,
            Peer::default(),
            Places::default(),
            move |request, peer, place| answer(shared.clone(), request, peer, place),
        );
        tasks.spawn(served);
        let (mut sender, connection) = http1::handshake(TokioIo::new(near))
            .await
            .map_err(|_| DoorFault)?;
        tasks.spawn(async move {
            let _ended = connection.await;
        });
        let response = sender.send_request(request).await.map_err(|_| DoorFault)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, LARGEST)
            .collect()
            .await
            .map_err(|_| DoorFault)?;
        Ok(Through {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        })
    }
}
