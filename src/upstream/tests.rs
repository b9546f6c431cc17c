//! Against a server that says exactly what it is told to, byte for byte.

mod script;

use futures_util::{StreamExt as _, stream};
use http::HeaderMap;
use tokio::net::TcpListener;

use super::*;
use crate::config::Rate;
use crate::provider::{OwnRequest, Provider};
use crate::tasks::Tasks;
use crate::user::{Position, UserId};

pub(crate) use script::{Says, Script};

/// A file of a certificate that is good for loopback.
pub(crate) fn tls_file(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/tls")
        .join(name)
}

impl Upstream {
    pub(crate) fn plain(url: &str, limits: &[Limit], timeout: Duration) -> Upstream {
        let base = Base::of(&url.parse().unwrap()).unwrap();
        let client = Client::new(&base, None, None, timeout, &Tasks::default()).unwrap();
        Upstream::to(base, client, limits, timeout)
    }

    pub(crate) fn trusting(url: &str, ca: &std::path::Path, timeout: Duration, tasks: &Tasks) -> Upstream {
        let base = Base::of(&url.parse().unwrap()).unwrap();
        let client = Client::new(&base, Some(ca), None, timeout, tasks).unwrap();
        Upstream::to(base, client, &[], timeout)
    }
}

pub(super) const FINE: Says = Says::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
const BUSY: Says = Says::Bytes(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n");
pub(super) const REFUSED: Says =
    Says::Bytes(b"HTTP/1.1 429 Too Many\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n");
const MOVED: Says =
    Says::Bytes(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n");
const CUT: Says = Says::Last(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{");
const GZIP: Says = Says::Bytes(
    b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 22\r\n\r\n\
      \x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\xae\x05\x00\x43\xbf\xa6\xa3\x02\x00\x00\x00",
);
pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn read() -> OwnRequest {
    let headers = HeaderMap::from_iter([(http::header::AUTHORIZATION, "Bearer own".parse().unwrap())]);
    OwnRequest {
        token: None,
        body: None,
        is_question: false,
        method: Method::GET,
        target: "/users/1?a=%2F".into(),
        headers,
    }
}

pub(super) fn write(upstream: &Upstream) -> impl Fn(RequestBody) -> Request<RequestBody> {
    let uri = upstream.target("/users").unwrap();
    move |body| Request::post(uri.clone()).body(body).unwrap()
}

pub(super) fn written() -> RequestBody {
    http_body_util::Full::new(Bytes::from_static(b"{}"))
        .map_err(|never| match never {})
        .boxed()
}

pub(super) async fn asked(answers: &[Says], timeout: Duration) -> (Script, Result<Fetched, UpstreamError>) {
    let script = Script::of(answers).await;
    let upstream = Upstream::plain(&script.url, &[], timeout);
    let answer = upstream.own(read(), Priority::App).await;
    (script, answer)
}

#[tokio::test]
async fn an_own_read_carries_what_it_was_given_and_is_decoded() {
    let (script, answer) = asked(&[GZIP], SECOND * 5).await;
    assert_eq!(answer.unwrap().body, "{}");
    let head = script.seen().remove(0);
    assert!(head.starts_with("GET /users/1?a=%2F HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: Bearer own\r\n") && head.contains("accept-encoding: gzip, br\r\n"));
}

#[tokio::test]
async fn a_failed_read_is_repeated_with_a_stamp_of_its_own() {
    let script = Script::of(&[BUSY, FINE]).await;
    let upstream = Upstream::plain(&script.url, &[], SECOND * 5);
    let commit_between = async {
        while script.seen().is_empty() {
            tokio::task::yield_now().await;
        }
        upstream.head.committed(1, Position(7), clock::now());
    };
    let (answer, ()) = tokio::join!(upstream.own(read(), Priority::App), commit_between);
    let answer = answer.unwrap();
    assert_eq!(
        (answer.status, answer.sent.position),
        (StatusCode::OK, Position(7))
    );
}

#[tokio::test]
async fn redirects_are_answers_and_never_followed() {
    let (script, answer) = asked(&[MOVED], SECOND * 5).await;
    assert_eq!(answer.unwrap().status, StatusCode::FOUND);
    assert_eq!(script.seen().len(), 1);
}

#[tokio::test]
async fn what_breaks_off_or_never_comes_is_an_error_in_time() {
    let began = clock::now();
    let (script, cut) = asked(&[CUT], SECOND).await;
    assert!(cut.is_err() && script.seen().len() > 1);
    let (_, silent) = asked(&[Says::Nothing], SECOND).await;
    assert_eq!(silent.unwrap_err(), UpstreamError::Timeout);
    assert!(clock::now() - began < SECOND * 4);
}

#[tokio::test]
async fn an_unanswered_write_leaves_a_doubt_and_is_never_repeated() {
    for (says, failure) in [
        (Says::Last(b""), UpstreamError::Broken),
        (Says::Nothing, UpstreamError::Timeout),
    ] {
        let script = Script::of(&[says]).await;
        let upstream = Upstream::plain(&script.url, &[], SECOND);
        let failed = upstream
            .forward(write(&upstream), written(), Priority::App, clock::now(), || {})
            .await
            .unwrap_err();
        assert!(failed == failure && failed.leaves_doubt());
        assert_eq!(script.seen().len(), 1);
    }
}

/// One piece of a body, and then this.
fn begun(
    then: impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + Sync + 'static,
) -> RequestBody {
    let piece = stream::iter([Ok(Bytes::from_static(b"{"))]);
    let frames = piece
        .chain(then)
        .map(|piece| piece.map(http_body::Frame::data).map_err(Into::into));
    BodyExt::boxed(http_body_util::StreamBody::new(frames))
}

#[tokio::test]
async fn an_upload_that_breaks_off_or_stands_still_is_no_failure_of_the_providers() {
    let script = Script::of(&[Says::Nothing]).await;
    let upstream = Upstream::plain(&script.url, &[], SECOND / 5);
    for _ in 0..4 {
        let broken = stream::iter([Err(std::io::Error::other("the app has gone"))]);
        for body in [begun(broken), begun(stream::pending())] {
            let failed = upstream.forward(write(&upstream), body, Priority::App, clock::now(), || {});
            let failed = failed.await.unwrap_err();
            assert_eq!(failed, UpstreamError::Unfinished);
            assert!(!failed.leaves_doubt());
        }
    }
    assert_eq!(upstream.health(), Health::Closed);
    // The provider's own silence is one.
    for _ in 0..5 {
        let asked = upstream.forward(write(&upstream), written(), Priority::App, clock::now(), || {});
        assert_eq!(asked.await.unwrap_err(), UpstreamError::Timeout);
    }
    assert_eq!(upstream.health(), Health::Open);
}

#[tokio::test]
async fn who_waits_for_a_place_is_not_the_one_that_tries_a_provider_that_failed() {
    let dropped = [Says::Last(b""); 5];
    let script = Script::of(&[&dropped[..], &[FINE]].concat()).await;
    let upstream = Upstream::plain(&script.url, &[], SECOND * 5);
    for _ in dropped {
        let asked = upstream.forward(write(&upstream), written(), Priority::App, clock::now(), || {});
        assert_eq!(asked.await.unwrap_err(), UpstreamError::Broken);
    }
    let soon = HeaderMap::from_iter([(http::header::RETRY_AFTER, "10".parse().unwrap())]);
    upstream.heed(StatusCode::TOO_MANY_REQUESTS, &soon, Yields::Own);
    while upstream.breaker.admits(Priority::App, Try::Prompt).is_err() {
        tokio::task::yield_now().await;
    }
    let mut own = pin!(upstream.own(read(), Priority::Backfill));
    assert!(futures_util::poll!(&mut own).is_pending());
    let asked = upstream.forward(write(&upstream), written(), Priority::App, clock::now(), || {});
    assert!(asked.await.is_ok());
    assert_eq!(upstream.health(), Health::Closed);
}

#[tokio::test]
async fn what_was_waited_for_already_is_not_waited_for_again() {
    let script = Script::of(&[Says::Nothing]).await;
    let upstream = Upstream::plain(&script.url, &[], SECOND * 60);
    let (now, earlier) = (clock::now(), SECOND * 59);
    let asked = upstream.forward(write(&upstream), written(), Priority::App, now - earlier, || {});
    assert_eq!(asked.await.unwrap_err(), UpstreamError::Timeout);
    assert!(clock::now() - now < SECOND * 30);
}

#[tokio::test]
async fn what_cannot_be_reached_leaves_no_doubt() {
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let upstream = Upstream::plain(&format!("http://{free}"), &[], SECOND);
    let failed = upstream
        .forward(write(&upstream), written(), Priority::App, clock::now(), || {})
        .await
        .unwrap_err();
    assert!(failed == UpstreamError::Unreachable(Obstacle::Refused) && !failed.leaves_doubt());
}

#[tokio::test]
async fn who_waits_for_a_token_holds_up_no_app() {
    // The way to a token hangs, and nothing else does.
    let script = Script::of(&[Says::Nothing, FINE]).await;
    let provider = Arc::new(Provider::builtin("logto").unwrap());
    let (url, setting) = (script.url.parse().unwrap(), |name: &str| Some(name.to_owned()));
    let tenant = provider.tenant(provider.id_type, Some(url), &setting).unwrap();
    let tenant = Arc::new(tenant);
    let (requests, per) = (1, SECOND * 60);
    let upstream = Upstream {
        login: login::Login::of(provider.clone(), tenant.clone()),
        ..Upstream::plain(&script.url, &[Rate { requests, per }.into()], SECOND)
    };
    let user = UserId::parse("u1", provider.id_type).unwrap();
    let read = upstream.own_soon(provider.read_user(&tenant, &user).unwrap(), Priority::Refetch);
    let asked = async {
        while script.seen().is_empty() {
            tokio::task::yield_now().await;
        }
        upstream
            .forward(write(&upstream), written(), Priority::App, clock::now(), || {})
            .await
    };
    let (read, asked) = tokio::join!(read, asked);
    assert_eq!((read.is_ok(), asked.map(|_| ())), (false, Ok(())));
}

#[tokio::test]
async fn a_published_limit_holds_for_apps_too() {
    let script = Script::of(&[FINE]).await;
    let rate = Rate {
        requests: 1,
        per: SECOND * 60,
    };
    let upstream = Upstream::plain(&script.url, &[rate.into()], SECOND);
    upstream
        .forward(write(&upstream), written(), Priority::App, clock::now(), || {})
        .await
        .unwrap();
    let refused = upstream
        .forward(write(&upstream), written(), Priority::App, clock::now(), || {})
        .await
        .unwrap_err();
    assert!(matches!(refused, UpstreamError::Limited { retry_after, .. } if retry_after > SECOND * 50));
    assert_eq!(script.seen().len(), 1);
}
