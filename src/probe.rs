//! Whether the provider is there and takes the key: asked for a user who cannot exist, it says
//! so only to the tenant's own server.

use http::StatusCode;

use crate::config::Config;
use crate::provider::Sighting;
use crate::upstream::{Answerer, Fetched, Priority, Upstream, UpstreamError};
use crate::user::{Seen, UserId};

/// What the provider made of the question.
#[derive(Debug)]
pub enum Found {
    /// The address, the tenant and the key are right.
    Accepts(Fetched),
    /// It answered, and not as the tenant's provider would; the status that it meant.
    Refuses(StatusCode),
    /// It may be right: nobody answered, or something is broken there.
    Away(UpstreamError),
    /// There is no key to ask with.
    NoKey,
}

/// The remedy for [`Found::Refuses`].
pub const REMEDY: &str = "correct the key and the tenant's settings; UPSTREAM must be the provider's API";

/// Asks once, and what is found is known to whoever sends there.
pub async fn ask(config: &Config, upstream: &Upstream) -> Found {
    let found = probe(config, upstream).await;
    let now = match &found {
        Found::Accepts(_) | Found::NoKey => Answerer::Settled,
        Found::Refuses(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Answerer::Settled,
        Found::Refuses(status) => Answerer::Unlike(*status),
        // That it is somebody else is no less true for it.
        Found::Away(_) => return found,
    };
    match (upstream.note_answerer(now), now) {
        (before, now) if before == now => {}
        (_, Answerer::Unlike(status)) => {
            tracing::error!(%status, "who answers at UPSTREAM is not the provider's API: {REMEDY}");
        }
        (Answerer::Unlike(_), _) => tracing::info!("who answers at UPSTREAM may be the provider again"),
        _ => {}
    }
    found
}

/// The question alone, for settings that need not be this process's.
pub async fn probe(config: &Config, upstream: &Upstream) -> Found {
    let nobody = config.provider.nobody(config.id_type);
    let request = nobody
        .as_ref()
        .and_then(|id| config.provider.read_user(&config.tenant, id));
    let (Some(nobody), Some(request)) = (nobody, request) else {
        return Found::NoKey;
    };
    // No app waits for it, and none is kept out by what it finds.
    let found = match upstream.own_soon(request, Priority::Refetch).await {
        Err(error) => Found::Away(error),
        Ok(answer) => judged(config, &nobody, answer),
    };
    match (&found, config.provider.opened_by_key(&config.tenant)) {
        (Found::Accepts(_), Some(request)) => match upstream.own_soon(request, Priority::Refetch).await {
            Err(error) => Found::Away(error),
            Ok(answer) => match upstream.note_opened(&answer) {
                meant if meant.is_success() => found,
                meant => unlike(meant),
            },
        },
        _ => found,
    }
}

fn unlike(status: StatusCode) -> Found {
    match status {
        status if status.is_server_error() => Found::Away(UpstreamError::Broken),
        StatusCode::TOO_MANY_REQUESTS => Found::Away(UpstreamError::Timeout),
        status => Found::Refuses(status),
    }
}

fn judged(config: &Config, nobody: &UserId, answer: Fetched) -> Found {
    let (status, headers) = (answer.status, &answer.headers);
    let told = config
        .provider
        .read_user_answer(&config.tenant, nobody, status, headers, &answer.body);
    match told {
        Some(Sighting {
            seen: Seen::Missing, ..
        }) => Found::Accepts(answer),
        _ => unlike(config.provider.effective_status(status, headers)),
    }
}
