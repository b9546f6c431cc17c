//! The console: what an operator sees of usertap in a browser, and what can be done there.
//!
//! Every page is rendered here, whole; the one script only asks for the page again and puts what
//! changed in its place. Users are written through the proxy, by the same way as any app's requests.
//! What must never be: a key, token or password on a page; a second path to the users' table; an
//! action without a form of the browser's own page.

mod compare;
mod connect;
mod edit;
mod feed;
mod guard;
mod history;
mod link;
mod live;
mod login;
mod overview;
mod page;
mod pieces;
mod session;
mod setup;
mod slots;
mod user;
mod users;
mod walks;

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::provider::console::Deed;
use crate::proxy::{Door, Traffic};
use crate::station::Station;
use crate::telemetry::Strangers;

/// Cheap to clone.
#[derive(Clone)]
pub struct Console(Arc<Shared>);

/// What all pages have in common.
pub struct Shared {
    station: Arc<Station>,
    traffic: Arc<Traffic>,
    door: Door,
    /// Where the proxy listens.
    proxied: SocketAddr,
    /// Where the console does.
    listen: SocketAddr,
    sessions: session::Sessions,
    history: history::History,
    link: link::Link,
    once: connect::Once,
    strangers: Strangers,
}

impl Deref for Console {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Console {
    pub fn new(
        station: Arc<Station>,
        traffic: Arc<Traffic>,
        door: Door,
        (proxied, listen): (SocketAddr, SocketAddr),
    ) -> Console {
        Console(Arc::new(Shared {
            strangers: Strangers::new(station.tasks.clone()),
            station,
            traffic,
            door,
            proxied,
            listen,
            sessions: session::Sessions::new(listen.port()),
            history: history::History::default(),
            link: link::Link::default(),
            once: connect::Once::default(),
        }))
    }

    /// Its pages, and the task that remembers the last minutes.
    pub fn routes(self) -> Router {
        self.station
            .tasks
            .spawn_until_stopped(history::watch(self.clone()));
        let pages = Router::new()
            .route("/", get(overview::show))
            .route("/backfill", post(walks::backfill))
            .route("/reconcile", get(walks::ask).post(walks::reconcile))
            .route("/users", get(users::show))
            .route("/users/new", get(edit::new).post(edit::create))
            .route("/users/{id}", get(user::show))
            .route("/users/{id}/read", post(user::read))
            .route("/users/{id}/edit", get(edit::edit).post(edit::save))
            .route("/users/{id}/delete", get(edit::ask_delete).post(edit::delete))
            .route("/feed", get(feed::show))
            .route("/feed/slots", post(slots::make))
            .route("/feed/slots/{name}", get(slots::ask).post(slots::act))
            .route("/connect", get(connect::show).post(connect::check))
            .route("/connect/provision", post(connect::provision))
            .route("/connect/subscribe", post(connect::subscribe))
            .route("/setup", get(setup::show))
            .route("/live", get(live::changes))
            .route("/logout", post(login::leave))
            .layer(middleware::from_fn_with_state(self.clone(), guard::signed_in));
        Router::new()
            .route("/login", get(login::show).post(login::enter))
            .merge(pages)
            .route("/assets/console.css", get(page::style))
            .route("/assets/console.js", get(page::script))
            .route("/assets/icon.svg", get(page::icon))
            .fallback(nowhere)
            .layer(middleware::from_fn_with_state(self.clone(), guard::known))
            .with_state(self)
    }

    fn can_create(&self) -> bool {
        let config = &self.station.config;
        config.tenant.key.is_some() && config.provider.can(Deed::Create)
    }

    /// The base URL by which apps reach the proxy.
    fn base(&self) -> String {
        let config = &self.station.config;
        if let Some(public) = &config.public_url {
            return public.as_str().trim_end_matches('/').to_owned();
        }
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        let host = match self.proxied.ip() {
            ip if ip.is_unspecified() => "localhost".to_owned(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
            ip => ip.to_string(),
        };
        format!("{scheme}://{host}:{}", self.proxied.port())
    }
}

async fn nowhere() -> Response {
    let page = page::alone("Nothing here", "The console has no page of that name.");
    (StatusCode::NOT_FOUND, page).into_response()
}

/// A parameter of the query, empty where there is none.
fn asked(uri: &Uri, name: &str) -> String {
    let query = uri.query().unwrap_or_default();
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs
        .find(|(own, _)| own == name)
        .map_or(String::new(), |(_, value)| value.into_owned())
}
