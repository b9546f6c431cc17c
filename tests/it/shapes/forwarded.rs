//! What proxies in front of usertap say of how an app came: believed of those that are trusted, and passed on as it
//! is whoever says it.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

use ::http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::pages::{PAGE, next, okta};
use crate::support::http::{self, Reply};
use crate::support::shapes::Shaped;

const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const KEY: (&str, &str) = ("authorization", "SSWS 00token");

async fn ask(world: &Shaped, peer: Option<Ipv4Addr>, said: &[(&str, &str)]) -> Reply {
    let url = format!("http://{}{PAGE}", world.served.listen());
    let headers = [&[KEY], said].concat();
    let answer = http::request_from(peer, Method::GET, &url, &headers, "").await;
    answer.expect("an answer, whole")
}

/// The scheme and the host in the URL of the next page.
fn base(reply: &Reply) -> &str {
    let (base, rest) = next(reply).split_once("/api/v1/users?").expect("its path");
    assert!(rest.starts_with("after="), "{rest}");
    base
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_says_by_which_name_an_app_came_and_nobody_else() {
    let world = okta(&[("USERTAP_TRUSTED_PROXIES", "127.0.0.2, fd00::/8")]).await;
    let own = format!("http://{}", world.served.listen());
    let said = [
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-host", "auth.example.com"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-for", "192.0.2.7, 127.0.0.1"),
        ("x-forwarded-port", "443"),
        ("forwarded", "for=192.0.2.7"),
    ];
    // The same request by both: nothing kept for the one is given to the other.
    for word in ["miss", "hit", "hit"] {
        for (peer, by) in [(Some(PROXY), "https://auth.example.com"), (None, &own)] {
            let reply = ask(&world, peer, &said).await;
            let cached = reply.header("x-usertap-cache").expect("a word");
            assert!(cached.starts_with(word), "{peer:?}: {cached}");
            assert_eq!(base(&reply), by, "{peer:?}");
        }
    }
    ask(&world, Some(PROXY), &[]).await;
    let asked = world.shapes.asked();
    let pages: Vec<_> = asked.iter().filter(|asked| asked.target == PAGE).collect();
    let [by_proxy, by_app, unsaid] = pages[..] else {
        panic!("{} requests", pages.len())
    };
    for asked in [by_proxy, by_app] {
        for (name, _) in said {
            let came: Vec<_> = asked.headers.get_all(name).iter().collect();
            let sent: Vec<_> = said.iter().filter(|(own, _)| *own == name).collect();
            assert_eq!(came, sent.iter().map(|(_, value)| *value).collect::<Vec<_>>());
        }
        assert_eq!(asked.headers.len(), by_proxy.headers.len());
    }
    let is_added = |name: &str| name.contains("forwarded") || name == "via";
    assert!(unsaid.headers.keys().all(|name| !is_added(name.as_str())));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_value_counts_and_what_can_be_none_is_not_believed() {
    let world = okta(&[("USERTAP_TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    let own = world.served.listen().to_string();
    let host = |value| ("x-forwarded-host", value);
    let proto = |value| ("x-forwarded-proto", value);
    let by_host = |said, by: &str| (vec![host(said)], format!("http://{by}"));
    let by_proto = |said, by: &str| (vec![proto(said)], format!("{by}://{own}"));
    let mut cases = vec![
        by_host("auth.example.com", "auth.example.com"),
        by_host("a.example, B.example:8443", "B.example:8443"),
        by_host("[2001:db8::1]:8400", "[2001:db8::1]:8400"),
        (
            vec![host("a.example"), host("b.example")],
            "http://b.example".to_owned(),
        ),
        by_proto("HTTPS", "https"),
        by_proto("https,http", "http"),
        (
            vec![proto("http"), proto("https"), host("a.example")],
            "https://a.example".to_owned(),
        ),
    ];
    for wrong in [
        "",
        "a.example,",
        "a.example, b c",
        "a\tb",
        "a.example/",
        "a.example?x",
        "a@b.example",
        "a.example:99999",
        "a.example:",
        "http://a.example",
        "<a.example>",
        "a.example\"",
        "[::1",
        "::1",
        "%20",
        "1.2.3.999",
    ] {
        cases.push(by_host(wrong, &own));
    }
    for wrong in ["", "ftp", "wss", "https:", "https://", "https ftp", "https,"] {
        cases.push(by_proto(wrong, "http"));
    }
    for (said, by) in cases {
        assert_eq!(base(&ask(&world, None, &said).await), by, "{said:?}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_url_goes_before_what_a_trusted_proxy_says() {
    let world = okta(&[
        ("USERTAP_TRUSTED_PROXIES", "127.0.0.1"),
        ("USERTAP_PUBLIC_URL", "https://auth.example.com"),
    ])
    .await;
    let said = [("x-forwarded-host", "b.example"), ("x-forwarded-proto", "http")];
    assert_eq!(base(&ask(&world, None, &said).await), "https://auth.example.com");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_counts_by_its_address_in_whichever_form_it_comes() {
    for (listen, trusted, is_trusted) in [
        ("[::ffff:127.0.0.1]:0", "127.0.0.0/8", true),
        ("[::ffff:127.0.0.1]:0", "::1, 127.0.0.2", false),
        ("127.0.0.1:0", "::ffff:127.0.0.1", true),
        ("127.0.0.1:0", "::ffff:127.0.0.0/104", true),
        ("[::1]:0", "::1", true),
        ("[::1]:0", "127.0.0.1", false),
    ] {
        if let Err(error) = TcpListener::bind(listen) {
            eprintln!("left out: {listen} cannot be listened on here: {error}");
            continue;
        }
        let world = okta(&[("USERTAP_LISTEN", listen), ("USERTAP_TRUSTED_PROXIES", trusted)]).await;
        let reply = ask(&world, None, &[("x-forwarded-host", "auth.example.com")]).await;
        assert_eq!(
            base(&reply) == "http://auth.example.com",
            is_trusted,
            "{listen} {trusted}: {}",
            base(&reply)
        );
        world.end().await;
    }
}

/// By HTTP/2, where an app says in no header by which name it came.
async fn ask_by_tls(world: &Shaped, peer: Option<Ipv4Addr>, said: &[(&str, &str)]) -> Reply {
    let mut roots = rustls::RootCertStore::empty();
    let authority = CertificateDer::from_pem_file("tests/fixtures/tls/ca.pem").expect("a certificate");
    roots.add(authority).expect("an authority");
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut connector = HttpConnector::new();
    connector.set_local_address(peer.map(Into::into));
    connector.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_only()
        .enable_http2()
        .wrap_connector(connector);
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build(connector);
    let mut request = Request::get(format!("https://{}{PAGE}", world.served.listen()));
    for (name, value) in [&[KEY], said].concat() {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<bytes::Bytes>::new()).expect("a request");
    let (parts, body) = client.request(request).await.expect("an answer").into_parts();
    Reply {
        status: parts.status,
        headers: parts.headers,
        body: body.collect().await.expect("all of it").to_bytes(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tls_of_its_own_too_only_a_trusted_proxy_says_how_an_app_came() {
    let world = okta(&[
        ("USERTAP_TRUSTED_PROXIES", "127.0.0.2"),
        ("USERTAP_TLS_CERT", "tests/fixtures/tls/cert.pem"),
        ("USERTAP_TLS_KEY", "tests/fixtures/tls/key.pem"),
    ])
    .await;
    let own = format!("https://{}", world.served.listen());
    let said = [
        ("x-forwarded-host", "auth.example.com"),
        ("x-forwarded-proto", "http"),
    ];
    for word in ["miss", "hit"] {
        for (peer, by) in [(None, own.as_str()), (Some(PROXY), "http://auth.example.com")] {
            let reply = ask_by_tls(&world, peer, &said).await;
            let cached = reply.header("x-usertap-cache").expect("a word");
            assert!(cached.starts_with(word), "{peer:?}: {cached}");
            assert_eq!(base(&reply), by, "{peer:?}");
        }
    }
    assert_eq!(base(&ask_by_tls(&world, Some(PROXY), &[]).await), own);
    world.end().await;
}
