//! The two examples that users paste, as they stand: a row for a user who signed up a moment ago
//! is accepted, a purge fires what they declared, and their own constraints stop nobody else.

use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};
use usertap::sandbox::{Action, Fault, Gate};
use uuid::Uuid;

use crate::support::eventually;
use crate::support::http::Reply;
use crate::support::stack::{Setup, Stack};

const EXAMPLES: &str = include_str!("../../fixtures/foreign-keys.sql");

async fn with_examples(settings: &[(&'static str, &'static str)]) -> Stack {
    let stack = Stack::with(Setup::set(settings)).await;
    stack.sql(EXAMPLES).await;
    stack
}

async fn sign_up(stack: &Stack, n: usize) -> (Uuid, Reply) {
    let body = json!({ "email": format!("user-{n}@example.com"), "password": "correct horse battery" });
    let reply = stack
        .post(&stack.browser(0), "/auth/password/sign-up", body)
        .await;
    let id = reply.json()["user_id"]
        .as_str()
        .expect("a user")
        .parse()
        .expect("an id");
    (id, reply)
}

async fn add_todo(stack: &Stack, user: Uuid) -> Result<(), tokio_postgres::Error> {
    let insert = format!("INSERT INTO todos (task, user_id) VALUES ('write tests', '{user}')");
    stack.client.batch_execute(&insert).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signed_up_a_moment_ago_has_todos() {
    let stack = with_examples(&[]).await;
    let (user, reply) = sign_up(&stack, 0).await;
    add_todo(&stack, user).await.expect("the foreign key holds");
    stack.is_recorded(&reply, user).await;
    assert!(
        add_todo(&stack, Uuid::new_v4()).await.is_err(),
        "it is a foreign key after all"
    );
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_sign_ups_at_once_have_todos_at_once() {
    let stack = with_examples(&[]).await;
    let one = async |n| {
        let (user, reply) = sign_up(&stack, n).await;
        add_todo(&stack, user).await.expect("the foreign key holds");
        stack.is_recorded(&reply, user).await;
    };
    join_all((0..64).map(one)).await;
    assert_eq!(stack.count("SELECT count(DISTINCT user_id) FROM todos").await, 64);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_skeleton_stands_in_while_the_provider_is_slow_to_show_the_user() {
    let stack = with_examples(&[("USERTAP_SYNC_TIMEOUT", "2s")]).await;
    let gate = Gate::new();
    // A read that nobody waited for may be under way, and give way to the one that the answer waits for.
    for _ in 0..2 {
        let held = Fault::on("/users/", Action::HoldBefore(gate.clone()));
        stack.control().fault(held.method(Method::GET));
    }
    let (user, reply) = sign_up(&stack, 0).await;
    assert_eq!(reply.recorded(), "none; reread-late");
    assert!(stack.row(user).await.expect("a row").is_skeleton());
    add_todo(&stack, user).await.expect("the foreign key holds");
    gate.release();
    eventually("the skeleton is filled", || async {
        stack.agrees(user).await.ok()
    })
    .await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_fires_what_the_examples_declare_before_the_answer_leaves() {
    let stack = with_examples(&[("USERTAP_DELETED", "purge")]).await;
    let (gone, _) = sign_up(&stack, 0).await;
    let (stays, _) = sign_up(&stack, 1).await;
    for user in [gone, stays] {
        add_todo(&stack, user).await.expect("the foreign key holds");
        stack
            .sql(&format!(
                "INSERT INTO posts (title, content, author_id) VALUES ('t', 'c', '{user}')"
            ))
            .await;
    }
    let reply = stack.delete(&stack.server(0), &format!("/users/{gone}")).await;
    assert!(reply.recorded().starts_with("committed"));
    assert_eq!(stack.row(gone).await, None);
    assert_eq!(stack.count("SELECT count(*) FROM todos").await, 1, "CASCADE");
    assert_eq!(
        stack
            .count("SELECT count(*) FROM posts WHERE author_id IS NULL")
            .await,
        1,
        "SET NULL"
    );
    assert_eq!(stack.count("SELECT count(*) FROM posts").await, 2);
    let kept =
        "SELECT count(*) FROM usertap.changes WHERE id = $1 AND (raw IS NOT NULL OR email IS NOT NULL)";
    let kept = stack
        .client
        .query_one(kept, &[&gone.to_string()])
        .await
        .expect("a query");
    assert_eq!(
        kept.get::<_, i64>(0),
        0,
        "older changes hold nothing of the user any more"
    );
    assert_eq!(
        stack
            .delete(&stack.server(0), &format!("/users/{gone}"))
            .await
            .effective_status(),
        404
    );
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_without_on_delete_keeps_the_row_and_is_named() {
    let stack = with_examples(&[("USERTAP_DELETED", "purge")]).await;
    stack
        .sql("CREATE TABLE invoices (user_id uuid NOT NULL REFERENCES neon_identity.users_sync (id))")
        .await;
    let (user, _) = sign_up(&stack, 0).await;
    stack
        .sql(&format!("INSERT INTO invoices VALUES ('{user}')"))
        .await;
    let reply = stack.delete(&stack.server(0), &format!("/users/{user}")).await;
    assert!(reply.recorded().starts_with("committed"), "{}", reply.recorded());
    assert!(stack.row(user).await.expect("it is referenced").is_deleted);
    names(&stack, user).await;
    let (next, reply) = sign_up(&stack, 1).await;
    stack.is_recorded(&reply, next).await;
    stack.refused(user);
    stack.end().await;
}

/// The status names the user as set aside.
async fn names(stack: &Stack, user: Uuid) {
    let status = eventually("the status names the user", || async {
        let status = stack.status().await;
        let problems = status["problems"].as_array().expect("a list");
        let named = |problem: &Value| {
            problem["what"]
                .as_str()
                .is_some_and(|what| what.contains(&user.to_string()))
        };
        problems.iter().any(named).then_some(status)
    })
    .await;
    assert_eq!(status["healthy"], json!(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_constraint_that_refuses_one_row_holds_up_nobody() {
    let stack = with_examples(&[]).await;
    stack
        .sql("ALTER TABLE neon_identity.users_sync ADD CHECK (name <> 'Refused')")
        .await;
    let server = stack.server(0);
    let create = async |n: usize| {
        let name = if n == 3 {
            "Refused".to_owned()
        } else {
            format!("User {n}")
        };
        let reply = stack
            .post(&server, "/users", json!({ "display_name": name }))
            .await;
        let id: Uuid = reply.json()["id"]
            .as_str()
            .expect("an id")
            .parse()
            .expect("an id");
        assert_eq!(reply.effective_status(), 201);
        match n {
            3 => assert_eq!(reply.recorded(), "none; set-aside"),
            _ => stack.is_recorded(&reply, id).await,
        }
        id
    };
    let users = join_all((0..8).map(create)).await;
    let refused = users[3];
    assert!(stack.row(refused).await.expect("a row").is_skeleton());
    add_todo(&stack, refused).await.expect("the foreign key holds");
    names(&stack, refused).await;
    let mended = stack
        .patch(
            &server,
            &format!("/users/{refused}"),
            json!({ "display_name": "Fine" }),
        )
        .await;
    stack.is_recorded(&mended, refused).await;
    assert_eq!(stack.status().await["problems"], json!([]));
    stack.end().await;
}

/// The provider lets two users have one address, and one who comes again has the address of who is gone.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_nobodys_alone() {
    let stack = with_examples(&[]).await;
    let ada = json!({ "display_name": "Ada", "primary_email": "ada@example.com" });
    for _ in 0..2 {
        let id = stack.known_user(ada.clone()).await;
        add_todo(&stack, id).await.expect("the foreign key holds");
    }
    let gone = stack.known_user(ada.clone()).await;
    stack.delete(&stack.server(0), &format!("/users/{gone}")).await;
    stack.known_user(ada).await;
    let of_her = "SELECT count(*) FROM neon_identity.users_sync WHERE email = 'ada@example.com'";
    assert_eq!(stack.count(of_her).await, 4);
    assert_eq!(stack.status().await["problems"], json!([]));
    stack.end().await;
}

/// Where the app's own schema wants each of them once.
#[tokio::test(flavor = "multi_thread")]
async fn a_unique_address_sets_the_second_user_aside() {
    let stack = with_examples(&[]).await;
    stack
        .sql("ALTER TABLE neon_identity.users_sync ADD CONSTRAINT one_address UNIQUE (email)")
        .await;
    let one = json!({ "display_name": "One", "primary_email": "ada@example.com" });
    let first = stack.known_user(one).await;
    let second = stack.user(json!({ "display_name": "Two", "primary_email": "ada@example.com" }));
    let path = format!("/users/{second}");
    let reply = stack.get(&stack.server(0), &path).await;
    assert_eq!(
        (reply.effective_status(), reply.recorded()),
        (200, "none; set-aside")
    );
    assert!(stack.row(second).await.expect("a row").is_skeleton());
    add_todo(&stack, second).await.expect("the foreign key holds");
    let status = stack.status().await;
    assert!(
        status
            .to_string()
            .contains("a unique constraint refused the row: one_address"),
        "{status:#}"
    );
    let list = stack.get(&stack.server(0), "/users").await;
    assert_eq!(list.recorded(), "none; set-aside");
    stack.agrees(first).await.expect("the first is untouched");
    let moved = stack
        .patch(
            &stack.server(0),
            &path,
            json!({ "primary_email": "bea@example.com" }),
        )
        .await;
    stack.is_recorded(&moved, second).await;
    assert_eq!(stack.status().await["problems"], json!([]));
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_is_refused_leaves_the_row_as_it_was() {
    let stack = with_examples(&[]).await;
    stack
        .sql("ALTER TABLE neon_identity.users_sync ADD CHECK (name <> 'Refused')")
        .await;
    let user = stack.known_user(json!({ "display_name": "Ada" })).await;
    let path = format!("/users/{user}");
    let refused = stack
        .patch(&stack.server(0), &path, json!({ "display_name": "Refused" }))
        .await;
    assert_eq!(
        (refused.effective_status(), refused.recorded()),
        (200, "none; set-aside")
    );
    assert_eq!(stack.row(user).await.expect("a row").name.as_deref(), Some("Ada"));
    let again = stack.get(&stack.server(0), &path).await;
    assert_eq!(again.recorded(), "none; set-aside");
    let deleted = stack.delete(&stack.server(0), &path).await;
    stack.is_recorded(&deleted, user).await;
    assert!(stack.row(user).await.expect("a row").is_deleted);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_up_and_is_refused_does_not_wait_for_what_cannot_come() {
    let stack = with_examples(&[("USERTAP_SYNC_TIMEOUT", "600s"), ("USERTAP_DRAIN", "20s")]).await;
    stack
        .sql("ALTER TABLE neon_identity.users_sync ADD CHECK (email NOT LIKE 'user-7@%')")
        .await;
    let (user, reply) = sign_up(&stack, 7).await;
    assert_eq!(reply.recorded(), "none; set-aside");
    add_todo(&stack, user).await.expect("the foreign key holds");
    names(&stack, user).await;
    let (next, reply) = sign_up(&stack, 8).await;
    stack.is_recorded(&reply, next).await;
    stack
        .sql("ALTER TABLE neon_identity.users_sync DROP CONSTRAINT users_sync_email_check")
        .await;
    let path = format!("/users/{user}");
    let mended = stack
        .patch(&stack.server(0), &path, json!({ "display_name": "Fine" }))
        .await;
    stack.is_recorded(&mended, user).await;
    stack.end().await;
}

/// One that a session of the operator's own holds, as a long transaction does.
async fn hold(stack: &Stack, user: Uuid) {
    stack
        .sql(&format!(
            "BEGIN; SELECT FROM neon_identity.users_sync WHERE id = '{user}' FOR UPDATE"
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_takes_long_holds_up_no_other() {
    let stack = with_examples(&[("USERTAP_SYNC_TIMEOUT", "15s")]).await;
    let server = stack.server(0);
    let held = stack.known_user(json!({ "display_name": "Held" })).await;
    let batch = stack.known_user(json!({ "display_name": "In its batch" })).await;
    let path = format!("/users/{held}");
    hold(&stack, held).await;
    let waits = stack.patch(&server, &path, json!({ "display_name": "Waits" }));
    let others = async {
        for n in 0..20 {
            let name = json!({ "display_name": format!("Other {n}") });
            let reply = stack.patch(&server, &format!("/users/{batch}"), name).await;
            assert!(reply.recorded().starts_with("committed"), "{}", reply.recorded());
        }
        stack.sql("COMMIT").await;
    };
    // Whatever became of the one, nobody else heard of it: had they waited for it, the lock would
    // still be held.
    let (reply, ()) = tokio::join!(waits, others);
    assert_eq!(reply.effective_status(), 200);
    eventually("the held row follows", || async { stack.agrees(held).await.ok() }).await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cascades_that_take_long_hold_up_no_answer() {
    let stack = with_examples(&[("USERTAP_DELETED", "purge"), ("USERTAP_SYNC_TIMEOUT", "2s")]).await;
    let server = stack.server(0);
    // More than there are lanes to write with.
    let mut users = Vec::new();
    for n in 0..8 {
        let name = json!({ "display_name": format!("Gone {n}") });
        users.push(stack.known_user(name).await);
        add_todo(&stack, users[n]).await.expect("a todo");
    }
    stack.sql("BEGIN; SELECT FROM todos FOR UPDATE").await;
    let paths: Vec<String> = users.iter().map(|user| format!("/users/{user}")).collect();
    let deletions = join_all(paths.iter().map(|path| stack.delete(&server, path))).await;
    let next = json!({ "display_name": "Next" });
    let created = join_all((0..8).map(|_| stack.post(&server, "/users", next.clone()))).await;
    for reply in deletions.iter().chain(&created) {
        assert!(reply.recorded().starts_with("committed"), "{}", reply.recorded());
    }
    stack.sql("COMMIT").await;
    for user in users {
        eventually("the row goes", || async {
            stack.row(user).await.is_none().then_some(())
        })
        .await;
    }
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_took_the_name_of_usertaps_own_is_noticed_and_left_alone() {
    let stack = with_examples(&[("USERTAP_SYNC_TIMEOUT", "2s")]).await;
    let server = stack.server(0);
    let user = stack.known_user(json!({ "display_name": "Ada" })).await;
    stack
        .sql(
            "ALTER TABLE neon_identity.users_sync RENAME TO users2;
             CREATE TABLE neon_identity.users_sync (LIKE neon_identity.users2 INCLUDING ALL)",
        )
        .await;
    let created = stack
        .post(&server, "/users", json!({ "display_name": "Next" }))
        .await;
    assert_eq!(created.recorded(), "journaled; database-away");
    let said = eventually("the status says what is wrong", || async {
        let problems = stack.status().await["problems"].to_string();
        problems.contains("renamed").then_some(problems)
    })
    .await;
    assert!(said.contains("give it its name back"), "{said}");
    assert_eq!(
        stack.count("SELECT count(*) FROM neon_identity.users_sync").await,
        0
    );
    stack
        .sql(
            "DROP TABLE neon_identity.users_sync;
             ALTER TABLE neon_identity.users2 RENAME TO users_sync",
        )
        .await;
    let id: Uuid = created.json()["id"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("an id");
    eventually("the row follows", || async { stack.agrees(id).await.ok() }).await;
    add_todo(&stack, id).await.expect("the foreign key holds");
    stack.agrees(user).await.expect("the first row stayed");
    stack.end().await;
}
