//! Refusals, and what is held back by them.

use tokio::net::TcpListener;

use super::super::tests::{FINE, REFUSED, SECOND, Script, asked, read, write, written};
use super::super::{Obstacle, UpstreamError};
use super::*;
use crate::config::Rate;

#[tokio::test]
async fn a_provider_that_asks_for_a_rest_is_left_alone_by_usertap_itself() {
    let upstream = Upstream::plain("http://127.0.0.1:9", &[], SECOND);
    let of_the_limit = http::HeaderName::from_static("x-rate-limit-reset");
    let of_the_limit = HeaderMap::from_iter([(of_the_limit, "10".parse().unwrap())]);
    for says_nothing in [&HeaderMap::new(), &of_the_limit] {
        upstream.heed(StatusCode::SERVICE_UNAVAILABLE, says_nothing, Yields::Everyone);
        assert_eq!(upstream.paused(Priority::Backfill), None);
    }
    let soon = HeaderMap::from_iter([(http::header::RETRY_AFTER, "10".parse().unwrap())]);
    upstream.heed(StatusCode::SERVICE_UNAVAILABLE, &soon, Yields::Everyone);
    assert!(upstream.paused(Priority::Refetch).is_some());
    assert_eq!(upstream.paused(Priority::App), None);
}

#[tokio::test]
async fn what_could_not_leave_takes_nothing_of_the_limit() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr();
    let limit = Rate {
        requests: 1,
        per: SECOND * 3_600,
    };
    let upstream = Upstream::plain(&format!("http://{}", free.unwrap()), &[limit.into()], SECOND);
    for _ in 0..3 {
        let asked = upstream.forward(write(&upstream), written(), Priority::App, clock::now(), || {});
        assert_eq!(
            asked.await.unwrap_err(),
            UpstreamError::Unreachable(Obstacle::Refused)
        );
    }
}

/// Where each endpoint has limits of its own, what holds apps back is not closed, and this one is.
#[tokio::test]
async fn a_refusal_of_one_endpoint_is_waited_out_by_whoever_got_it() {
    for (patience, waits) in [(SECOND / 2, false), (SECOND * 5, true)] {
        let script = Script::of(&[REFUSED, FINE]).await;
        let upstream = Upstream {
            widest: Yields::Own,
            ..Upstream::plain(&script.url, &[], patience)
        };
        let began = clock::now();
        let answer = upstream.own(read(), Priority::App).await;
        match waits {
            true => assert!(answer.is_ok() && clock::now() - began >= SECOND),
            false => assert!(matches!(answer, Err(UpstreamError::Limited { .. })), "{answer:?}"),
        }
        assert_eq!(script.seen().len(), 1 + usize::from(waits));
    }
}

#[tokio::test]
async fn a_refusal_is_waited_out_by_everyone() {
    let script = Script::of(&[REFUSED, FINE]).await;
    let upstream = Upstream::plain(&script.url, &[], SECOND * 5);
    let began = clock::now();
    assert_eq!(
        upstream.own(read(), Priority::Refetch).await.unwrap().status,
        StatusCode::OK
    );
    assert!(clock::now() - began >= SECOND);
    upstream.heed(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new(), Yields::Everyone);
    let forwarded = upstream
        .forward(write(&upstream), written(), Priority::App, clock::now(), || {})
        .await;
    assert!(forwarded.is_ok() && clock::now() - began >= SECOND * 2);
}

#[tokio::test]
async fn a_refusal_longer_than_the_patience_is_told_at_once() {
    let (script, answer) = asked(&[REFUSED], SECOND / 2).await;
    assert!(matches!(answer, Err(UpstreamError::Limited { .. })), "{answer:?}");
    assert_eq!(script.seen().len(), 1);
}
