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
use super::wire::{Failure, Wire};
use super::{headers, reply};
use crate::cache::{Bypass, Cached};
use crate::upstream::{Forwarded, empty};

/// Asks the provider for the upgrade. Its refusal is an answer like any other.
pub(super) async fn answer(
    wire: &Arc<Wire>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Failure> {
    let to = headers::upgrade(request.headers()).cloned();
    let app = on(&mut request);
    let (parts, body) = request.into_parts();
    let mut asked = Asked::new(&parts, &wire.base);
    ask_for(&mut asked.headers, to);
    let body = body::flowing(body, wire.idle);
    let request = asked
        .request(&wire.upstream, body)
        .ok_or(Failure::Unaddressable)?;
    wire.traffic.count(Counted::Forwarded);
    let forwarded = wire
        .upstream
        .forward_upgrade(request)
        .await
        .map_err(Failure::Upstream)?;
    let answer = join(wire, forwarded, app);
    asked.log(
        "-",
        answer.status(),
        &Outcome::Nothing(Why::Upgrade),
        Cached::Bypass(Bypass::Own),
    );
    Ok(answer)
}

fn ask_for(headers: &mut HeaderMap, to: Option<HeaderValue>) {
    if let Some(to) = to {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, to);
    }
}

fn join(wire: &Arc<Wire>, forwarded: Forwarded, app: OnUpgrade) -> Response<Body> {
    let mut response = forwarded.response;
    let outcome = Outcome::Nothing(Why::Upgrade);
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let (head, body) = response.into_parts();
        return reply::through(
            head,
            body::flowing(body, wire.idle),
            &outcome,
            Cached::Bypass(Bypass::Own),
        );
    }
    wire.traffic.count(Counted::Upgraded);
    let provider = on(&mut response);
    let to = response.headers().get(UPGRADE).cloned();
    let (head, _) = response.into_parts();
    let mut answer = reply::through(head, empty(), &outcome, Cached::Bypass(Bypass::Own));
    ask_for(answer.headers_mut(), to);
    wire.tasks.spawn(tunnel(wire.clone(), app, provider));
    answer
}

/// Lasts until one side closes, or the process has stopped and its drain is over.
async fn tunnel(wire: Arc<Wire>, app: OnUpgrade, provider: OnUpgrade) {
    let both = async {
        let Ok((app, provider)) = tokio::try_join!(app, provider) else {
            return;
        };
        let (mut app, mut provider) = (TokioIo::new(app), TokioIo::new(provider));
        // Either side's end is the tunnel's; there is nobody left to tell.
        let _ended = tokio::io::copy_bidirectional(&mut app, &mut provider).await;
    };
    let drained = async {
        wire.tasks.stopping().await;
        tokio::time::sleep(wire.drain).await;
    };
    tokio::select! {
        () = both => {}
        () = drained => {}
    }
}
