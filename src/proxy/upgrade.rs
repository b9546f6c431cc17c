//! Upgrades (WebSocket): after the provider agrees, a tunnel that nobody looks into. To agree is its
//! `101` and nothing else: whatever else it answers, it answers to an ordinary request, which is
//! judged and recorded as such.

use std::time::Duration;

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, on};
use hyper_util::rt::TokioIo;

use super::headers;
use crate::tasks::Tasks;
use crate::upstream::AnswerBody;

/// An upgrade that an app asks for.
#[derive(Debug)]
pub(super) struct Wish {
    to: HeaderValue,
    app: OnUpgrade,
}

impl Wish {
    pub fn of(request: &mut Request<Incoming>) -> Option<Wish> {
        let to = headers::upgrade(request.headers())?.clone();
        let app = on(request);
        Some(Wish { to, app })
    }

    pub fn ask(&self, headers: &mut HeaderMap) {
        say(headers, self.to.clone());
    }

    /// Tunnels if the provider agrees.
    pub fn tunnels(&self, response: &mut Response<AnswerBody>, tasks: &Tasks, drain: Duration) -> bool {
        let agrees = is_agreed(response.status());
        if agrees {
            let (app, provider) = (self.app.clone(), on(response));
            tasks.spawn(tunnel(app, provider, tasks.clone(), drain));
        }
        agrees
    }
}

pub(super) fn is_agreed(status: StatusCode) -> bool {
    status == StatusCode::SWITCHING_PROTOCOLS
}

pub(super) fn say(headers: &mut HeaderMap, to: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, to);
}

/// Lasts until one side closes, or the process has stopped and its drain is over.
async fn tunnel(app: OnUpgrade, provider: OnUpgrade, tasks: Tasks, drain: Duration) {
    let both = async {
        let Ok((app, provider)) = tokio::try_join!(app, provider) else {
            return;
        };
        let (mut app, mut provider) = (TokioIo::new(app), TokioIo::new(provider));
        // Either side's end is the tunnel's; there is nobody left to tell.
        let _ended = tokio::io::copy_bidirectional(&mut app, &mut provider).await;
    };
    let drained = async {
        tasks.stopping().await;
        tokio::time::sleep(drain).await;
    };
    tokio::select! {
        () = both => {}
        () = drained => {}
    }
}
