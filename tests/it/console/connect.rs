//! The page Connect: what the provider's API sets up, and which keys it takes.

use ::http::Method;
use serde_json::{Value, json};
use usertap::provider::Provider;
use usertap::sandbox::{Action, Canned, Fault};
use usertap::tasks::Tasks;
use uuid::Uuid;

use super::browser::Browser;
use crate::clerk::Clerk;
use crate::support::served::Served;
use crate::support::shapes::Shapes;
use crate::support::stack::Stack;
use crate::support::{eventually, http};

const CLIENT: [(&str, &str); 2] = [
    ("client_id", "custom-local"),
    ("client_secret", "custom-local-secret"),
];
const SURE: (&str, &str) = ("sure", "true");

/// What a form of this page would carry that marks it.
fn mark() -> String {
    Uuid::new_v4().simple().to_string()
}

/// The value of a variable in the lines of a page.
fn given(page: &str, name: &str) -> String {
    let (_, rest) = page
        .split_once(&format!("export {name}='"))
        .unwrap_or_else(|| panic!("no {name} in {page}"));
    rest.split_once('\'').expect("its end").0.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_is_made_with_its_keys_which_are_shown_once() {
    let stack = Stack::new().await;
    let mut browser = Browser::at(&stack);
    browser.page("/connect").await;
    let upstream = stack.setting(0, "USERTAP_UPSTREAM");
    let (mark, address) = (mark(), ("address", upstream.as_str()));
    let base = [
        ("provider", "stack-auth"),
        ("name", "Shop"),
        ("once", mark.as_str()),
    ];
    let wrong = [("client_id", "custom-local"), ("client_secret", "guessed")];
    for (fields, answer) in [
        (
            &[&base[..], &CLIENT, &[SURE]].concat(),
            "Not done: the address of its API is needed",
        ),
        (
            &[&base[..], &[address], &CLIENT].concat(),
            "Not done: tick the box",
        ),
        (
            &[&base[..1], &[address, SURE], &CLIENT].concat(),
            "Name of the project is needed",
        ),
    ] {
        let page = browser.post("/connect/provision", fields).await.text();
        assert!(page.contains(answer), "{answer}: {page}");
        assert!(!page.contains("custom-local-secret"), "a secret is written back");
    }
    let all = [&base[..], &[address, SURE]].concat();
    let other = self::mark();
    let refused = [&[("once", other.as_str())], &all[..], &wrong].concat();
    let page = browser.post("/connect/provision", &refused).await.text();
    assert!(
        page.contains("the provider answered 400: Invalid client_id:client_secret values"),
        "{page}"
    );
    let route = "/integrations/custom/projects/provision";
    assert_eq!(
        stack.control().count(&Method::POST, route),
        1,
        "only what was sent is counted"
    );

    let made = [&all[..], &CLIENT].concat();
    let reply = browser.post("/connect/provision", &made).await;
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let page = reply.text();
    assert!(page.contains("the provider takes its key"), "{page}");
    assert!(page.contains("Shown this once"), "{page}");
    let form = "action=\"/connect/provision#provision\"";
    assert!(!page.contains(form), "it is done: {page}");
    let (project, key) = (
        given(&page, "STACK_PROJECT_ID"),
        given(&page, "STACK_SECRET_SERVER_KEY"),
    );
    assert_eq!(given(&page, "USERTAP_PROVIDER"), "stack-auth");
    assert_eq!(given(&page, "USERTAP_UPSTREAM"), upstream);
    assert!(given(&page, "STACK_SUPER_SECRET_ADMIN_KEY").starts_with("sak_"));
    let headers = [
        ("x-stack-project-id", project.as_str()),
        ("x-stack-access-type", "server"),
        ("x-stack-secret-server-key", key.as_str()),
    ];
    let current = http::get(&format!("{upstream}/api/v1/projects/current"), &headers).await;
    assert_eq!(current.json()["display_name"], "Shop", "the key is the project's");

    let again = browser.post("/connect/provision", &made).await.text();
    assert!(
        again.contains("it makes nothing again") && !again.contains(&key),
        "{again}"
    );
    assert_eq!(stack.control().count(&Method::POST, route), 2);
    for path in ["/", "/connect", "/setup"] {
        assert!(!browser.page(path).await.contains(&key), "{path} shows the key");
    }
    stack.end().await;
}

/// What is there and not shown is lost: nobody can make the rest of it by hand.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_in_part_or_may_have_been_made_is_told() {
    let stack = Stack::new().await;
    let mut browser = Browser::at(&stack);
    browser.page("/connect").await;
    let upstream = stack.setting(0, "USERTAP_UPSTREAM");
    let mut made = async |target: &str, action| {
        stack
            .control()
            .fault(Fault::on(target, action).method(Method::POST));
        let mark = mark();
        let base = [
            ("provider", "stack-auth"),
            ("address", upstream.as_str()),
            ("name", "Shop"),
            ("once", mark.as_str()),
        ];
        let fields = [&base[..], &CLIENT, &[SURE]].concat();
        browser.post("/connect/provision", &fields).await.text()
    };
    let refused = Action::Reject(Canned::new(403, "{}"));
    let page = made("/internal/api-keys", refused).await;
    assert!(page.contains("It was made in part, for"), "{page}");
    assert!(!given(&page, "STACK_PROJECT_ID").is_empty());
    assert!(given(&page, "STACK_SUPER_SECRET_ADMIN_KEY").starts_with("sak_"));
    let page = made("/projects/provision", Action::PerformThenDrop).await;
    assert!(page.contains("it may have been done all the same"), "{page}");
    stack.note();
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_subscribed_and_taken_in_at_once_and_the_status_says_what_is_yet_to_be_kept() {
    let stack = Stack::new().await;
    let user = stack.known_user(json!({ "display_name": "Ada" })).await;
    let mut browser = Browser::at(&stack);
    let page = browser.page("/connect").await;
    assert!(page.contains("not taken in: no signing secret is set"), "{page}");
    let public = format!("http://{}/", stack.serving().listen);
    let (mark, key) = (mark(), stack.control().admin_key(0).expect("a key"));
    let fields = |key: &str, public: &str, mark: &str| {
        let own = [("admin_key", key), ("public", public), ("once", mark), SURE];
        let all = own.into_iter().chain(CLIENT);
        all.map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect::<Vec<_>>()
    };
    let mut subscribe = async |key: &str, public: &str, mark: &str| {
        let fields = fields(key, public, mark);
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        browser.post("/connect/subscribe", &fields).await.text()
    };
    let page = subscribe(&key, "nowhere", &mark).await;
    assert!(
        page.contains("Not done: where the provider reaches usertap is no URL"),
        "{page}"
    );
    let page = subscribe("sak_guessed", &public, &self::mark()).await;
    assert!(page.contains("the provider answered 401"), "{page}");
    assert!(!page.contains("sak_guessed"), "a secret is written back");
    assert_eq!(
        stack.status().await["webhooks"],
        json!(null),
        "nothing is taken in yet"
    );

    let page = subscribe(&key, &public, &mark).await;
    assert!(page.contains("Subscribed."), "{page}");
    let webhooks = stack.control().webhooks(0).expect("a project");
    assert_eq!(given(&page, "USERTAP_WEBHOOK_SECRET"), webhooks.secret());
    stack
        .control()
        .edit(0, user, json!({ "display_name": "Countess" }));
    eventually("the row says what was changed elsewhere", || async {
        stack.agrees(user).await.ok()
    })
    .await;
    assert_eq!(
        stack.row(user).await.expect("a row").name.as_deref(),
        Some("Countess")
    );
    let status = stack.status().await;
    assert_eq!(status["problems"][0]["word"], "webhooks-unkept", "{status}");
    let page = browser.page("/setup").await;
    assert!(page.contains("secret not kept"), "{page}");
    let page = browser.page("/connect").await;
    assert!(
        page.contains("gone when usertap ends") && !page.contains(&webhooks.secret()),
        "{page}"
    );
    stack.note();
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_endpoints_are_added_on_a_page_the_way_there_is_opened() {
    let clerk = Clerk::with_users(0).await;
    let mut browser = Browser::of(clerk.served.admin_url(""));
    browser.page("/connect").await;
    let mut links = Vec::new();
    for _ in 0..2 {
        let mark = mark();
        let fields = [
            ("provider", "clerk"),
            ("public", "https://auth.example.com"),
            ("once", &mark),
            SURE,
        ];
        let page = browser.post("/connect/subscribe", &fields).await.text();
        let (_, rest) = page
            .split_once("href=\"https://app.svix.com/")
            .unwrap_or_else(|| panic!("no link in {page}"));
        links.push(rest.split('"').next().expect("its end").to_owned());
        assert!(
            page.contains("https://auth.example.com/_usertap/webhooks"),
            "{page}"
        );
    }
    assert_ne!(
        links[0], links[1],
        "one that is there already is used, with a new link"
    );
    let form = [("provider", "stack-auth"), SURE];
    let page = browser.post("/connect/subscribe", &form).await.text();
    assert!(page.contains("usertap serves another provider"), "{page}");
    clerk.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_made_by_the_key_alone_where_that_is_enough() {
    let (tasks, shapes) = (Tasks::default(), Shapes::default());
    let address = shapes.start(&tasks).await;
    shapes.on(
        "GET /user_management/users/",
        404,
        json!({ "code": "entity_not_found" }),
    );
    let made =
        json!({ "id": "we_1", "endpoint_url": "https://auth.example.com", "secret": "made-up-secret" });
    shapes.on("POST /webhook_endpoints", 201, made);
    let settings = [
        ("USERTAP_PROVIDER", "workos"),
        ("USERTAP_UPSTREAM", &format!("http://{address}")),
        ("WORKOS_API_KEY", "sk_of_the_test"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let served = Served::start(settings.to_vec()).await;
    let mut browser = Browser::of(served.admin_url(""));
    browser.page("/connect").await;
    let mark = mark();
    let fields = [
        ("provider", "workos"),
        ("public", "https://auth.example.com"),
        ("once", &mark),
        SURE,
    ];
    let page = browser.post("/connect/subscribe", &fields).await.text();
    assert_eq!(given(&page, "USERTAP_WEBHOOK_SECRET"), "made-up-secret");
    let asked = shapes.asked();
    let asked = asked
        .iter()
        .find(|asked| asked.target == "/webhook_endpoints")
        .expect("it was asked for");
    assert_eq!(asked.headers["authorization"], "Bearer sk_of_the_test");
    let body: Value = serde_json::from_slice(&asked.body).expect("JSON");
    assert_eq!(body["endpoint_url"], "https://auth.example.com/_usertap/webhooks");
    served.end().await;
    tasks.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_made_for_a_provider_that_makes_none() {
    let (tasks, shapes) = (Tasks::default(), Shapes::default());
    let address = shapes.start(&tasks).await;
    let nobody =
        json!({ "statusCode": 404, "errorCode": "inexistent_user", "message": "The user does not exist." });
    shapes.on(
        "POST /oauth/token",
        200,
        json!({ "access_token": "a-token", "expires_in": 600 }),
    );
    shapes.on("GET /api/v2/users/", 404, nobody);
    shapes.on(
        "POST /api/v2/event-streams",
        201,
        json!({ "id": "est_1", "status": "enabled" }),
    );
    let settings = [
        ("USERTAP_PROVIDER", "auth0"),
        ("USERTAP_UPSTREAM", &format!("http://{address}")),
        ("AUTH0_CLIENT_ID", "the-client"),
        ("AUTH0_CLIENT_SECRET", "its-secret"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let served = Served::start(settings.to_vec()).await;
    let mut browser = Browser::of(served.admin_url(""));
    browser.page("/connect").await;
    let public = format!("http://{}", served.listen());
    let mark = mark();
    let fields = [
        ("provider", "auth0"),
        ("public", public.as_str()),
        ("once", &mark),
        SURE,
    ];
    let page = browser.post("/connect/subscribe", &fields).await.text();
    let secret = given(&page, "USERTAP_WEBHOOK_SECRET");
    let asked = shapes.asked();
    let asked = asked.iter().find(|asked| asked.target == "/api/v2/event-streams");
    let asked = asked.expect("it was asked for");
    assert_eq!(asked.headers["authorization"], "Bearer a-token");
    let body: Value = serde_json::from_slice(&asked.body).expect("JSON");
    let sent = &body["destination"]["configuration"]["webhook_authorization"]["token"];
    assert_eq!(*sent, json!(secret));
    let event = json!({ "id": "evt_1", "type": "organization.created", "data": {} });
    for (token, status) in [(secret.as_str(), 200), ("another-secret-that-is-long", 401)] {
        let headers = [("authorization", &*format!("Bearer {token}"))];
        let reply = http::post(&format!("{public}/_usertap/webhooks"), &headers, &event).await;
        assert_eq!(reply.status, status, "{}", reply.text());
    }
    served.end().await;
    tasks.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_provider_can_be_chosen_and_says_what_is_to_be_done_there() {
    let stack = Stack::new().await;
    let mut browser = Browser::at(&stack);
    for name in Provider::builtin_names() {
        let provider = Provider::builtin(name).expect("it is compiled in");
        let page = browser.page(&format!("/connect?provider={name}")).await;
        assert!(
            page.contains(&format!("By hand, at {}", provider.title())),
            "{name}"
        );
        assert!(page.matches("<li><p>").count() >= 4, "{name} has steps: {page}");
        let settings = provider.settings().iter();
        for setting in settings.filter(|setting| setting.required || provider.asks_with(&setting.name)) {
            let name = setting.variables.first().expect("a variable");
            assert!(page.contains(&format!("name=\"{name}\"")), "{name}");
        }
    }
    stack.end().await;
}

/// A provider that has no address of its own, whose key is of several settings.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_tried_at_the_address_that_is_entered_and_the_lines_to_keep_are_whole() {
    let stack = Stack::new().await;
    let (tasks, shapes) = (Tasks::default(), Shapes::default());
    let address = format!("http://{}", shapes.start(&tasks).await);
    shapes.on(
        "POST /oauth/token",
        200,
        json!({ "access_token": "a-token", "expires_in": 600 }),
    );
    let nobody =
        json!({ "statusCode": 404, "errorCode": "inexistent_user", "message": "The user does not exist." });
    shapes.on("GET /api/v2/users/", 404, nobody);
    let mut browser = Browser::at(&stack);
    let page = browser.page("/connect?provider=auth0").await;
    assert!(
        page.contains("name=\"AUTH0_CLIENT_ID\"") && page.contains("Client secret"),
        "{page}"
    );
    let fields = [
        ("provider", "auth0"),
        ("address", address.as_str()),
        ("AUTH0_CLIENT_ID", "the-client"),
        ("AUTH0_CLIENT_SECRET", "never-to-be-seen"),
    ];
    let page = browser.post("/connect", &fields).await.text();
    assert!(page.contains("It takes the key"), "{page}");
    assert!(!page.contains("never-to-be-seen"), "the key is shown");
    assert_eq!(given(&page, "USERTAP_PROVIDER"), "auth0");
    assert_eq!(given(&page, "USERTAP_UPSTREAM"), address);
    assert_eq!(given(&page, "AUTH0_CLIENT_ID"), "the-client");
    assert_eq!(given(&page, "AUTH0_CLIENT_SECRET"), "what you entered");
    assert!(given(&page, "DATABASE_URL").starts_with("postgres://"));
    let empty = browser.post("/connect", &fields[..1]).await.text();
    assert!(
        empty.contains("Not asked: the address of its API is needed"),
        "{empty}"
    );
    tasks.stop();
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_with_usertaps_own_key_counts_with_the_rest() {
    let stack = Stack::new().await;
    let address = format!("http://{}", stack.sandbox.addr());
    let (project, key) = ("STACK_PROJECT_ID", "STACK_SECRET_SERVER_KEY");
    let own = [project, key].map(|name| stack.setting(0, name));
    let asked = || stack.control().count(&Method::GET, "/users/{id}");
    let given = || async { stack.status().await["budget"]["given"]["app"].as_u64() };
    let mut browser = Browser::at(&stack);
    browser.page("/connect").await;
    let before = (asked(), given().await.expect("a count"));
    let fields = [
        ("provider", "stack-auth"),
        ("address", &address),
        (project, &own[0]),
        (key, &own[1]),
    ];
    let page = browser.post("/connect", &fields).await.text();
    assert!(page.contains("It takes the key"), "{page}");
    let (asked, given) = (asked() - before.0, given().await.expect("a count") - before.1);
    assert!(asked > 0 && asked <= given, "{asked} asked, {given} counted");
    stack.end().await;
}
