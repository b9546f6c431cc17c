//! What becomes of headers and targets on their way through. Nothing here knows a provider.
//!
//! Promise: whatever concerns only one connection, and whatever is usertap's own, is taken off;
//! nothing else is touched. A request is judged by the headers that leave, so that nobody can
//! show the judge one thing and the provider another.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, Entry, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use http_body::Frame;

/// Headers of usertap's own begin so.
const OWN: &str = "x-usertap-";

/// Of one connection, whatever its `Connection` says (RFC 9110, 7.6.1).
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// A request's headers as the provider gets them.
pub(super) fn to_provider(mut headers: HeaderMap) -> HeaderMap {
    let trailers = wants_trailers(&headers);
    // `Host` stays, and is said anew with the connection to the provider.
    take_off(&mut headers, |name| {
        is_hop_by_hop(name) || name == "http2-settings"
    });
    one_cookie_line(&mut headers);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    headers
}

/// An answer's headers as the app gets them. What was sent in chunks is not as long as it says beside
/// (RFC 9112, 6.3).
pub(super) fn to_app(headers: &mut HeaderMap) {
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    take_off(headers, is_hop_by_hop);
}

/// A piece of a body without what is usertap's own: trailers are headers, too.
pub(super) fn of_others(frame: Frame<Bytes>) -> Frame<Bytes> {
    frame.into_trailers().map_or_else(
        |data| data,
        |mut trailers| {
            take_off(&mut trailers, |_| false);
            Frame::trailers(trailers)
        },
    )
}

/// Whether a request's bytes are coded in a way that ends here: of transfer codings only `chunked` is
/// undone (RFC 9112, 6.1).
pub(super) fn is_coded(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(TRANSFER_ENCODING).iter();
    codings
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"chunked"))
}

/// What is asked to be upgraded to, HTTP/2 aside: that is only an offer, and has other ways.
pub(super) fn upgrade(headers: &HeaderMap) -> Option<&HeaderValue> {
    let named = named_by_connection(headers).any(|name| name.eq_ignore_ascii_case("upgrade"));
    let to = headers.get(UPGRADE).filter(|_| named)?;
    (!to.as_bytes().eq_ignore_ascii_case(b"h2c")).then_some(to)
}

/// Path and query below `base` (which ends without a slash), byte for byte. A target that is not
/// below it stays whole: whoever stands before usertap may have taken the base off.
pub(super) fn below<'t>(base: &str, target: &'t str) -> &'t str {
    match target.strip_prefix(base) {
        Some("") => "/",
        Some(rest) if rest.starts_with(['/', '?']) => rest,
        _ => target,
    }
}

/// The same on its own, for longer.
pub(super) fn target_below(base: &str, uri: &Uri) -> PathAndQuery {
    let whole = uri.path_and_query();
    let below = below(base, target(uri));
    match whole.filter(|whole| whole.as_str().len() == below.len()) {
        Some(whole) => whole.clone(),
        // A part of what could be one is one.
        None => PathAndQuery::try_from(below).unwrap_or(PathAndQuery::from_static("/")),
    }
}

/// Path and query as they came.
pub(super) fn target(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |target| target.as_str())
}

/// Takes off these, what `Connection` names, and what is usertap's own.
fn take_off(headers: &mut HeaderMap, these: impl Fn(&str) -> bool) {
    let named: Vec<&str> = named_by_connection(headers).collect();
    let leaves = |name: &&HeaderName| {
        let name = name.as_str();
        these(name) || name.starts_with(OWN) || named.iter().any(|named| named.eq_ignore_ascii_case(name))
    };
    let leaving: Vec<HeaderName> = headers.keys().filter(leaves).cloned().collect();
    for name in leaving {
        headers.remove(name);
    }
}

fn named_by_connection(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

fn wants_trailers(headers: &HeaderMap) -> bool {
    let values = headers.get_all(TE).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case("trailers"))
}

/// HTTP/2 may cut `Cookie` into several lines; outside of it they must be one (RFC 9113, 8.2.3).
fn one_cookie_line(headers: &mut HeaderMap) {
    let Entry::Occupied(mut lines) = headers.entry(COOKIE) else {
        return;
    };
    if lines.iter().nth(1).is_none() {
        return;
    }
    let parts: Vec<&[u8]> = lines.iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&parts.join(&b"; "[..])) {
        lines.insert(joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let line =
            |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        let mut headers = HeaderMap::new();
        lines
            .iter()
            .map(line)
            .for_each(|(name, value)| _ = headers.append(name, value));
        headers
    }

    #[test]
    fn what_concerns_the_connection_or_usertap_does_not_leave() {
        let sent = headers(&[
            ("host", "localhost:8400"),
            ("connection", "keep-alive, X-Secret-Hop"),
            ("connection", "close"),
            ("keep-alive", "timeout=5"),
            ("x-secret-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip, Trailers"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABk"),
            ("proxy-authorization", "Basic eDp5"),
            ("x-usertap-anything", "committed"),
            ("trailer", "x-sum"),
            ("x-stack-project-id", "a"),
            ("x-stack-project-id", "b"),
            ("expect", "100-continue"),
        ]);
        let left = headers(&[
            ("host", "localhost:8400"),
            ("trailer", "x-sum"),
            ("x-stack-project-id", "a"),
            ("x-stack-project-id", "b"),
            ("expect", "100-continue"),
            ("te", "trailers"),
        ]);
        assert_eq!(to_provider(sent), left);
    }

    #[test]
    fn answers_keep_everything_else_too() {
        let mut answer = headers(&[
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("connection", "close"),
            ("x-usertap-recorded", "committed"),
            ("content-length", "12"),
            ("location", "https://elsewhere.example/"),
        ]);
        to_app(&mut answer);
        let left = [
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("content-length", "12"),
        ];
        assert_eq!(
            answer,
            headers(&[&left[..], &[("location", "https://elsewhere.example/")]].concat())
        );
    }

    #[test]
    fn cut_cookies_become_one_line() {
        let out = to_provider(headers(&[("cookie", "a=1"), ("cookie", "b=2; c=3")]));
        assert_eq!(out.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
    }

    #[test]
    fn the_base_path_ends_at_a_segment() {
        assert_eq!(
            below("/auth", "/auth/api/v1/users?x=/auth"),
            "/api/v1/users?x=/auth"
        );
        assert_eq!(below("/auth", "/auth"), "/");
        assert_eq!(below("/auth", "/auth?x"), "?x");
        assert_eq!(below("/auth", "/authors/%2F"), "/authors/%2F");
        assert_eq!(below("", "/api//v1/%7Euser?&&="), "/api//v1/%7Euser?&&=");
    }

    #[test]
    fn only_a_named_upgrade_counts_and_http2_is_none() {
        let asked = |connection, to| headers(&[("connection", connection), ("upgrade", to)]);
        assert!(upgrade(&asked("keep-alive, Upgrade", "websocket")).is_some());
        assert!(upgrade(&asked("Upgrade, HTTP2-Settings", "h2c")).is_none());
        assert!(upgrade(&asked("keep-alive", "websocket")).is_none());
    }
}
