//! Who gets in, and what browsers are told to keep to.

use ::http::{Method, Request};
use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::json;

use super::browser::{Browser, leads_to};
use crate::support::http::{self, Reply};
use crate::support::stack::{Setup, Stack};

const TOKEN: &str = "a-long-enough-admin-token";
const PAGES: [&str; 7] = [
    "/",
    "/users",
    "/users?view=beside",
    "/users/new",
    "/feed",
    "/connect",
    "/setup",
];

async fn guarded() -> Stack {
    guarded_with(&[]).await
}

async fn guarded_with(more: &[(&'static str, &'static str)]) -> Stack {
    Stack::with(Setup::set(&[&[("USERTAP_ADMIN_TOKEN", TOKEN)], more].concat())).await
}

/// What a proxy says for which the browser is at `https://console.example`.
const ORIGIN: (&str, &str) = ("origin", "https://console.example");
const BEFORE: (&str, &str) = ("x-forwarded-host", "console.example");

/// The token, in the form of the page that asks for it.
async fn enter(browser: &mut Browser, headers: &[(&str, &str)]) -> Reply {
    browser.page("/login").await;
    let proof = browser.proof.clone();
    browser
        .post_with("/login", &[("token", TOKEN)], &proof, headers)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_token_there_is_only_the_page_that_asks_for_it() {
    let stack = guarded().await;
    let mut browser = Browser::at(&stack);
    for path in PAGES
        .iter()
        .chain(&["/live", "/users/00000000-0000-0000-0000-000000000000"])
    {
        let place = leads_to(&browser.get(path).await);
        assert!(place.starts_with("/login"), "{path} leads to {place}");
    }
    browser.page("/login").await;
    for (path, fields) in [
        ("/backfill", &[][..]),
        ("/reconcile", &[("yes", "1")]),
        ("/users/new", &[("step", "do")]),
    ] {
        assert_eq!(leads_to(&browser.post(path, fields).await), "/login");
    }
    assert_eq!(stack.count("SELECT count(*) FROM usertap.backfill").await, 0);
    assert!(stack.control().log().is_empty(), "the provider was asked");
    let bearer = format!("Bearer {TOKEN}");
    let page = http::get(&stack.admin_url("/"), &[("authorization", &bearer)]).await;
    assert_eq!(page.status, 200, "a program with the token reads the pages too");
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_gives_a_cookie_that_is_not_the_token_and_signing_out_ends_it() {
    let stack = guarded().await;
    let mut browser = Browser::at(&stack);
    browser.page("/login?to=%2Fusers").await;
    let before = browser.cookies.clone();
    let wrong = browser
        .post("/login", &[("token", "another"), ("to", "/users")])
        .await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.text().contains("That is not the token") && !wrong.text().contains("another"));
    let right = browser
        .post("/login", &[("token", &format!(" {TOKEN}\n")), ("to", "/users")])
        .await;
    assert_eq!(leads_to(&right), "/users", "however it was pasted");
    let set = right.header("set-cookie").expect("a cookie");
    assert!(
        set.contains("; HttpOnly; SameSite=Strict") && !set.contains("Secure") && !set.contains(TOKEN),
        "{set}"
    );
    assert!(
        before.values().all(|old| !set.contains(&old.value)),
        "nobody who knew the old value is signed in"
    );
    let kept = browser.cookies.clone();
    let again = browser.get("/login?to=%2Fusers").await;
    assert_eq!(leads_to(&again), "/users", "nobody signs in twice");
    browser.page("/users").await;
    assert_eq!(leads_to(&browser.post("/logout", &[]).await), "/login");
    browser.cookies = kept;
    assert!(
        leads_to(&browser.get("/users").await).starts_with("/login"),
        "the old cookie opens nothing"
    );
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_from_another_site_ends_nothing_that_is_open() {
    let stack = guarded().await;
    let mut browser = Browser::at(&stack);
    browser.page("/login").await;
    let login = [("token", TOKEN), ("to", "/users")];
    assert_eq!(
        leads_to(&browser.follow_from_elsewhere("/users").await),
        "/login?to=%2Fusers"
    );
    assert_eq!(
        leads_to(&browser.post("/login", &login).await),
        "/users",
        "the page that asks for the token is still good"
    );
    browser.page("/users").await;
    assert_eq!(
        leads_to(&browser.follow_from_elsewhere("/users").await),
        "/login?to=%2Fusers"
    );
    let asked = browser.follow_from_elsewhere("/login?to=%2Fusers").await.text();
    assert!(asked.contains("<a href=\"/users\">Go on</a>"), "{asked}");
    assert_eq!(
        leads_to(
            &browser
                .post("/feed/slots", &[("name", "mailer"), ("since", "now")])
                .await
        ),
        "/feed?said=made",
        "and so is the page that was open"
    );
    browser.page("/users").await;
    stack.end().await;

    let stack = Stack::new().await;
    let mut browser = Browser::at(&stack);
    browser.page("/feed").await;
    assert_eq!(browser.follow_from_elsewhere("/").await.status, 200);
    let made = browser
        .post("/feed/slots", &[("name", "mailer"), ("since", "now")])
        .await;
    assert_eq!(leads_to(&made), "/feed?said=made", "where nobody signs in too");
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_it_works_behind_a_trusted_proxy_under_another_name() {
    let stack = guarded_with(&[("USERTAP_TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1")]).await;
    let mut browser = Browser::at(&stack);
    for lacking in [vec![ORIGIN], vec![("host", "console.example"), ORIGIN]] {
        let refused = enter(&mut browser, &lacking).await;
        assert_eq!(refused.status, 403);
        let told = refused.text();
        assert!(told.contains("into X-Forwarded-Host"), "{told}");
    }
    for wrong in [
        "evil.example",
        "console.example, evil.example",
        "console.example/",
        "a@console.example",
    ] {
        let refused = enter(&mut browser, &[("x-forwarded-host", wrong), ORIGIN]).await;
        assert_eq!(refused.status, 403, "{wrong}");
    }
    for said in [&[][..], &[("x-forwarded-host", "evil.example")]] {
        let mut browser = Browser::at(&stack);
        let said = [said, &[BEFORE, ORIGIN]].concat();
        assert_eq!(leads_to(&enter(&mut browser, &said).await), "/", "{said:?}");
        browser.page("/").await;
    }
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_proxy_says_that_is_not_trusted_opens_nothing() {
    for trusted in [&[][..], &[("USERTAP_TRUSTED_PROXIES", "127.0.0.2, ::1")]] {
        let stack = guarded_with(trusted).await;
        let mut browser = Browser::at(&stack);
        let refused = enter(&mut browser, &[BEFORE, ORIGIN]).await;
        assert_eq!(refused.status, 403);
        let told = refused.text();
        assert!(told.contains("is not among TRUSTED_PROXIES"), "{told}");
        stack.end().await;
    }
    let stack = Stack::with(Setup {
        settings: vec![("USERTAP_TRUSTED_PROXIES", "127.0.0.1")],
        ..Setup::default()
    })
    .await;
    let mut browser = Browser::at(&stack);
    browser.page("/feed").await;
    let (proof, slot) = (browser.proof.clone(), [("name", "mailer"), ("since", "now")]);
    let refused = browser
        .post_with("/feed/slots", &slot, &proof, &[BEFORE, ORIGIN])
        .await;
    assert_eq!(refused.status, 403, "without a token none is expected");
    let told = refused.text();
    assert!(told.contains("Set ADMIN_TOKEN"), "{told}");
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_tls_the_cookie_is_for_tls_alone() {
    let stack = guarded().await;
    let mut browser = Browser::at(&stack);
    browser.page("/login").await;
    let (proof, host) = (browser.proof.clone(), stack.serving().admin.to_string());
    let origin = format!("https://{host}");
    let reply = browser
        .post_with("/login", &[("token", TOKEN)], &proof, &[("origin", &origin)])
        .await;
    assert!(
        reply
            .header("set-cookie")
            .expect("a cookie")
            .ends_with("; Secure")
    );
    stack.end().await;
}

/// Before a form is sent no origin tells of TLS.
#[tokio::test(flavor = "multi_thread")]
async fn that_there_is_tls_before_it_is_said_by_a_trusted_proxy() {
    for (trusted, said, is_secure) in [
        ("127.0.0.1", "https", true),
        ("127.0.0.1", "http, HTTPS", true),
        ("127.0.0.1", "https, http", false),
        ("127.0.0.1", "https:", false),
        ("127.0.0.2", "https", false),
    ] {
        let stack = guarded_with(&[("USERTAP_TRUSTED_PROXIES", trusted)]).await;
        let page = http::get(&stack.admin_url("/login"), &[("x-forwarded-proto", said)]).await;
        let set = page.header("set-cookie").expect("a cookie");
        assert_eq!(set.ends_with("; Secure"), is_secure, "{trusted} {said}: {set}");
        stack.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_action_is_done_without_the_proof_of_the_browsers_own_page() {
    let stack = Stack::new().await;
    let user = stack.known_user(json!({ "display_name": "Ada" })).await;
    let (mut browser, mut other) = (Browser::at(&stack), Browser::at(&stack));
    browser.page("/").await;
    other.page("/").await;
    let (delete, forged) = (format!("/users/{user}/delete"), "0".repeat(64));
    for path in [
        "/backfill",
        "/reconcile",
        "/logout",
        "/login",
        "/users/new",
        "/feed/slots",
        "/connect",
        &delete,
    ] {
        for proof in ["", &forged, &other.proof.clone()] {
            let reply = browser
                .post_with(path, &[("name", "x"), ("step", "do")], proof, &[])
                .await;
            assert_eq!(reply.status, 403, "{path}");
        }
    }
    let proof = browser.proof.clone();
    for headers in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("host", "evil.example"),
    ] {
        let reply = browser.post_with("/backfill", &[], &proof, &[headers]).await;
        assert_eq!(reply.status, 403, "{headers:?}");
    }
    assert_eq!(stack.count("SELECT count(*) FROM usertap.backfill").await, 0);
    assert_eq!(stack.count("SELECT count(*) FROM usertap.slots").await, 0);
    stack.agrees(user).await.expect("she is still there");
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_is_larger_than_any_of_ours_is_refused() {
    let stack = Stack::new().await;
    let mut browser = Browser::at(&stack);
    browser.page("/users/new").await;
    let large = "x".repeat(1 << 20);
    let form = [("display_name", large.as_str()), ("step", "do")];
    let refused = browser.post("/users/new", &form).await;
    assert_eq!(refused.status, 413);
    assert!(refused.text().contains("larger than 1 MiB"));
    assert!(refused.header("content-security-policy").is_some());
    assert!(stack.control().ids(0).is_empty(), "nobody was made");
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_brings_a_policy_that_it_keeps_itself() {
    let stack = Stack::new().await;
    let user = stack.known_user(json!({ "display_name": "Ada" })).await;
    let mut browser = Browser::at(&stack);
    let (one, edit, delete) = (
        format!("/users/{user}"),
        format!("/users/{user}/edit"),
        format!("/users/{user}/delete"),
    );
    let more = [&one, &edit, &delete, "/reconcile", "/nowhere", "/users/no-id"];
    for path in PAGES.iter().chain(&more) {
        let reply = browser.get(path).await;
        let policy = reply.header("content-security-policy").expect("a policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{path}");
        }
        let page = reply.text();
        assert!(page.contains("<main"), "{path}");
        for inline in ["<style", " style=", " onclick=", " onload=", "javascript:"] {
            assert!(!page.contains(inline), "{path} has {inline}");
        }
        assert_eq!(
            page.matches("<script").count(),
            page.matches("<script defer src=\"/assets/").count(),
            "{path}"
        );
    }
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_the_pages_may_be_kept_for_ever_under_names_that_change_with_them() {
    let stack = Stack::new().await;
    let page = Browser::at(&stack).page("/").await;
    for (name, kind) in [
        ("console.css", "text/css"),
        ("console.js", "text/javascript"),
        ("icon.svg", "image/svg+xml"),
    ] {
        let (_, rest) = page
            .split_once(&format!("/assets/{name}?"))
            .expect("it is named with a version");
        let version: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
        assert_eq!(version.len(), 12);
        let file = http::get(&stack.admin_url(&format!("/assets/{name}?{version}")), &[]).await;
        assert!(
            file.header("content-type")
                .is_some_and(|found| found.starts_with(kind))
        );
        assert!(
            file.header("cache-control")
                .is_some_and(|found| found.contains("immutable"))
        );
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(file.header("set-cookie"), None, "it is everybody's");
    }
    stack.end().await;
}

/// Without a token nothing else tells a page in the operator's browser from the operator.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_has_nothing_done_by_loading_it() {
    let stack = Stack::new().await;
    let slot = stack.admin_url("/v1/slots/mailer");
    assert_eq!(
        http::request(Method::PUT, &slot, &[], "{}").await.unwrap().status,
        201
    );
    let load = async |url: &str, site: &str, mode: &str, dest: &str| {
        let by = [
            ("sec-fetch-site", site),
            ("sec-fetch-mode", mode),
            ("sec-fetch-dest", dest),
        ];
        http::get(url, &by).await.status.as_u16()
    };
    let changes = format!("{slot}/changes");
    for (site, mode, dest) in [
        ("cross-site", "navigate", "iframe"),
        ("cross-site", "navigate", "document"),
        ("same-site", "navigate", "document"),
        ("same-site", "no-cors", "image"),
        ("cross-site", "no-cors", "script"),
    ] {
        assert_eq!(
            load(&changes, site, mode, dest).await,
            403,
            "{site} {mode} {dest}"
        );
    }
    assert_eq!(
        http::get(&changes, &[]).await.status,
        200,
        "nobody has taken the lease"
    );
    let page = stack.admin_url("/");
    assert_eq!(
        load(&page, "cross-site", "navigate", "document").await,
        200,
        "a link"
    );
    assert_eq!(load(&page, "cross-site", "navigate", "iframe").await, 403);
    assert_eq!(load(&page, "none", "navigate", "document").await, 200, "typed");
    stack.end().await;
}

/// HTTP/2 may cut `Cookie` into several lines (RFC 9113, 8.2.3).
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_by_http2_is_known_by_any_of_the_cookie_lines() {
    let stack = guarded().await;
    let mut browser = Browser::at(&stack);
    assert_eq!(leads_to(&enter(&mut browser, &[]).await), "/");
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http::<Empty<Bytes>>();
    let mut request = Request::get(stack.admin_url("/users")).header("cookie", "visitor=before");
    for (name, cookie) in &browser.cookies {
        request = request.header("cookie", format!("{name}={}", cookie.value));
    }
    let request = request.body(Empty::new()).expect("a request");
    let reply = client.request(request).await.expect("an answer");
    assert_eq!(reply.status(), 200, "{:?}", reply.headers());
    stack.end().await;
}
