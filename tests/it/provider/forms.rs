//! What the form can say of other providers, and what usertap answers itself.

use super::*;
use std::time::Duration;
use usertap::provider::{Foreign, Known, Proof, Purpose};
use usertap::user::IdType;

pub fn fixture(text: &str) -> Provider {
    Provider::parse(text).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"))
}

const CLERK: &str = include_str!("../../fixtures/providers/clerk-like.toml");

/// A status by which somebody is not there says nothing of the key where a key that is not taken is answered so too.
#[test]
fn what_an_answer_says_of_the_key() {
    let text = include_str!("../../fixtures/providers/directus.toml");
    let opens = "opens = \"/policies?limit=1&fields=id\"\n";
    assert!(text.contains(opens));
    let says = |text: &str, status: u16, code: &str| {
        let body = json!({"errors": [{"extensions": {"code": code}}]}).to_string();
        let meant = StatusCode::from_u16(status).unwrap();
        let said = fixture(text).says_of_key(meant, &HeaderMap::new(), body.as_bytes());
        said.map(|status| status.as_u16())
    };
    assert_eq!((says(text, 403, "FORBIDDEN"), says(text, 200, "")), (None, None));
    assert_eq!(says(text, 401, "INVALID_CREDENTIALS"), Some(401));
    let without = text.replace(opens, "");
    assert_eq!(says(&without, 403, "FORBIDDEN"), Some(404));
    assert_eq!(says(&without, 403, "QUOTA"), Some(403));
}

fn clerk() -> (Provider, Tenant) {
    clerk_by(CLERK)
}

fn clerk_by(text: &str) -> (Provider, Tenant) {
    let provider = fixture(text);
    let tenant = tenant_with(&provider, &[("CLERK_SECRET_KEY", "sk_live_1")]);
    (provider, tenant)
}

fn clerk_user(extra: serde_json::Value) -> String {
    let mut user = json!({
        "id": "user_2abc", "first_name": "Ada", "last_name": "Lovelace", "username": "ada",
        "primary_email_address_id": "idn_2",
        "email_addresses": [
            {"id": "idn_1", "email_address": "old@example.com"},
            {"id": "idn_2", "email_address": "ada@example.com"},
        ],
        "private_metadata": {"secret": 1}, "last_active_at": 5,
        "external_accounts": [{"id": "e", "token": "t"}],
        "created_at": 1_700_000_000_000_i64, "updated_at": 1_700_000_000_001_i64,
    });
    user.as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    user.to_string()
}

fn clerk_told(authorization: &str, on: &str, status: u16, answer: &str) -> Extraction {
    told_by(&clerk(), authorization, on, status, answer)
}

fn told_by(
    (provider, tenant): &(Provider, Tenant),
    authorization: &str,
    on: &str,
    status: u16,
    answer: &str,
) -> Extraction {
    let (method, path) = on.split_once(' ').unwrap();
    let exchange = Exchange {
        method,
        path,
        query: None,
        headers: headers(&[("authorization", authorization)]),
        request: r#"{"user_id":"user_2abc"}"#,
        status,
        answered: HeaderMap::new(),
        answer,
    };
    exchange.told(provider, tenant)
}

fn view_of(answer: &str) -> usertap::user::View {
    view_by(&clerk(), answer)
}

fn view_by(by: &(Provider, Tenant), answer: &str) -> usertap::user::View {
    let told = told_by(by, "Bearer sk_live_1", "GET /v1/users/user_2abc", 200, answer);
    match told.sightings.into_iter().next().unwrap().seen {
        Seen::Whole(view) => std::sync::Arc::unwrap_or_clone(view),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_email_by_reference_and_a_name_of_two_fields() {
    let view = view_of(&clerk_user(json!({})));
    assert_eq!(view.profile.name.as_deref(), Some("Ada Lovelace"));
    assert_eq!(view.profile.email.as_deref(), Some("ada@example.com"));
    assert_eq!(
        view.profile.updated_at.unwrap().timestamp_millis(),
        1_700_000_000_001
    );
    assert!(view.version > view_of(&clerk_user(json!({"updated_at": 1}))).version);
    let view = view_of(&clerk_user(
        json!({"first_name": null, "last_name": "", "primary_email_address_id": null}),
    ));
    assert_eq!(view.profile.name.as_deref(), Some("ada"));
    assert_eq!(view.profile.email.as_deref(), Some("old@example.com"));
}

#[test]
fn who_was_made_is_known_from_within_a_wrapper() {
    let text = include_str!("../../fixtures/providers/fusionauth.toml");
    let provider = fixture(&format!("{text}\n[console]\ncreate = \"POST /user\"\n"));
    let answer = format!(r#"{{"token":"t","user":{{"id":"{ADA}"}}}}"#);
    let told = provider.id_told(answer.as_bytes(), IdType::Uuid);
    assert_eq!(told, Some(id(&provider, ADA)));
}

#[test]
fn dropped_fields_are_gone_before_anything_is_kept() {
    let view = view_of(&clerk_user(json!({})));
    assert!(
        !view.raw.contains("secret") && !view.raw.contains("token"),
        "{}",
        view.raw
    );
    let other = view_of(&clerk_user(json!({"private_metadata": {"secret": 2}})));
    assert_eq!(view.content, other.content);
}

/// Where one user is asked for as a list of those who have that id.
#[test]
fn a_user_may_stand_in_a_list_of_one() {
    let text = CLERK.replace("tells = [{ whole = \"\" }]", "tells = [{ whole = \"/0\" }]");
    assert_ne!(text, CLERK);
    let view = view_by(&clerk_by(&text), &format!("[{}]", clerk_user(json!({}))));
    assert_eq!(view.profile.name.as_deref(), Some("Ada Lovelace"));
}

/// Whatever the file names of a list: all of it, one of its elements, or what is in one.
#[test]
fn of_lists_too_nothing_is_kept_that_is_dropped() {
    let drop = "drop = [\"/private_metadata\", \"/external_accounts/*/token\"]";
    assert!(CLERK.contains(drop));
    let codes =
        json!({"backup_codes": ["hidden", "hidden"], "keys": ["shown", "hidden", {"seed": "hidden"}]});
    let lists = "drop = [\"/backup_codes/*\", \"/keys/1\", \"/keys/2/seed\"]";
    let view = view_by(&clerk_by(&CLERK.replace(drop, lists)), &clerk_user(codes));
    let raw: serde_json::Value = serde_json::from_str(&view.raw).unwrap();
    assert_eq!(
        (&raw["backup_codes"], &raw["keys"]),
        (&json!([]), &json!(["shown", null, {}]))
    );
}

#[test]
fn volatile_fields_have_a_hash_of_their_own() {
    let (one, two) = (
        view_of(&clerk_user(json!({}))),
        view_of(&clerk_user(json!({"last_active_at": 6}))),
    );
    assert_eq!(one.content, two.content);
    assert_ne!(one.volatile, two.volatile);
    assert_ne!(one.content, view_of(&clerk_user(json!({"locked": true}))).content);
}

#[test]
fn a_tenant_can_be_its_key() {
    let (_, tenant) = clerk();
    let print = tenant.part("key").unwrap();
    assert!(print.len() == 32 && !print.contains("sk_live"), "{print}");
    let user = clerk_user(json!({}));
    let words = |authorization| words(&clerk_told(authorization, "GET /v1/users/user_2abc", 200, &user));
    assert_eq!(words("Bearer sk_live_1"), "whole user");
    assert_eq!(words("Bearer sk_live_2"), "");
    assert_eq!(words("sk_live_1"), "");
    for dots in [".", ".."] {
        let told = clerk_told(
            "Bearer sk_live_1",
            "GET /v1/users",
            200,
            &json!([{"id": dots}]).to_string(),
        );
        assert_eq!((told.sightings.len(), told.malformed), (0, 1));
    }
    let (provider, tenant) = clerk();
    let method = Method::GET;
    let none = HeaderMap::new();
    let head = RequestHead {
        method: &method,
        path: "/v1/users",
        query: None,
        headers: &none,
    };
    let matched = provider.route(&method, "/v1/users").unwrap();
    let caller = provider.caller(
        &tenant,
        &matched,
        (&provider.shown(head.headers), head.query),
        None,
    );
    assert_eq!(caller, Caller::Foreign(Foreign::Unnamed));
    let missing = provider.tenant(IdType::Text, None, &|_| None).unwrap_err();
    assert_eq!(missing[0].variables, ["CLERK_SECRET_KEY"]);
}

#[test]
fn codes_in_bodies_and_ids_in_requests_can_be_said() {
    let own = "Bearer sk_live_1";
    let gone = r#"{"errors":[{"code":"resource_not_found","message":"not found"}]}"#;
    assert_eq!(
        words(&clerk_told(own, "GET /v1/users/user_2abc", 404, gone)),
        "missing user"
    );
    assert_eq!(
        words(&clerk_told(
            own,
            "GET /v1/users/user_2abc",
            404,
            r#"{"errors":[]}"#
        )),
        ""
    );
    let deleted = r#"{"object":"user","id":"user_2abc","deleted":true}"#;
    assert_eq!(
        words(&clerk_told(own, "DELETE /v1/users/user_2abc", 200, deleted)),
        "deleted user"
    );
    let another = r#"{"object":"user","id":"user_other","deleted":true}"#;
    for junk in [another, r#"{"id":"user_2abc"}"#, "{}", ""] {
        let told = clerk_told(own, "DELETE /v1/users/user_2abc", 200, junk);
        assert_eq!((words(&told).as_str(), told.malformed), ("", 1), "{junk}");
    }
    assert_eq!(
        words(&clerk_told(own, "POST /v1/email_addresses", 200, "{}")),
        "touched user"
    );
    let list = format!("[{}]", clerk_user(json!({})));
    let listed = clerk_told(own, "GET /v1/users", 200, &list);
    assert_eq!(listed.sightings[0].proof, Proof::Lagging(Duration::from_secs(30)));
}

/// Such as snowflakes are.
#[test]
fn a_long_number_is_an_id_in_a_part_of_a_user_too() {
    let text = include_str!("../../fixtures/providers/authentik.toml")
        .replace("{ mentioned = [\"answer:/user/pk\"] }", "{ partial = \"/user\" }");
    let provider = fixture(&text);
    let tenant = tenant_with(&provider, &[("AUTHENTIK_TOKEN", "t")]);
    for number in ["7", "1234567890123456789", "12345678901234567890"] {
        let exchange = Exchange {
            method: "GET",
            path: "/api/v3/core/users/me/",
            query: None,
            headers: headers(&[("authorization", "Bearer t")]),
            request: "",
            status: 200,
            answered: HeaderMap::new(),
            answer: &format!(r#"{{"user":{{"pk":{number},"name":"Ada"}}}}"#),
        };
        let told = exchange.told(&provider, &tenant);
        let ids: Vec<_> = told.sightings.iter().map(|told| told.id.as_str()).collect();
        assert_eq!(ids, [number], "{}", told.malformed);
    }
}

#[test]
fn a_deletion_can_be_answered_with_nothing_or_with_any_object() {
    let told = |done: &str, status, answer: &str| {
        let text = include_str!("../../fixtures/providers/numbered.toml");
        let route = format!(
            "[[route]]\non = \"DELETE /users/{{id}}\"\nuser = [\"path:id\"]\n\
             tells = [{{ deleted = [\"named\"], done = {done}, for = \"server\" }}]\n"
        );
        let text = format!(
            "{text}\n[[credential]]\nis = \"server\"\nheaders = [\"authorization\"]\nscheme = \"Bearer\"\n\n{route}"
        );
        let provider = fixture(&text);
        let tenant = tenant_with(&provider, &[("TENANT", "a")]);
        let exchange = Exchange {
            method: "DELETE",
            path: &format!("/users/{ADA}"),
            query: Some("tenant=a"),
            headers: headers(&[("authorization", "Bearer k")]),
            request: "",
            status,
            answered: HeaderMap::new(),
            answer,
        };
        let told = exchange.told(&provider, &tenant);
        (words(&told), told.malformed)
    };
    let deleted = ("deleted 3520".to_owned(), 0);
    let unread = (String::new(), 1);
    assert_eq!(told("\"empty\"", 204, ""), deleted);
    assert_eq!(told("\"empty\"", 200, "<html>"), unread);
    assert_eq!(told("{}", 200, "{}"), deleted);
    for junk in ["", "[]", "<html>"] {
        assert_eq!(told("{}", 200, junk), unread, "{junk}");
    }
}

#[test]
fn an_id_can_come_from_the_location_and_a_tenant_from_the_query() {
    let provider = fixture(include_str!("../../fixtures/providers/numbered.toml"));
    let tenant = tenant_with(&provider, &[("TENANT", "a b")]);
    let created = |query| {
        let exchange = Exchange {
            method: "POST",
            path: "/users",
            query: Some(query),
            headers: HeaderMap::new(),
            request: "",
            status: 201,
            answered: headers(&[("location", &format!("https://x/users/{ADA}"))]),
            answer: "",
        };
        words(&exchange.told(&provider, &tenant))
    };
    assert_eq!(created("tenant=a%20b"), "touched 3520");
    let location = format!("/users/{ADA}/?from=a/b#c");
    let relative = Exchange {
        method: "POST",
        path: "/users",
        query: Some("tenant=a+b"),
        headers: HeaderMap::new(),
        request: "",
        status: 201,
        answered: headers(&[("location", &location)]),
        answer: "",
    };
    assert_eq!(words(&relative.told(&provider, &tenant)), "touched 3520");
    assert_eq!(created("tenant=b"), "");
    assert_eq!(created("tenant=b&tenant=a+b"), "");
    assert_eq!(created(""), "");
}

fn answered(path: &str, query: Option<&str>, public: Option<&str>) -> Option<(u16, String, String)> {
    let provider = stack();
    let none = HeaderMap::new();
    let head = RequestHead {
        method: &Method::GET,
        path,
        query,
        headers: &none,
    };
    let segments = provider.segments(path)?;
    let answer = provider.own_answer((&head, &segments), public, "https://api.stack-auth.com/")?;
    let location = answer
        .headers
        .get("location")
        .map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    Some((answer.status.as_u16(), location.unwrap_or_default(), answer.body))
}

#[test]
fn an_sdk_that_asks_where_else_to_go_is_kept() {
    let path = "/api/v1/internal/backend-urls";
    let told = answered(path, None, Some("https://proxy.example/base/")).unwrap();
    assert_eq!(
        told,
        (
            200,
            String::new(),
            r#"{"urls":["https://proxy.example/base"]}"#.to_owned()
        )
    );
    assert_eq!(answered(path, None, None).unwrap().0, 404);
    assert_eq!(answered("/api/v1/users", None, None), None);
}

#[test]
fn browsers_are_sent_to_the_providers_own_host() {
    let path = "/api/latest/auth/oauth/authorize/github";
    let told = answered(path, Some("a=b&c=d%2F"), None).unwrap();
    assert_eq!(told.0, 307);
    assert_eq!(
        told.1,
        "https://api.stack-auth.com/api/latest/auth/oauth/authorize/github?a=b&c=d%2F"
    );
    assert_eq!(answered(path, Some("x=1&stack_response_mode=json"), None), None);
    assert_eq!(
        answered(path, Some("stack_response_mode=redirect"), None)
            .unwrap()
            .0,
        307
    );
}

#[test]
fn own_errors_have_the_providers_shape() {
    let error = stack().error(StatusCode::SERVICE_UNAVAILABLE, "limited", "say \"when\"");
    let body: serde_json::Value = serde_json::from_str(&error.body).unwrap();
    assert_eq!(body["error"], "say \"when\"");
    assert_eq!(error.headers["access-control-allow-origin"], "*");
    assert!(
        error
            .headers
            .keys()
            .all(|name| !name.as_str().contains("known-error"))
    );
    let error = clerk().0.error(StatusCode::TOO_MANY_REQUESTS, "limited", "wait");
    // Clerk's SDK reads no JSON under any other spelling of this.
    assert_eq!(error.headers["content-type"], "application/json");
    let text = fixture(include_str!("../../fixtures/providers/linked.toml"));
    assert_eq!(
        text.error(StatusCode::BAD_GATEWAY, "w", "\"t\"").body,
        "502 w: \"t\""
    );
}

#[test]
fn dashboards_and_limits_are_told() {
    let provider = stack();
    let link = provider
        .dashboard_user(&tenant(&provider), &id(&provider, ADA))
        .unwrap();
    assert_eq!(
        link,
        format!("https://app.stack-auth.com/projects/{PROJECT}/users/{ADA}")
    );
    assert!(provider.rates.is_empty());
    let limit = clerk().0.rates[0];
    assert_eq!(
        (limit.rate.requests, limit.rate.per),
        (1000, Duration::from_secs(10))
    );
}

/// A user who is still shown is gone where the provider says since when, and not where it writes that it does not.
#[test]
fn a_time_of_deletion_that_is_none_deletes_nobody() {
    let by = clerk_by(&CLERK.replace("[user]\n", "[user]\ndeleted_at = \"$.gone\"\n"));
    let told = |gone: serde_json::Value| {
        let answer = clerk_user(json!({ "gone": gone }));
        words(&told_by(
            &by,
            "Bearer sk_live_1",
            "GET /v1/users/user_2abc",
            200,
            &answer,
        ))
    };
    for none in [json!(null), json!(false), json!(""), json!(0)] {
        assert_eq!(told(none.clone()), "whole user", "{none}");
    }
    for some in [json!(true), json!(1_700_000_000_000_i64), json!("2024-01-01")] {
        assert_eq!(told(some.clone()), "missing user", "{some}");
    }
}

#[test]
fn milliseconds_may_be_written_with_a_point() {
    let view = view_of(&clerk_user(json!({ "created_at": 1_700_000_000_000.0 })));
    let made = view.profile.created_at.expect("a time");
    assert_eq!(made.timestamp_millis(), 1_700_000_000_000);
}

/// Of two callers each is answered its own, whatever else is the same.
#[test]
fn a_header_of_tracing_in_which_a_caller_shows_who_it_is_is_not_passed_over() {
    let text = include_str!("../../fixtures/providers/numbered.toml");
    let ignored = |text: &str| {
        let provider = fixture(text);
        let ignore = &provider.cache_rules().ignore;
        ignore.iter().any(|name| name.as_str() == "x-correlation-id")
    };
    assert!(ignored(text));
    let shown = "query = \"tenant\"\nheaders = [\"x-correlation-id\"]";
    assert!(!ignored(&text.replace("query = \"tenant\"", shown)));
}

#[test]
fn a_name_in_a_path_of_what_is_set_up_cannot_lead_out_of_it() {
    let text = include_str!("../../fixtures/providers/numbered.toml");
    let provider = fixture(&format!(
        "{text}\n[provision]\ndoes = \"x\"\n[[provision.ask]]\nname = \"team\"\nlabel = \"Team\"\n\
         [[provision.request]]\non = \"POST /teams/{{team}}/keys\"\n"
    ));
    let tenant = tenant_with(&provider, &[("TENANT", "a")]);
    let procedure = provider.procedure(Purpose::Provision).unwrap();
    let mut known = Known::default();
    known.put("team", "../a?b#c");
    let request = provider.next_request(procedure, 0, &tenant, &known).unwrap();
    assert_eq!(request.target, "/teams/..%2Fa%3Fb%23c/keys");
}

/// So that the rows follow, though at the provider nobody has changed.
#[test]
fn a_user_whose_columns_are_made_otherwise_has_changed() {
    let user = clerk_user(json!({}));
    let by_username = CLERK.replace(
        "name = [{ at = [\"$.first_name\", \"$.last_name\"] }, ",
        "name = [",
    );
    let (one, other) = (view_of(&user), view_by(&clerk_by(&by_username), &user));
    assert_ne!(one.profile.name, other.profile.name);
    assert_ne!(one.content, other.content);
    assert_eq!(one.volatile, other.volatile);
}

/// A part is compared with the row, which has neither what is dropped nor what moves by itself.
#[test]
fn of_a_part_of_a_user_too_nothing_counts_that_moves_by_itself() {
    let provider = stack();
    let part = json!({ "id": ADA, "display_name": "Ada", "last_active_at_millis": 2 });
    for who in [Credential::OwnServer, Credential::Client] {
        let exchange = Exchange {
            method: "GET",
            path: "/api/v1/users/me",
            query: None,
            headers: shown(who, Some(ADA)),
            request: "",
            status: 200,
            answered: HeaderMap::new(),
            answer: &part.to_string(),
        };
        let told = exchange.told(&provider, &tenant(&provider)).sightings.remove(0);
        let Seen::Partial(seen) = told.seen else {
            panic!("{:?}", told.seen)
        };
        assert_eq!(*seen, json!({ "id": ADA, "display_name": "Ada" }), "{who:?}");
    }
}

#[test]
fn what_the_provider_says_of_a_failure_is_told_as_far_as_people_read_it() {
    let text = include_str!("../../fixtures/providers/supertokens.toml");
    let inside = fixture(text);
    let provider = stack();
    let says = |provider: &Provider, status: u16, body: &str| {
        let status = StatusCode::from_u16(status).unwrap();
        provider.problem(status, &HeaderMap::new(), body.as_bytes())
    };
    assert_eq!(says(&inside, 200, r#"{"status":"OK"}"#), None);
    assert!(says(&inside, 200, r#"{"status":"EMAIL_ALREADY_EXISTS_ERROR"}"#).is_some());
    assert_eq!(says(&provider, 200, r#"{"error":"none"}"#), None);
    let told = |body: &str| says(&provider, 400, body).unwrap();
    assert_eq!(told(r#"{"error":" no "}"#), "no");
    assert_eq!(told("try later"), "try later");
    assert_eq!(told(r#"{"code":"X"}"#), "", "for machines alone");
    assert_eq!(told(&"x".repeat(501)), "x".repeat(500));
}

/// What a browser asks beforehand is answered for want of the provider only where the request itself could be.
#[test]
fn a_browser_is_told_beforehand_only_of_requests_that_would_be_answered() {
    let told = |provider: &Provider, path: &str, asked: &[(&str, &str)]| {
        let headers = headers(asked);
        let head = RequestHead {
            method: &Method::OPTIONS,
            path,
            query: None,
            headers: &headers,
        };
        provider.preflight(&head).is_some()
    };
    let asked = [
        ("access-control-request-method", "GET"),
        ("origin", "https://app"),
    ];
    let me = "/api/v1/users/me";
    assert!(told(&stack(), me, &asked));
    assert!(!told(&stack(), me, &asked[..1]) && !told(&stack(), me, &asked[1..]));
    assert!(!told(&stack(), "/api/v1/nothing/of/this", &asked));
    // Its pages may not read usertap's errors.
    let numbered = fixture(include_str!("../../fixtures/providers/numbered.toml"));
    assert!(!told(&numbered, "/users", &asked));
}

#[test]
fn a_token_is_taken_from_a_success_alone_and_lasts_as_long_as_is_said() {
    let provider = Provider::builtin("auth0").unwrap();
    let lasts = |status: u16, body: serde_json::Value| {
        let status = StatusCode::from_u16(status).unwrap();
        let given = provider.token_given(status, body.to_string().as_bytes());
        given.map(|(_, lasts)| lasts.as_secs())
    };
    let given = json!({ "access_token": "t", "expires_in": 60 });
    assert_eq!((lasts(200, given.clone()), lasts(401, given)), (Some(60), None));
    assert_eq!(lasts(200, json!({ "access_token": "t" })), Some(300));
    assert_eq!(lasts(200, json!({ "expires_in": 60 })), None);
}

#[test]
fn what_leads_out_of_a_path_or_stands_for_the_caller_is_no_id() {
    let okta = Provider::builtin("okta").unwrap();
    let tenant = tenant_with(&okta, &[("OKTA_CLIENT_TOKEN", "00key")]);
    let is_id = |text: &str| okta.id(&tenant, text).is_some();
    assert!(is_id("00u1"));
    for none in [".", "..", "me"] {
        assert!(!is_id(none), "{none}");
    }
}

#[test]
fn only_a_whole_user_of_whom_nothing_is_dropped_stands_in_for_an_answer() {
    let stands = |(provider, tenant): (Provider, Tenant), path: &str, who| {
        let matched = provider.route(&Method::GET, path).unwrap();
        let user = provider.stands_for(&tenant, &matched, Caller::Ours(who));
        user.map(|id| id.to_string())
    };
    let of_stack = || (stack(), tenant(&stack()));
    let one = format!("/api/v1/users/{ADA}");
    assert_eq!(
        stands(of_stack(), &one, Credential::OwnServer).as_deref(),
        Some(ADA)
    );
    assert_eq!(stands(of_stack(), &one, Credential::Server), None);
    assert_eq!(stands(clerk(), "/v1/users/user_1", Credential::OwnServer), None);
    let undropped = CLERK.replace(
        "drop = [\"/private_metadata\", \"/external_accounts/*/token\"]\n",
        "",
    );
    let undropped_one = stands(clerk_by(&undropped), "/v1/users/user_1", Credential::OwnServer);
    assert_eq!(undropped_one.as_deref(), Some("user_1"));
    let wrapped = undropped.replace("tells = [{ whole = \"\" }]", "tells = [{ whole = \"/user\" }]");
    assert_eq!(
        stands(clerk_by(&wrapped), "/v1/users/user_1", Credential::OwnServer),
        None
    );
    let stand_in =
        |provider: &Provider, user: serde_json::Value| provider.stand_in(user.to_string()).is_some();
    let whole = json!({ "id": ADA, "server_metadata": null });
    assert!(stand_in(&stack(), whole) && !stand_in(&stack(), json!({ "id": ADA, "display_name": "Ada" })));
    // The row that stands where the database took no other.
    assert!(!stand_in(&clerk().0, json!({ "id": "user_1" })));
}
