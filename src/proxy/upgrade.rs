//! Upgrades (WebSocket): after the provider agrees, a tunnel that nobody looks into.

use std::sync::Arc;

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, on};
use hyper_util::rt::TokioIo;

use super::asked::Asked;
use super::body::{self, Body};
use super::outcome::{Outcome, Why};
use super::traffic::Counted;
use super::{Shared, headers, reply};
use crate::upstream::{Forwarded, empty};

/// Asks the provider for the upgrade. Its refusal is an answer like any other.
pub(super) async fn answer(shared: Arc<Shared>, mut request: Request<Incoming>) -> Response<Body> {
    let to = headers::upgrade(request.headers()).cloned();
    let app = on(&mut request);
    let (parts, body) = request.into_parts();
    let mut asked = Asked::new(&parts, &shared.base);
    ask_for(&mut asked.headers, to);
    let Some(request) = asked.request(&shared.upstream, body::flowing(body, shared.config.timeout)) else {
        return shared.unaddressable();
    };
    shared.traffic.count(Counted::Forwarded);
    match shared.upstream.forward_upgrade(request).await {
        Ok(forwarded) => join(shared, forwarded, app),
        Err(failure) => shared.failed(failure),
    }
}

fn ask_for(headers: &mut HeaderMap, to: Option<HeaderValue>) {
    if let Some(to) = to {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, to);
    }
}

fn join(shared: Arc<Shared>, forwarded: Forwarded, app: OnUpgrade) -> Response<Body> {
    let mut response = forwarded.response;
    let outcome = Outcome::Nothing(Why::Upgrade);
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let (head, body) = response.into_parts();
        return reply::through(head, body::flowing(body, shared.config.timeout), &outcome);
    }
    shared.traffic.count(Counted::Upgraded);
    let provider = on(&mut response);
    let to = response.headers().get(UPGRADE).cloned();
    let (head, _) = response.into_parts();
    let mut answer = reply::through(head, empty(), &outcome);
    ask_for(answer.headers_mut(), to);
    let tasks = shared.tasks.clone();
    tasks.spawn(tunnel(shared, app, provider));
    answer
}

/// Lasts until one side closes, or the process has stopped and its drain is over.
async fn tunnel(shared: Arc<Shared>, app: OnUpgrade, provider: OnUpgrade) {
    let both = async {
        let Ok((app, provider)) = tokio::try_join!(app, provider) else {
            return;
        };
        let (mut app, mut provider) = (TokioIo::new(app), TokioIo::new(provider));
        // Either side's end is the tunnel's; there is nobody left to tell.
        let _ended = tokio::io::copy_bidirectional(&mut app, &mut provider).await;
    };
    let drained = async {
        shared.tasks.stopping().await;
        tokio::time::sleep(shared.config.drain).await;
    };
    tokio::select! {
        () = both => {}
        () = drained => {}
    }
}
