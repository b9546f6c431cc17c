//! Users are written through the proxy: recorded like any app's write, by whatever way apps reach it.

use ::http::Method;
use serde_json::json;
use usertap::sandbox::{Action, Fault};
use uuid::Uuid;

use super::browser::{Browser, leads_to};
use crate::support::stack::{Setup, Stack};

/// The id in `/users/{id}?…`.
fn id_of(place: &str) -> Uuid {
    let id = place
        .trim_start_matches("/users/")
        .split('?')
        .next()
        .unwrap_or_default();
    id.parse().unwrap_or_else(|_| panic!("no user in {place}"))
}

/// Whence the user's last change came.
async fn origin(stack: &Stack, user: Uuid) -> String {
    let last = format!(
        "SELECT origin || ' ' || route FROM usertap.changes WHERE id = '{user}' ORDER BY position DESC LIMIT 1"
    );
    stack.client.query_one(&last, &[]).await.expect("a change").get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_made_changed_and_deleted_after_a_second_look() {
    let stack = Stack::new().await;
    let mut browser = Browser::at(&stack);
    browser.page("/users/new").await;
    let form = [
        ("display_name", "Ada"),
        ("primary_email", " ada@example.com "),
        ("server_metadata", "{\"plan\": \"pro\"}"),
    ];
    let asks = browser.post("/users/new", &form).await.text();
    assert!(asks.contains("Make this user") && asks.contains("ada@example.com"));
    assert!(!asks.contains(">no</td>"), "what nobody asked for: {asks}");
    let carried = "name=\"display_name\" value=\"Ada\"";
    assert_eq!(
        asks.matches(carried).count(),
        2,
        "to be done, and to be written again: {asks}"
    );
    let again = [&form[..], &[("step", "again")]].concat();
    let again = browser.post("/users/new", &again).await.text();
    assert!(
        again.contains("Look it over") && again.contains("value=\"Ada\""),
        "{again}"
    );
    assert!(
        stack.control().ids(0).is_empty(),
        "nothing is done before the second look"
    );
    let made = leads_to(
        &browser
            .post("/users/new", &[&form[..], &[("step", "do")]].concat())
            .await,
    );
    assert!(made.contains("said=created&recorded=committed"), "{made}");
    let user = id_of(&made);
    stack.note();
    stack.agrees(user).await.expect("the row is there");
    assert_eq!(origin(&stack, user).await, "proxy.write POST /users");
    // Whoever is new is read once more: a read that is under way then can be the first to see what comes next.
    stack.settled().await;
    let made = stack.control().server_view(0, user).expect("she is there");
    assert_eq!(
        (&made["primary_email"], &made["server_metadata"]),
        (&json!("ada@example.com"), &json!({ "plan": "pro" }))
    );

    let (edit, delete) = (format!("/users/{user}/edit"), format!("/users/{user}/delete"));
    for (page, place) in [
        ("/users".to_owned(), "/users\""),
        (format!("/users/{user}"), &*format!("/users/{user}\"")),
    ] {
        let link = format!(
            "https://app.stack-auth.com/projects/{}{place}",
            stack.setting(0, "STACK_PROJECT_ID")
        );
        assert!(browser.page(&page).await.contains(&link), "{link}");
    }
    let page = browser.page(&edit).await;
    assert!(page.contains("value=\"Ada\"") && page.contains("&quot;plan&quot;: &quot;pro&quot;"));
    let form = [
        ("display_name", "Countess"),
        ("primary_email", ""),
        ("server_metadata", "{\"plan\":\"pro\"}"),
    ];
    let asks = browser.post(&edit, &form).await.text();
    assert!(asks.contains("Change this") && asks.contains("nothing") && !asks.contains("plan</th>"));
    let changed = leads_to(
        &browser
            .post(&edit, &[&form[..], &[("step", "do")]].concat())
            .await,
    );
    assert!(changed.contains("said=edited&recorded=committed"), "{changed}");
    stack.agrees(user).await.expect("the row says so");
    assert_eq!(origin(&stack, user).await, "proxy.write PATCH /users/{id}");
    let same = browser.post(&edit, &form).await.text();
    assert!(same.contains("Nothing was changed."));

    assert!(
        browser
            .page(&delete)
            .await
            .contains("The row stays, with deleted_at set")
    );
    let gone = leads_to(&browser.post(&delete, &[]).await);
    assert!(gone.contains("said=deleted&recorded=committed"), "{gone}");
    assert_eq!(origin(&stack, user).await, "proxy.write DELETE /users/{id}");
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_sent_as_it_was_written() {
    let stack = Stack::new().await;
    let mut browser = Browser::at(&stack);
    browser.page("/users/new").await;
    let form = [("display_name", " Ada  Lovelace "), ("step", "do")];
    let user = id_of(&leads_to(&browser.post("/users/new", &form).await));
    stack.note();
    let made = stack.control().server_view(0, user).expect("she is there");
    assert_eq!(made["display_name"], json!(" Ada  Lovelace "));
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_the_row_is_said_before_a_user_is_deleted() {
    for (deleted, said) in [
        ("purge", "The row is removed, and what your foreign keys say"),
        (
            "purge-after=30d",
            "is removed after 30 d; then what your foreign keys say",
        ),
    ] {
        let stack = Stack::with(Setup::set(&[("USERTAP_DELETED", deleted)])).await;
        let user = stack.known_user(json!({ "display_name": "Ada" })).await;
        let page = Browser::at(&stack).page(&format!("/users/{user}/delete")).await;
        assert!(page.contains(said), "{deleted}: {page}");
        stack.end().await;
    }
}

/// Whoever edits one member of an object sends the others too.
#[tokio::test(flavor = "multi_thread")]
async fn an_edit_leaves_numbers_as_the_provider_has_them() {
    let stack = Stack::new().await;
    let (user, server) = (stack.user(json!({ "display_name": "Ada" })), stack.server(0));
    let metadata = "{\"account\":12345678901234567890123,\"share\":0.12345678901234567891}";
    let told = stack.control().server_view(0, user).expect("a user").to_string();
    let told = told.replace(
        "\"server_metadata\":null",
        &format!("\"server_metadata\":{metadata}"),
    );
    let told = Action::Body(told.into());
    stack
        .control()
        .fault(Fault::on("/users/", told).method(Method::GET));
    let read = stack.get(&server, &format!("/users/{user}")).await;
    assert!(
        read.recorded().starts_with("committed; pos="),
        "{}",
        read.recorded()
    );

    let mut browser = Browser::at(&stack);
    let edit = format!("/users/{user}/edit");
    let page = browser.page(&edit).await;
    for number in ["12345678901234567890123", "0.12345678901234567891"] {
        assert!(page.contains(number), "{number} in {page}");
    }
    let form = |metadata: &'static str| [("display_name", "Ada"), ("server_metadata", metadata)];
    let same = browser.post(&edit, &form(metadata)).await.text();
    assert!(same.contains("Nothing was changed."), "{same}");
    let other = browser
        .post(&edit, &form("{\"account\":12345678901234567890124}"))
        .await
        .text();
    assert!(other.contains("12345678901234567890124"), "{other}");
    stack
        .get(
            &server.raw("cache-control", "max-age=0"),
            &format!("/users/{user}"),
        )
        .await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_refuses_is_told_in_its_words_and_nothing_is_recorded() {
    let stack = Stack::new().await;
    let mut browser = Browser::at(&stack);
    browser.page("/users/new").await;
    let form = [
        ("primary_email", "ada@example.com"),
        ("primary_email_auth_enabled", "true"),
        ("step", "do"),
    ];
    leads_to(&browser.post("/users/new", &form).await);
    let refused = browser.post("/users/new", &form).await;
    assert_eq!(refused.status, 502);
    assert!(
        refused.text().contains("the provider says: "),
        "{}",
        refused.text()
    );
    stack.note();
    assert_eq!(
        stack.count("SELECT count(*) FROM neon_identity.users_sync").await,
        1
    );
    for (name, text, told) in [
        ("primary_email", "no address", "It is not an email address."),
        ("client_metadata", "{", "It is not JSON"),
    ] {
        let page = browser
            .post("/users/new", &[(name, text), ("step", "do")])
            .await
            .text();
        assert!(
            page.contains(told) && page.contains("aria-invalid=\"true\""),
            "{name}"
        );
    }
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_needs_no_socket_and_no_certificate() {
    let stack = Stack::with(Setup::set(&[
        ("USERTAP_TLS_CERT", "tests/fixtures/tls/cert.pem"),
        ("USERTAP_TLS_KEY", "tests/fixtures/tls/key.pem"),
        ("USERTAP_PUBLIC_URL", "https://auth.example.com/base"),
    ]))
    .await;
    let mut browser = Browser::at(&stack);
    assert!(
        browser
            .page("/setup")
            .await
            .contains("baseUrl: &quot;https://auth.example.com/base&quot;")
    );
    browser.page("/users/new").await;
    let made = browser
        .post("/users/new", &[("display_name", "Ada"), ("step", "do")])
        .await;
    let user = id_of(&leads_to(&made));
    stack.note();
    stack.agrees(user).await.expect("the row is there");
    stack.end().await;
}
