//! Whose a request is: a stranger with a project of his own leaves no trace here.

use super::forms::fixture;
use super::*;
use usertap::provider::Foreign;

const OTHER: &str = "11111111-2222-4333-8444-555555555555";

fn judged(settings: &[(&str, &str)], on: &str, shown: &[(&str, &str)], body: &str) -> Caller {
    let provider = stack();
    let tenant = tenant_with(&provider, settings);
    let (method, path) = on.split_once(' ').unwrap();
    let method: Method = method.parse().unwrap();
    let headers = headers(shown);
    let matched = provider.route(&method, path).unwrap();
    let head = RequestHead {
        method: &method,
        path,
        query: None,
        headers: &headers,
    };
    provider.caller(
        &tenant,
        &matched,
        (&provider.shown(head.headers), head.query),
        Some(body.as_bytes()),
    )
}

const OURS: [(&str, &str); 2] = [("STACK_PROJECT_ID", PROJECT), ("STACK_SECRET_SERVER_KEY", KEY)];

fn listing(shown: &[(&str, &str)]) -> Caller {
    judged(&OURS, "GET /api/v1/users", shown, "")
}

/// A session is asked for with any cookie, and where nobody is signed in the answer is `null`.
#[test]
fn who_is_shown_nobody_whole_is_not_taken_for_somebody_whom_the_provider_knows() {
    for (name, on, judges) in [
        ("better-auth", "GET /api/auth/get-session", false),
        ("better-auth", "GET /api/auth/admin/list-users", true),
        ("kratos", "GET /sessions/whoami", false),
        ("kratos", "GET /admin/identities", true),
        ("stack-auth", "GET /api/v1/users/me", true),
    ] {
        let provider = Provider::builtin(name).expect("a file without a mistake");
        let (method, path) = on.split_once(' ').unwrap();
        let matched = provider.route(&method.parse().unwrap(), path).unwrap();
        assert_eq!(provider.judges(&matched, Credential::Server), judges, "{on}");
    }
}

#[test]
fn credentials_count_for_what_they_are() {
    for generation in ["x-stack-", "x-hexclave-"] {
        let name = |rest: &str| format!("{generation}{rest}");
        let (project, access) = (name("project-id"), name("access-type"));
        let (key, admin) = (name("secret-server-key"), name("super-secret-admin-key"));
        let with = |kind: &str, header: &str, value: &str| {
            listing(&[(&project, PROJECT), (&access, kind), (header, value)])
        };
        assert_eq!(with("server", &key, KEY), Caller::Ours(Credential::OwnServer));
        assert_eq!(
            with("server", &key, "ssk_another"),
            Caller::Ours(Credential::Server)
        );
        assert_eq!(with("client", &key, KEY), Caller::Ours(Credential::Client));
        assert_eq!(with("admin", &admin, "sak"), Caller::Ours(Credential::Server));
        let token = name("admin-access-token");
        assert_eq!(with("admin", &token, "jwt"), Caller::Ours(Credential::Server));
        let publishable = name("publishable-client-key");
        assert_eq!(
            with("client", &publishable, "pck"),
            Caller::Ours(Credential::Client)
        );
    }
}

#[test]
fn another_or_no_identity_is_foreign() {
    let (p, h) = ("x-stack-project-id", "x-hexclave-project-id");
    let foreign = |reason| Caller::Foreign(reason);
    assert_eq!(listing(&[(p, OTHER)]), foreign(Foreign::Tenant));
    assert_eq!(listing(&[(h, OTHER)]), foreign(Foreign::Tenant));
    assert_eq!(listing(&[]), foreign(Foreign::Unnamed));
    assert_eq!(listing(&[(p, PROJECT), (p, PROJECT)]), foreign(Foreign::Repeated));
    assert_eq!(listing(&[(p, PROJECT), (p, OTHER)]), foreign(Foreign::Repeated));
    assert_eq!(listing(&[(p, PROJECT), (h, OTHER)]), foreign(Foreign::Repeated));
    assert_eq!(
        listing(&[(p, &format!("{PROJECT}, {OTHER}"))]),
        foreign(Foreign::Repeated)
    );
    assert_eq!(
        listing(&[(p, PROJECT), (h, PROJECT)]),
        Caller::Ours(Credential::Client)
    );
    let twice = [
        (p, PROJECT),
        ("x-stack-access-type", "client"),
        ("x-hexclave-access-type", "server"),
    ];
    assert_eq!(listing(&twice[..2]), Caller::Ours(Credential::Client));
    let keyed = [&twice[..], &[("x-stack-secret-server-key", KEY)]].concat();
    assert_eq!(listing(&keyed), foreign(Foreign::Repeated));
}

#[test]
fn a_branch_is_a_tenant_of_its_own() {
    let (p, b, hb) = ("x-stack-project-id", "x-stack-branch-id", "x-hexclave-branch-id");
    assert_eq!(
        listing(&[(p, PROJECT), (b, "main")]),
        Caller::Ours(Credential::Client)
    );
    assert_eq!(
        listing(&[(p, PROJECT), (b, "dev")]),
        Caller::Foreign(Foreign::Tenant)
    );
    let dev = [OURS[0], OURS[1], ("STACK_BRANCH_ID", "dev")];
    let on_dev = |shown: &[(&str, &str)]| judged(&dev, "GET /api/v1/users", shown, "");
    assert_eq!(
        on_dev(&[(p, PROJECT), (b, "dev")]),
        Caller::Ours(Credential::Client)
    );
    assert_eq!(on_dev(&[(p, PROJECT)]), Caller::Foreign(Foreign::Tenant));
    // A server that knows only one of the generations would take the default branch.
    assert_eq!(
        on_dev(&[(p, PROJECT), (hb, "dev")]),
        Caller::Foreign(Foreign::Repeated)
    );
}

#[test]
fn a_token_refresh_names_its_tenant_in_the_form() {
    let on = "POST /api/v1/auth/oauth/token";
    let asked = |shown: &[(&str, &str)], body: &str| judged(&OURS, on, shown, body);
    let ours = Caller::Ours(Credential::Client);
    assert_eq!(
        asked(&[], &format!("grant_type=refresh_token&client_id={PROJECT}")),
        ours
    );
    assert_eq!(asked(&[], &format!("client_id={PROJECT}%23main")), ours);
    assert_eq!(
        asked(&[], &format!("client_id={PROJECT}%23dev")),
        Caller::Foreign(Foreign::Tenant)
    );
    assert_eq!(
        asked(&[], &format!("client_id={OTHER}")),
        Caller::Foreign(Foreign::Tenant)
    );
    // What follows is of the branch's name.
    assert_eq!(
        asked(&[], &format!("client_id={PROJECT}%23main%23dev")),
        Caller::Foreign(Foreign::Tenant)
    );
    let header = [("x-stack-project-id", PROJECT)];
    assert_eq!(
        asked(&header, &format!("client_id={OTHER}")),
        Caller::Foreign(Foreign::Tenant)
    );
    assert_eq!(asked(&header, ""), Caller::Foreign(Foreign::Unnamed));
    let twice = format!("client_id={PROJECT}&client_id={OTHER}");
    assert_eq!(asked(&[], &twice), Caller::Foreign(Foreign::Unnamed));
}

fn refreshed(claims: &serde_json::Value) -> String {
    let provider = stack();
    let exchange = Exchange {
        method: "POST",
        path: "/api/v1/auth/oauth/token",
        query: None,
        headers: HeaderMap::new(),
        request: &format!("client_id={PROJECT}"),
        status: 200,
        answered: HeaderMap::new(),
        answer: &json!({"access_token": token_with(claims)}).to_string(),
    };
    words(&exchange.told(&provider, &tenant(&provider)))
}

#[test]
fn only_tokens_of_this_tenant_name_users() {
    let ours = "mentioned 3520";
    assert_eq!(
        refreshed(&json!({"sub": ADA, "project_id": PROJECT, "branch_id": "main"})),
        ours
    );
    assert_eq!(refreshed(&json!({"sub": ADA, "aud": PROJECT})), ours);
    assert_eq!(refreshed(&json!({"sub": ADA, "aud": [PROJECT]})), ours);
    assert_eq!(
        refreshed(&json!({"sub": ADA, "aud": PROJECT, "branch_id": "dev"})),
        ""
    );
    assert_eq!(refreshed(&json!({"sub": ADA, "aud": OTHER})), "");
    assert_eq!(refreshed(&json!({"sub": ADA, "aud": [OTHER]})), "");
    assert_eq!(refreshed(&json!({"sub": ADA, "aud": [OTHER, PROJECT]})), ours);
    assert_eq!(
        refreshed(&json!({"sub": ADA, "project_id": OTHER, "aud": PROJECT})),
        ""
    );
    assert_eq!(refreshed(&json!({"sub": ADA})), "");
    assert_eq!(refreshed(&json!({"sub": "me", "aud": PROJECT})), "");
}

#[test]
fn two_tokens_that_differ_name_nobody() {
    let provider = stack();
    let mut headers = shown(Credential::Client, Some(ADA));
    headers.extend(super::headers(&[("x-hexclave-access-token", &token(BEA))]));
    let exchange = Exchange {
        method: "DELETE",
        path: "/api/v1/users/me",
        query: None,
        headers,
        request: "",
        status: 200,
        answered: HeaderMap::new(),
        answer: "{}",
    };
    assert_eq!(words(&exchange.told(&provider, &tenant(&provider))), "");
}

/// As Okta's Python SDK shows its key: with nothing between the scheme and it.
#[test]
fn a_scheme_without_a_key_behind_it_is_no_servers() {
    let provider = Provider::builtin("okta").expect("a file without a mistake");
    let tenant = tenant_with(&provider, &[("OKTA_CLIENT_TOKEN", "00key")]);
    let matched = provider.route(&Method::GET, "/api/v1/users").unwrap();
    let judged = |authorization: &str| {
        let headers = headers(&[("authorization", authorization)]);
        provider.caller(&tenant, &matched, (&provider.shown(&headers), None), None)
    };
    for own in ["SSWS 00key", "SSWS00key"] {
        assert_eq!(judged(own), Caller::Ours(Credential::OwnServer), "{own}");
    }
    assert_eq!(judged("SSWS00other"), Caller::Ours(Credential::Server));
    assert_eq!(judged("SSWS"), Caller::Ours(Credential::Client));
}

#[test]
fn a_tenant_named_twice_in_the_query_is_nobodys() {
    let provider = fixture(include_str!("../../fixtures/providers/numbered.toml"));
    let tenant = tenant_with(&provider, &[("TENANT", "a")]);
    let matched = provider.route(&Method::GET, "/users").unwrap();
    let headers = HeaderMap::new();
    let judged =
        |query: &str| provider.caller(&tenant, &matched, (&provider.shown(&headers), Some(query)), None);
    assert_eq!(judged("tenant=a"), Caller::Ours(Credential::Client));
    for twice in ["tenant=a&tenant=b", "tenant=a&tenant=a"] {
        assert_eq!(judged(twice), Caller::Foreign(Foreign::Repeated), "{twice}");
    }
    // So it is on a path that is on no route.
    let head = |query| RequestHead {
        method: &Method::GET,
        path: "/teams",
        query: Some(query),
        headers: &headers,
    };
    let by_head = |query| provider.caller_by_head(&tenant, &head(query));
    assert_eq!(by_head("tenant=a"), Caller::Ours(Credential::Client));
    assert_eq!(by_head("tenant=b"), Caller::Foreign(Foreign::Tenant));
}

/// What was counted of one's requests counts for the other's.
#[test]
fn who_asks_with_another_key_or_setting_or_for_another_asks_as_somebody_else() {
    let text = include_str!("../../fixtures/providers/numbered.toml");
    let provider = fixture(&format!(
        "{text}\n[key]\nsettings = [\"KEY\"]\noptional = true\n\n[[setting]]\nname = \"agent\"\nsettings = [\"AGENT\"]\n"
    ));
    let asks = |settings: &[(&str, &str)]| tenant_with(&provider, settings);
    let ours = [("TENANT", "a"), ("KEY", "k"), ("AGENT", "x")];
    let own = asks(&ours);
    assert!(own.asks_as(&asks(&ours)));
    let without_key = [ours[0], ours[2]];
    assert!(asks(&without_key).asks_as(&asks(&without_key)));
    for other in [
        &without_key as &[_],
        &[("TENANT", "b"), ours[1], ours[2]],
        &[ours[0], ("KEY", "l"), ours[2]],
        &[ours[0], ours[1], ("AGENT", "y")],
    ] {
        let other = asks(other);
        assert!(
            !own.asks_as(&other) && !other.asks_as(&own),
            "{:?}",
            other.settings
        );
    }
}

/// To a write on nobody's own path it may be what the body holds, such as a password.
#[test]
fn only_an_answer_to_what_the_caller_shows_refuses_it() {
    let provider = stack();
    let refuses = |on: &str, status: u16| {
        let (method, path) = on.split_once(' ').unwrap();
        let matched = provider.route(&method.parse().unwrap(), path).unwrap();
        provider.refuses(&matched, StatusCode::from_u16(status).unwrap())
    };
    let own = format!("/api/v1/users/{ADA}");
    for on in [
        "GET /api/v1/users",
        &format!("GET {own}"),
        &format!("PATCH {own}"),
    ] {
        assert!(refuses(on, 401) && !refuses(on, 403) && !refuses(on, 200), "{on}");
    }
    assert!(!refuses("POST /api/v1/auth/password/sign-in", 401));
}

#[test]
fn who_needs_to_show_nothing_shows_no_secret() {
    let text = include_str!("../../fixtures/providers/numbered.toml");
    let anyone = "[[credential]]\nis = \"server\"\nanyone = true\nkey = true\n";
    let provider = fixture(&format!(
        "{text}\n[key]\nsettings = [\"KEY\"]\noptional = true\n{anyone}"
    ));
    assert!(provider.secret(&HeaderMap::new()).is_none());
    // Where usertap has a key, who shows none is not its own server.
    let matched = provider.route(&Method::GET, "/users").unwrap();
    let headers = HeaderMap::new();
    let judged = |settings: &[(&str, &str)]| {
        let tenant = tenant_with(&provider, settings);
        let caller = provider.caller(
            &tenant,
            &matched,
            (&provider.shown(&headers), Some("tenant=a")),
            None,
        );
        (caller, provider.takes_anyone(&tenant))
    };
    assert_eq!(
        judged(&[("TENANT", "a")]),
        (Caller::Ours(Credential::OwnServer), true)
    );
    assert_eq!(
        judged(&[("TENANT", "a"), ("KEY", "k")]),
        (Caller::Ours(Credential::Server), false)
    );
}
