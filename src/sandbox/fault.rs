//! What can be made to go wrong with one request to come.

use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

/// Happens to the next request that it fits, and to no other.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Any method without one.
    pub method: Option<http::Method>,
    /// Stands somewhere in the request's target.
    pub target_contains: String,
    pub action: Action,
}

#[derive(Debug, Clone)]
pub enum Action {
    /// Answers this; nothing is performed.
    Reject(Canned),
    /// Closes the connection; nothing is performed.
    Drop,
    /// Performs the request, then answers this.
    PerformThen(Canned),
    /// Performs the request, then closes the connection.
    PerformThenDrop,
    /// Keeps the request at the gate, then performs it.
    HoldBefore(Gate),
    /// Performs the request, keeps its answer at the gate.
    HoldAfter(Gate),
    /// Performs the request so much later.
    Delay(Duration),
    /// Performs the request; its answer breaks off after so many bytes of its body.
    Cut(usize),
    /// Performs the request; its answer has this body instead: truncated, no JSON, too large.
    Body(Bytes),
    /// Performs the request; its answer is compressed, whatever the request accepts.
    Gzip,
}

/// An answer that is made up.
#[derive(Debug, Clone)]
pub struct Canned {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Canned {
    pub fn new(status: u16, body: impl Into<Bytes>) -> Canned {
        Canned {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Canned {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// Where a request waits for whoever holds another copy of the gate.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    reached: CancellationToken,
    released: CancellationToken,
}

impl Gate {
    pub fn new() -> Gate {
        Gate::default()
    }

    /// Resolves once the request stands at the gate.
    pub async fn reached(&self) {
        self.reached.cancelled().await;
    }

    pub fn release(&self) {
        self.released.cancel();
    }

    pub(super) async fn pass(&self) {
        self.reached.cancel();
        self.released.cancelled().await;
    }
}

impl Fault {
    /// For any method.
    pub fn on(target_contains: &str, action: Action) -> Fault {
        Fault {
            method: None,
            target_contains: target_contains.to_owned(),
            action,
        }
    }

    #[must_use]
    pub fn method(self, method: http::Method) -> Fault {
        Fault {
            method: Some(method),
            ..self
        }
    }

    pub(super) fn fits(&self, method: &http::Method, target: &str) -> bool {
        self.method.as_ref().is_none_or(|wanted| wanted == method) && target.contains(&self.target_contains)
    }
}
