//! The token of usertap's own requests, where the provider gives one for the key.
//!
//! One is asked for at a time, and kept in memory until shortly before its end, or until it is
//! refused. It is never shown. Where the provider gives no more for a while, nobody asks meanwhile.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

use super::{RequestBody, UNSAID, Upstream, UpstreamError, own, pause};
use crate::clock::{self, Instant};
use crate::provider::{Provider, Tenant};

/// So long before its end a token is not begun with any more.
const MARGIN: Duration = Duration::from_secs(10);
/// Nor is it kept longer, whatever its answer says.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

pub(super) struct Login {
    provider: Arc<Provider>,
    tenant: Arc<Tenant>,
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: Option<Kept>,
    /// Until then no other is given.
    closed: Option<Instant>,
}

struct Kept {
    token: SecretString,
    until: Instant,
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum NoToken {
    /// The provider does not take the key.
    Refused(StatusCode),
    Upstream(UpstreamError),
}

impl Login {
    /// Where the provider's file says how.
    pub fn of(provider: Arc<Provider>, tenant: Arc<Tenant>) -> Option<Login> {
        provider.login(&tenant)?;
        Some(Login {
            provider,
            tenant,
            state: Default::default(),
        })
    }

    pub async fn token(&self, upstream: &Upstream) -> Result<SecretString, NoToken> {
        let mut state = self.state.lock().await;
        if let Some(kept) = state.kept.as_ref().filter(|kept| kept.until > clock::now()) {
            return Ok(kept.token.clone());
        }
        if let Some(wait) = state
            .closed
            .and_then(|until| until.checked_duration_since(clock::now()))
        {
            return Err(limited(wait));
        }
        let (token, lasts) = self.ask(upstream).await.inspect_err(|none| {
            state.closed = none.wait().map(|wait| clock::now() + wait);
        })?;
        let lasts = lasts.min(LONGEST);
        let until = clock::now() + lasts.saturating_sub(MARGIN.min(lasts / 2));
        state.kept = Some(Kept {
            token: token.clone(),
            until,
        });
        Ok(token)
    }

    /// It was refused: the next one is a new one.
    pub async fn forget(&self, refused: &SecretString) {
        let mut state = self.state.lock().await;
        let same = |kept: &mut Kept| kept.token.expose_secret() == refused.expose_secret();
        state.kept.take_if(same);
    }

    async fn ask(&self, upstream: &Upstream) -> Result<(SecretString, Duration), NoToken> {
        let broken = NoToken::Upstream(UpstreamError::Broken);
        let Some(login) = self.provider.login(&self.tenant) else {
            return Err(broken);
        };
        let mut request = Request::new(body(login.body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = upstream.target(&login.target).ok_or(broken)?;
        let json = HeaderValue::from_static("application/json");
        *request.headers_mut() = HeaderMap::from_iter([(CONTENT_TYPE, login.content_type), (ACCEPT, json)]);
        let answer = timeout(upstream.timeout, upstream.client.request(Box::new(request))).await;
        let answer = answer.map_err(|_| NoToken::Upstream(UpstreamError::Timeout))?;
        let answer = answer.map_err(NoToken::Upstream)?;
        let (head, answered) = answer.into_parts();
        let answered = own::whole(answered, upstream.timeout)
            .await
            .map_err(NoToken::Upstream)?;
        match self.provider.token_given(head.status, &answered) {
            Some(given) => Ok(given),
            None if head.status == StatusCode::TOO_MANY_REQUESTS => {
                let said = pause::refusal(&head.headers, clock::wall());
                Err(limited(said.unwrap_or(UNSAID)))
            }
            None if head.status.is_client_error() => Err(NoToken::Refused(StatusCode::UNAUTHORIZED)),
            None => Err(NoToken::Refused(head.status)),
        }
    }
}

impl NoToken {
    /// How long the provider asked to be left alone.
    fn wait(&self) -> Option<Duration> {
        match self {
            NoToken::Upstream(UpstreamError::Limited { retry_after, .. }) => Some(*retry_after),
            NoToken::Upstream(_) | NoToken::Refused(_) => None,
        }
    }
}

fn limited(retry_after: Duration) -> NoToken {
    NoToken::Upstream(UpstreamError::Limited {
        retry_after,
        in_line: false,
    })
}

/// JSON or a form, whole.
pub(super) fn body(text: String) -> RequestBody {
    Full::new(Bytes::from(text))
        .map_err(|never| match never {})
        .boxed()
}
