//! What the shipped file says of Clerk: every call that its SDK was recorded to make, every route
//! that touches a user, how the list goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use usertap::provider::{Caller, Cursor, Intended, Limit, Next, PageFault, Rate};

use super::*;

const REQUESTS: &str = include_str!("../../fixtures/clerk/requests.jsonl");
const LIVE: &str = "sk_live_own";

fn clerk() -> (Provider, Tenant) {
    let provider = Provider::builtin("clerk").expect("the shipped file has no mistake");
    let tenant = tenant_with(&provider, &[("CLERK_SECRET_KEY", LIVE)]);
    (provider, tenant)
}

pub fn user(id: &str) -> String {
    json!({"id": id, "object": "user", "first_name": "Ada", "last_name": null, "username": null,
           "primary_email_address_id": "idn_1",
           "email_addresses": [{"id": "idn_1", "email_address": "ada@example.com"}],
           "private_metadata": {"card": "4242"}, "last_sign_in_at": null,
           "created_at": 1_700_000_000_000_i64, "updated_at": 1_700_000_000_001_i64})
    .to_string()
}

fn exchange<'a>(on: &'a str, request: &'a str, status: u16, answer: &'a str) -> Exchange<'a> {
    let (method, target) = on.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Exchange {
        method,
        path,
        query: Some(query),
        headers: headers(&[("authorization", &format!("Bearer {LIVE}"))]),
        request,
        status,
        answered: HeaderMap::new(),
        answer,
    }
}

#[derive(Deserialize)]
struct Recorded {
    call: String,
    request: Request,
}

#[derive(Deserialize)]
struct Request {
    method: String,
    target: String,
    headers: BTreeMap<String, String>,
    body: String,
}

/// The route of a recorded call, and the users that it names.
fn replayed(provider: &Provider, tenant: &Tenant, recorded: &Recorded) -> (String, String) {
    let request = &recorded.request;
    let method: Method = request.method.parse().unwrap();
    let (path, query) = request
        .target
        .split_once('?')
        .map_or((request.target.as_str(), None), |(path, query)| {
            (path, Some(query))
        });
    let Some(matched) = provider.route(&method, path) else {
        assert!(provider.is_userless(&method, path), "{}: {path}", recorded.call);
        return ("userless".into(), String::new());
    };
    let pairs: Vec<_> = request
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let headers = headers(&pairs);
    let head = RequestHead {
        method: &method,
        path,
        query,
        headers: &headers,
    };
    let caller = provider.caller(
        tenant,
        &matched,
        (&provider.shown(head.headers), head.query),
        None,
    );
    assert_eq!(caller, Caller::Ours(Credential::OwnServer), "{}", recorded.call);
    let named = provider.named(&RoutedRequest {
        tenant,
        matched: &matched,
        credential: Credential::OwnServer,
        head,
        body: Some(request.body.as_bytes()),
    });
    let named: Vec<String> = named.iter().map(ToString::to_string).collect();
    (matched.route.name.to_string(), named.join(" "))
}

#[test]
fn every_recorded_call_has_its_route_and_its_user() {
    let provider = clerk().0;
    let tenant = tenant_with(&provider, &[("CLERK_SECRET_KEY", "sk_test_recorder")]);
    let found: Vec<_> = REQUESTS
        .lines()
        .map(|line| replayed(&provider, &tenant, &serde_json::from_str(line).unwrap()))
        .collect();
    let found: Vec<_> = found.iter().map(|(on, id)| (on.as_str(), id.as_str())).collect();
    let list = ("GET /users", "");
    let count = ("GET /users/count", "");
    assert_eq!(
        found,
        [
            list,
            count,
            list,
            count,
            list,
            count,
            ("GET /users/{id}", "user_1"),
            ("POST /users", ""),
            ("PATCH /users/{id}", "user_1"),
            ("PUT /users/{id}/metadata", "user_1"),
            ("PATCH /users/{id}/metadata", "user_1"),
            ("POST /users/{id}/profile_image", "user_1"),
            ("POST /users/{id}/ban", "user_1"),
            ("POST /users/{id}/lock", "user_1"),
            ("DELETE /users/{id}", "user_1"),
            count,
            count,
        ]
    );
}

/// On what, with which request, answered how: what it tells.
#[test]
fn each_route_tells_of_its_users() {
    let (provider, tenant) = clerk();
    let (ada, gone) = (
        user("user_1"),
        r#"{"object":"user","id":"user_1","deleted":true}"#,
    );
    let list = format!("[{ada},{}]", user("user_2"));
    let members = r#"{"data":[{"public_user_data":{"user_id":"user_1"}},{"public_user_data":{"user_id":"user_2"}}],"total_count":2}"#;
    let email = r#"{"id":"idn_1","object":"email_address","email_address":"a@example.com"}"#;
    let names = r#"{"user_id":"user_1"}"#;
    let table = [
        (
            "GET /v1/users?limit=2",
            "",
            list.as_str(),
            "whole user_1, whole user_2",
        ),
        ("POST /v1/users", "{}", &ada, "whole user_1"),
        ("GET /v1/users/user_1", "", &ada, "whole user_1"),
        ("PATCH /v1/users/user_1", "{}", &ada, "whole user_1"),
        ("PUT /v1/users/user_1/metadata", "{}", &ada, "whole user_1"),
        ("PATCH /v1/users/user_1/metadata", "{}", &ada, "whole user_1"),
        ("POST /v1/users/user_1/ban", "", &ada, "whole user_1"),
        ("POST /v1/users/user_1/unban", "", &ada, "whole user_1"),
        ("POST /v1/users/user_1/lock", "", &ada, "whole user_1"),
        ("POST /v1/users/user_1/unlock", "", &ada, "whole user_1"),
        ("POST /v1/users/user_1/remove_password", "", &ada, "whole user_1"),
        (
            "POST /v1/users/user_1/password/set_compromised",
            "",
            &ada,
            "whole user_1",
        ),
        (
            "POST /v1/users/user_1/password/unset_compromised",
            "",
            &ada,
            "whole user_1",
        ),
        (
            "POST /v1/users/user_1/profile_image",
            "--form",
            &ada,
            "whole user_1",
        ),
        ("DELETE /v1/users/user_1/profile_image", "", &ada, "whole user_1"),
        (
            "POST /v1/users/ban",
            r#"{"user_ids":["user_1","user_2"]}"#,
            &list,
            "whole user_1, whole user_2",
        ),
        (
            "POST /v1/users/unban",
            r#"{"user_ids":["user_1"]}"#,
            &list,
            "whole user_1, whole user_2",
        ),
        ("DELETE /v1/users/user_1", "", gone, "deleted user_1"),
        ("DELETE /v1/users/user_2", "", gone, ""),
        (
            "PUT /v1/users/user_1/email_address",
            "{}",
            email,
            "touched user_1",
        ),
        ("PUT /v1/users/user_1/phone_number", "{}", "{}", "touched user_1"),
        (
            "DELETE /v1/users/user_1/mfa",
            "",
            r#"{"user_id":"user_1"}"#,
            "touched user_1",
        ),
        ("DELETE /v1/users/user_1/totp", "", "{}", "touched user_1"),
        ("DELETE /v1/users/user_1/backup_code", "", "{}", "touched user_1"),
        (
            "DELETE /v1/users/user_1/passkeys/pk_1",
            "",
            "{}",
            "touched user_1",
        ),
        (
            "DELETE /v1/users/user_1/web3_wallets/w_1",
            "",
            "{}",
            "touched user_1",
        ),
        (
            "DELETE /v1/users/user_1/external_accounts/eac_1",
            "",
            "{}",
            "touched user_1",
        ),
        (
            "DELETE /v1/users/user_1/trusted_devices/tdev_1",
            "",
            "{}",
            "touched user_1",
        ),
        (
            "POST /v1/users/user_1/verify_password",
            "{}",
            r#"{"verified":true}"#,
            "mentioned user_1",
        ),
        ("POST /v1/email_addresses", names, email, "touched user_1"),
        ("POST /v1/phone_numbers", names, "{}", "touched user_1"),
        ("PATCH /v1/email_addresses/idn_1", "{}", email, ""),
        (
            "POST /v1/organizations",
            r#"{"created_by":"user_1"}"#,
            "{}",
            "touched user_1",
        ),
        (
            "POST /v1/organizations/org_1/memberships",
            names,
            "{}",
            "touched user_1",
        ),
        (
            "PATCH /v1/organizations/org_1/memberships/user_1",
            "{}",
            "{}",
            "touched user_1",
        ),
        (
            "DELETE /v1/organizations/org_1/memberships/user_1",
            "",
            "{}",
            "touched user_1",
        ),
        (
            "PATCH /v1/organizations/org_1/memberships/user_1/metadata",
            "{}",
            "{}",
            "touched user_1",
        ),
        (
            "GET /v1/organizations/org_1/memberships",
            "",
            members,
            "mentioned user_1, mentioned user_2",
        ),
        (
            "GET /v1/users/user_1/organization_memberships",
            "",
            members,
            "mentioned user_1",
        ),
        (
            "GET /v1/sessions?user_id=user_1",
            "",
            r#"[{"user_id":"user_1"}]"#,
            "mentioned user_1",
        ),
        ("GET /v1/sessions/sess_1", "", names, "mentioned user_1"),
        ("POST /v1/sessions/sess_1/revoke", "", names, "mentioned user_1"),
        (
            "GET /v1/clients/client_1",
            "",
            r#"{"sessions":[{"user_id":"user_1"}]}"#,
            "mentioned user_1",
        ),
        (
            "GET /v1/sign_ups/sua_1",
            "",
            r#"{"created_user_id":"user_1"}"#,
            "mentioned user_1",
        ),
    ];
    for (on, request, answer, tells) in table {
        let told = exchange(on, request, 200, answer).told(&provider, &tenant);
        let told: Vec<String> = told.sightings.iter().map(whole_word).collect();
        assert_eq!(told.join(", "), tells, "{on}");
    }
}

/// As [`word`], the id whole.
fn whole_word(sighting: &Sighting) -> String {
    let word = word(sighting);
    let (seen, _) = word.split_once(' ').unwrap();
    format!("{seen} {}", sighting.id)
}

#[test]
fn only_clerks_own_not_found_is_evidence() {
    let (provider, tenant) = clerk();
    let not_found = r#"{"errors":[{"message":"not found","code":"resource_not_found"}]}"#;
    let words = |on, status, answer| words(&exchange(on, "", status, answer).told(&provider, &tenant));
    for on in ["GET /v1/users/user_1", "DELETE /v1/users/user_1"] {
        assert_eq!(words(on, 404, not_found), "missing user", "{on}");
    }
    // It may be an address that is not there.
    assert_eq!(words("PATCH /v1/users/user_1", 404, not_found), "touched user");
    assert_eq!(words("DELETE /v1/users/user_1/passkeys/pk_1", 404, not_found), "");
    assert_eq!(words("GET /v1/users/user_1", 404, "<html>"), "");
    assert_eq!(words("GET /v1/users/user_1", 401, not_found), "");
}

#[test]
fn a_row_has_what_clerk_says_and_no_private_metadata() {
    let (provider, tenant) = clerk();
    let told = exchange("GET /v1/users/user_1", "", 200, &user("user_1")).told(&provider, &tenant);
    let Seen::Whole(view) = &told.sightings[0].seen else {
        panic!("{told:?}")
    };
    assert_eq!(view.profile.name.as_deref(), Some("Ada"));
    assert_eq!(view.profile.email.as_deref(), Some("ada@example.com"));
    assert_eq!(
        view.profile.created_at.unwrap().timestamp_millis(),
        1_700_000_000_000
    );
    assert_eq!(
        view.profile.updated_at.unwrap().timestamp_millis(),
        1_700_000_000_001
    );
    assert!(view.version.is_some());
    assert!(!view.raw.contains("4242"), "{}", view.raw);
}

#[test]
fn the_list_goes_on_after_its_last_user() {
    let (provider, tenant) = clerk();
    let cursor = |at: &str| Cursor { at: at.to_owned() };
    let target = |at: Option<&Cursor>| provider.page_request(&tenant, at, false).request.target;
    let first = "/v1/users?order_by=%2Bcreated_at&limit=500";
    assert_eq!(target(None), first);
    assert_eq!(
        target(Some(&cursor("user_9"))),
        format!("{first}&starting_after=user_9")
    );
    let newest = provider.newest_request(&tenant, None, false).unwrap().request;
    assert_eq!(newest.target, "/v1/users?limit=500&order_by=-created_at");
    assert_eq!(newest.headers["authorization"], format!("Bearer {LIVE}"));

    let page = |at: Option<&Cursor>, status, body: &str| {
        let status = StatusCode::from_u16(status).unwrap();
        provider.page(&tenant, at, status, &HeaderMap::new(), body.as_bytes())
    };
    let list = format!("[{},{}]", user("user_1"), user("user_2"));
    assert_eq!(page(None, 200, &list).unwrap().next, Next::More(cursor("user_2")));
    assert_eq!(page(Some(&cursor("user_2")), 200, "[]").unwrap().next, Next::End);
    let gone = r#"{"errors":[{"code":"resource_not_found"}]}"#;
    assert_eq!(page(Some(&cursor("user_2")), 404, gone).unwrap().next, Next::Lost);
    assert_eq!(
        provider.cursor_at(&id(&provider, "user_1")),
        Some(cursor("user_1"))
    );
    assert!(matches!(page(None, 404, gone), Err(PageFault::Status { .. })));
}

#[test]
fn the_total_is_a_request_of_its_own() {
    let (provider, tenant) = clerk();
    assert_eq!(provider.count_request(&tenant).unwrap().target, "/v1/users/count");
    let count = |status| {
        let status = StatusCode::from_u16(status).unwrap();
        provider.count(
            status,
            &HeaderMap::new(),
            br#"{"object":"total_count","total_count":7}"#,
        )
    };
    assert_eq!((count(200), count(500)), (Some(7), None));
}

#[test]
fn limits_are_those_of_the_keys_kind_and_of_each_user() {
    let (provider, tenant) = clerk();
    let limit = |requests, seconds| Limit::from(rate(requests, seconds));
    assert_eq!(provider.limits(&tenant), [limit(1000, 10)]);
    let test = tenant_with(&provider, &[("CLERK_SECRET_KEY", "sk_test_1")]);
    assert_eq!(provider.limits(&test), [limit(100, 10)]);
    let of = |on: &str| {
        let (method, path) = on.split_once(' ').unwrap();
        let route = provider.route(&method.parse().unwrap(), path).unwrap().route;
        route.user_limit
    };
    for on in [
        "PATCH /v1/users/u",
        "PATCH /v1/users/u/metadata",
        "PUT /v1/users/u/metadata",
    ] {
        assert_eq!(of(on), Some(rate(10, 10)), "{on}");
    }
    assert_eq!(of("POST /v1/users/u/ban"), None);
}

fn rate(requests: u32, seconds: u64) -> Rate {
    Rate {
        requests,
        per: Duration::from_secs(seconds),
    }
}

#[test]
fn a_write_is_known_by_its_request() {
    let (provider, tenant) = clerk();
    let intended = |on, request| {
        let exchange = exchange(on, request, 200, "");
        let matched = exchange.matched(&provider).unwrap();
        let method: Method = exchange.method.parse().unwrap();
        let head = RequestHead {
            method: &method,
            path: exchange.path,
            query: None,
            headers: &exchange.headers,
        };
        provider.intended(&RoutedRequest {
            tenant: &tenant,
            matched: &matched,
            credential: Credential::OwnServer,
            head,
            body: Some(request.as_bytes()),
        })
    };
    let users = |ids: &[&str]| Intended::Users(ids.iter().map(|text| id(&provider, text)).collect());
    assert_eq!(intended("POST /v1/users", "{}"), Intended::NewUser);
    assert_eq!(intended("PATCH /v1/users/user_1", "{}"), users(&["user_1"]));
    let both = r#"{"user_ids":["user_1","user_2"]}"#;
    assert_eq!(intended("POST /v1/users/ban", both), users(&["user_1", "user_2"]));
    assert_eq!(
        intended("POST /v1/email_addresses", r#"{"user_id":"user_1"}"#),
        users(&["user_1"])
    );
}

#[test]
fn errors_of_our_own_are_clerks_to_the_byte() {
    let provider = clerk().0;
    let error = provider.error(StatusCode::TOO_MANY_REQUESTS, "rate-limited", "Wait a \"while\".");
    assert_eq!(error.headers["content-type"], "application/json");
    let body: serde_json::Value = serde_json::from_str(&error.body).unwrap();
    assert_eq!(body["errors"][0]["code"], "rate-limited");
    assert_eq!(body["errors"][0]["message"], "Wait a \"while\".");
}
