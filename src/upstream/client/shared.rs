//! A connection that speaks HTTP/2, for all requests.
//!
//! One over which nothing comes any more, as where a router on the way has forgotten it, looks like one
//! whose answers take long. What must never be: every request held up by it until it is found to be dead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2;

use super::super::RequestBody;
use crate::clock::{self, Instant};

#[derive(Clone)]
pub(super) struct Shared {
    sender: http2::SendRequest<RequestBody>,
    /// A new one takes no longer.
    patience: Duration,
    /// Somebody has waited longer than that, and in vain.
    is_doubted: Arc<AtomicBool>,
}

impl Shared {
    pub fn new(sender: http2::SendRequest<RequestBody>, patience: Duration) -> Shared {
        Shared {
            sender,
            patience,
            is_doubted: Arc::default(),
        }
    }

    /// Whether another request may be sent over it. Those that were sent before go on.
    pub fn is_good(&self) -> bool {
        !self.sender.is_closed() && !self.is_doubted.load(Ordering::Relaxed)
    }

    /// Sends a request over it. The request comes back where nothing of it was sent.
    pub async fn exchange(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, Option<Request<RequestBody>>> {
        let mut waits = Waits {
            since: clock::now(),
            patience: self.patience,
            is_doubted: Some(&self.is_doubted),
        };
        let answer = self.sender.try_send_request(request).await;
        waits.is_doubted = None;
        answer.map_err(|mut failed| failed.take_message())
    }
}

/// For an answer; dropped where nobody waits any longer.
struct Waits<'s> {
    since: Instant,
    patience: Duration,
    is_doubted: Option<&'s AtomicBool>,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let waited = clock::now().saturating_duration_since(self.since);
        if let Some(is_doubted) = self.is_doubted.filter(|_| waited >= self.patience) {
            is_doubted.store(true, Ordering::Relaxed);
        }
    }
}
