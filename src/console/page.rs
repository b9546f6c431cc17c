//! The frame of every page: landmarks, the way round, what a reader without a mouse or a screen needs.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};
use sha2::{Digest, Sha256};

use super::Console;
use super::guard::{PROOF, Visitor};

const STYLE: &str = include_str!("assets/console.css");
const SCRIPT: &str = include_str!("assets/console.js");
const ICON: &str = include_str!("assets/icon.svg");

/// Changes with the files, so that browsers may keep them for ever.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let hash = Sha256::digest([STYLE, SCRIPT, ICON].concat());
    hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
});

const PLACES: [(&str, &str); 5] = [
    ("/", "Overview"),
    ("/users", "Users"),
    ("/feed", "Feed"),
    ("/connect", "Connect"),
    ("/setup", "Setup"),
];

/// How a page keeps itself up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Live<'a> {
    No,
    /// On every change of this user.
    OfUser(&'a str),
    /// On every change, and every so many milliseconds.
    Yes {
        every: u32,
    },
}

/// What a page is made of beside its body.
pub struct Frame<'a> {
    /// Where in the way round it stands.
    pub place: &'a str,
    pub title: &'a str,
    pub live: Live<'a>,
}

/// A whole page.
pub fn page(console: &Console, visitor: &Visitor, frame: &Frame<'_>, body: Markup) -> Markup {
    let (refresh, changes) = match frame.live {
        Live::No => (None, None),
        Live::OfUser(id) => (Some(0), Some(format!("/live?{}", query(&[("id", id)])))),
        Live::Yes { every } => (Some(every), Some("/live".to_owned())),
    };
    let provider = &console.station.config.provider;
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(frame.title))
            body data-refresh=[refresh] data-changes=[changes] {
                a.skip href="#main" { "Skip to the content" }
                header.top {
                    a.brand href="/" aria-label="usertap, overview" { span.mark aria-hidden="true" {} "usertap" }
                    nav aria-label="Main" {
                        ul {
                            @for (path, name) in PLACES {
                                li { a href=(path) aria-current=[(path == frame.place).then_some("page")] { (name) } }
                            }
                        }
                    }
                    div.aside {
                        @if frame.live != Live::No {
                            p #state.state role="status" { span.dot aria-hidden="true" {} span #state-text { "As of now" } }
                        }
                        @if visitor.signed_in {
                            form method="post" action="/logout" { (proof(visitor)) button.quiet type="submit" { "Sign out" } }
                        }
                    }
                }
                main #main tabindex="-1" { (body) }
                footer {
                    p {
                        "usertap " (env!("CARGO_PKG_VERSION")) " between your app and " (provider.title())
                        ". Times are UTC. The same for programs: " (programs(console))
                    }
                }
            }
        }
    }
}

/// What programs ask; a browser has no token to send, so that with one these are only names.
fn programs(console: &Console) -> Markup {
    const PATHS: [&str; 4] = ["/v1/status", "/v1/users", "/v1/changes", "/metrics"];
    let linked = console.station.config.admin_token.is_none();
    html! {
        @for (at, path) in PATHS.into_iter().enumerate() {
            @if at > 0 { ", " }
            @if linked { a href=(path) { (path) } } @else { code { (path) } }
        }
        "."
    }
}

/// A page for those who are not signed in.
pub fn bare(title: &str, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(title))
            body.bare {
                main #main {
                    p.brand { span.mark aria-hidden="true" {} "usertap" }
                    h1 { (title) }
                    (body)
                }
            }
        }
    }
}

/// A sentence and nothing else.
pub fn alone(title: &str, text: &str) -> Markup {
    bare(
        title,
        html! { p { (text) } p { a href="/" { "To the overview" } } },
    )
}

fn head(title: &str) -> Markup {
    let version = VERSION.as_str();
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="robots" content="noindex";
            title { (title) " · usertap" }
            link rel="icon" type="image/svg+xml" href={ "/assets/icon.svg?" (version) };
            link rel="stylesheet" href={ "/assets/console.css?" (version) };
            script defer src={ "/assets/console.js?" (version) } {}
        }
    }
}

/// What a form carries to prove that it is one of ours.
pub fn proof(visitor: &Visitor) -> Markup {
    html! { input type="hidden" name=(PROOF) value=(visitor.proof); }
}

/// `a=b&c=d`, escaped; empty values are left out.
pub fn query(pairs: &[(&str, &str)]) -> String {
    let pairs = pairs.iter().filter(|(_, value)| !value.is_empty());
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

/// One segment of a path.
pub fn segment(text: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');
    utf8_percent_encode(text, PLAIN).to_string()
}

pub async fn style() -> Response {
    asset("text/css; charset=utf-8", STYLE)
}

pub async fn script() -> Response {
    asset("text/javascript; charset=utf-8", SCRIPT)
}

pub async fn icon() -> Response {
    asset("image/svg+xml", ICON)
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, text).into_response()
}
