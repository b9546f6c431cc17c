//! A procedure says nothing of what it knows, and takes nothing but what its file says.

use serde_json::json;

use super::*;

fn tenant(provider: &Provider) -> Tenant {
    let value = |variable: &str| Some(format!("value-of-{variable}"));
    provider.tenant(provider.id_type, None, &value).unwrap()
}

fn header<'r>(request: &'r OwnRequest, name: &str) -> &'r str {
    request.headers[name].to_str().unwrap()
}

fn body(request: &OwnRequest) -> Value {
    let body = request.body.as_ref().map_or("null", |body| body.expose_secret());
    serde_json::from_str(body).unwrap()
}

fn told(status: u16, body: &Value) -> (StatusCode, HeaderMap, Vec<u8>) {
    let status = StatusCode::from_u16(status).unwrap();
    (status, HeaderMap::new(), body.to_string().into_bytes())
}

#[test]
fn each_request_is_made_of_what_was_entered_and_what_answers_gave() {
    let provider = Provider::builtin("stack-auth").unwrap();
    let (tenant, mut known) = (tenant(&provider), Known::default());
    let procedure = provider.procedure(Purpose::Provision).unwrap();
    for (name, value) in [
        ("name", "My \"app\""),
        ("client_id", "me"),
        ("client_secret", "pw"),
    ] {
        known.put(name, value);
    }
    let first = provider.next_request(procedure, 0, &tenant, &known).unwrap();
    assert_eq!(first.target, "/api/v1/integrations/custom/projects/provision");
    assert_eq!(header(&first, "authorization"), "Basic bWU6cHc=");
    assert!(first.headers["authorization"].is_sensitive());
    assert!(
        !first.headers.contains_key("x-stack-secret-server-key"),
        "the key stays here"
    );
    assert_eq!(body(&first), json!({ "display_name": "My \"app\"" }));
    assert!(
        !format!("{first:?} {known:?}").contains("My"),
        "nothing entered is shown"
    );

    let (status, headers, answer) = told(
        200,
        &json!({ "project_id": "p/1", "super_secret_admin_key": "sak_1" }),
    );
    let learned = provider.learn(procedure, 0, (status, &headers, &answer), &mut known);
    assert_eq!(learned, Ok(()));
    let second = provider.next_request(procedure, 1, &tenant, &known).unwrap();
    assert_eq!(header(&second, "x-stack-project-id"), "p/1");
    assert_eq!(header(&second, "x-stack-super-secret-admin-key"), "sak_1");
    assert_eq!(body(&second)["has_secret_server_key"], true);
    assert!(provider.next_request(procedure, 2, &tenant, &known).is_none());

    let given = procedure.outcome(&known).settings;
    let names: Vec<_> = given.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["STACK_PROJECT_ID", "STACK_SUPER_SECRET_ADMIN_KEY"],
        "so much there is already"
    );
}

#[test]
fn a_refusal_and_an_answer_without_what_is_looked_for_end_it() {
    let provider = Provider::builtin("stack-auth").unwrap();
    let procedure = provider.procedure(Purpose::Subscribe).unwrap();
    let mut known = Known::default();
    let mut learn = |status, body: Value| {
        let (status, headers, body) = told(status, &body);
        provider.learn(procedure, 0, (status, &headers, &body), &mut known)
    };
    let refused = learn(400, json!({ "error": "no such client" })).unwrap_err();
    assert_eq!(refused.to_string(), "the provider answered 400: no such client");
    assert_eq!(learn(200, json!({})), Err(Stopped::Lacks("secret".into())));
    assert_eq!(learn(200, json!({ "secret": "whsec_1" })), Ok(()));
}

#[test]
fn what_may_fail_is_passed_over_and_the_key_goes_where_the_file_says() {
    let provider = Provider::builtin("clerk").unwrap();
    let (tenant, mut known) = (tenant(&provider), Known::default());
    let procedure = provider.procedure(Purpose::Subscribe).unwrap();
    let (status, headers, exists) = told(400, &json!({ "errors": [{ "long_message": "there is one" }] }));
    let passed = provider.learn(procedure, 0, (status, &headers, &exists), &mut known);
    assert_eq!(passed, Ok(()));
    assert!(
        provider
            .learn(procedure, 1, (status, &headers, &exists), &mut known)
            .is_err()
    );
    let request = provider.next_request(procedure, 1, &tenant, &known).unwrap();
    assert_eq!(request.target, "/v1/webhooks/svix_url");
    assert_eq!(
        header(&request, "authorization"),
        "Bearer value-of-CLERK_SECRET_KEY"
    );

    let provider = Provider::builtin("workos").unwrap();
    let (tenant, mut known) = (self::tenant(&provider), Known::default());
    let procedure = provider.procedure(Purpose::Subscribe).unwrap();
    assert!(
        provider.next_request(procedure, 0, &tenant, &known).is_none(),
        "no address yet"
    );
    known.put("url", "https://a.example/_usertap/webhooks");
    let request = provider.next_request(procedure, 0, &tenant, &known).unwrap();
    assert_eq!(request.target, "/webhook_endpoints");
    assert_eq!(
        body(&request)["endpoint_url"],
        "https://a.example/_usertap/webhooks"
    );
}

#[test]
fn only_a_page_is_opened() {
    let provider = Provider::builtin("clerk").unwrap();
    let procedure = provider.procedure(Purpose::Subscribe).unwrap();
    for (given, opens) in [("https://app.svix.com/a", true), ("javascript:alert(1)", false)] {
        let mut known = Known::default();
        known.put("page", given);
        assert_eq!(procedure.outcome(&known).opens.is_some(), opens, "{given}");
    }
}
