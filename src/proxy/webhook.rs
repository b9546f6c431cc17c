//! `POST /_usertap/webhooks`: what the provider sends by itself, and what it is told.
//!
//! 2xx says that it need not send it again; 503 that it must. Before it sends any it may ask by GET
//! whether somebody is there.

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;

use super::body::{self, Body};
use super::hold::Ended;
use super::own::{self, WebhookTaken, WebhookUnread};
use super::traffic::Counted;
use super::{Shared, headers, reply};
use crate::clock;

const PATH: &str = "/webhooks";
/// More than any user with the metadata that providers allow.
const LARGEST: usize = 1 << 20;

pub(super) fn is_for(shared: &Shared, request: &Request<Incoming>) -> bool {
    own::path(headers::below(&shared.wire.base, request.uri().path())) == Some(PATH)
}

pub(super) async fn answer(shared: &Shared, request: Request<Incoming>) -> Response<Body> {
    shared.wire.traffic.count(Counted::Own);
    let (head, sent) = request.into_parts();
    let challenged = (head.method == Method::GET && !shared.config.webhook_secrets.is_empty())
        .then(|| shared.config.provider.challenged(&head.headers))
        .flatten();
    if let Some(answer) = challenged {
        return reply::json(StatusCode::OK, &answer);
    }
    if head.method != Method::POST {
        let text = "this path takes the provider's webhooks, by POST";
        return own::refused_method(shared, "POST", text);
    }
    if !shared.local.takes_webhooks() {
        return said(shared, WebhookTaken::Closed);
    }
    let until = clock::now() + shared.config.timeout;
    let sent = body::arriving(sent, shared.wire.idle);
    let mut arriving = Arriving::of(shared);
    let (mut held, ended) = shared.memory.hold_request(sent, LARGEST, until).await;
    match ended {
        Ended::Whole => arriving.unread = None,
        Ended::More(_) if held.len() > LARGEST => {
            arriving.unread = Some(WebhookUnread::TooLarge);
            let text = "no webhook is so large";
            return own::refusal(shared, StatusCode::PAYLOAD_TOO_LARGE, "webhook-too-large", text);
        }
        // Others take the memory, or it dawdles.
        Ended::More(_) => {
            arriving.unread = Some(WebhookUnread::NotHeld);
            return said(shared, WebhookTaken::NotDurable);
        }
        Ended::Late => {
            let text = "the webhook came too slowly to be read";
            return reply::late(&shared.config.provider, "webhook-broken", text);
        }
        Ended::Broken => {
            let text = "the webhook broke off";
            return own::refusal(shared, StatusCode::BAD_REQUEST, "webhook-broken", text);
        }
    }
    said(shared, shared.local.webhook(&head.headers, held.joined()).await)
}

/// A delivery whose body is on its way. It is counted also where its connection ends, and this with it.
struct Arriving<'s> {
    shared: &'s Shared,
    /// What it is if it ends now.
    unread: Option<WebhookUnread>,
}

impl Arriving<'_> {
    fn of(shared: &Shared) -> Arriving<'_> {
        Arriving {
            shared,
            unread: Some(WebhookUnread::Broken),
        }
    }
}

impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        if let Some(why) = self.unread {
            self.shared.local.webhook_unread(why);
        }
    }
}

fn said(shared: &Shared, taken: WebhookTaken) -> Response<Body> {
    match taken {
        WebhookTaken::Acknowledged(word) => reply::json(StatusCode::OK, &json!({ "webhook": word })),
        WebhookTaken::Closed => {
            let text = "usertap takes no webhooks: set WEBHOOK_SECRET to the endpoint's signing secret";
            own::refusal(shared, StatusCode::NOT_FOUND, "no-webhook-secret", text)
        }
        WebhookTaken::Refused(reason) => {
            let text = format!("the webhook is not believed ({reason})");
            own::refusal(shared, StatusCode::UNAUTHORIZED, "webhook-refused", &text)
        }
        WebhookTaken::NotDurable => {
            let text = "what the webhook tells cannot be kept now: send it again";
            let status = StatusCode::SERVICE_UNAVAILABLE;
            reply::error(
                &shared.config.provider,
                status,
                "webhook-not-durable",
                text,
                Some(reply::LATER),
            )
        }
    }
}
