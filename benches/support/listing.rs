//! The pages that a walk over all users gets.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use usertap::config::Config;
use usertap::provider::{Next, Page};
use usertap::upstream::{Priority, Upstream};

/// The bodies of all pages, fetched as a backfill does.
pub async fn bodies(config: &Config) -> Vec<Bytes> {
    let upstream = Upstream::alone(config).expect("a client");
    let mut cursor = None;
    let mut bodies = Vec::new();
    loop {
        let asked = config
            .provider
            .page_request(&config.tenant, cursor.as_ref(), false);
        let fetched = upstream
            .own(asked.request, Priority::Backfill)
            .await
            .expect("a page");
        let next = read(config, &fetched.body).next;
        bodies.push(fetched.body);
        match next {
            Next::More(at) => cursor = Some(at),
            _ => return bodies,
        }
    }
}

pub fn read(config: &Config, body: &[u8]) -> Page {
    let page = config
        .provider
        .page(&config.tenant, None, StatusCode::OK, &HeaderMap::new(), body);
    page.expect("a list")
}
