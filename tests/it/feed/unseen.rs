//! Rows that somebody changed past the triggers: a reconcile puts them right, and tells nothing else.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{head, list, page};
use crate::support::eventually;
use crate::support::stack::Stack;

/// What a reconcile says had drifted.
async fn reconciled(stack: &Stack) -> Value {
    stack.walk_begins("reconcile").await;
    stack.walk_ends("reconcile").await["drift"].take()
}

fn changed(users: u64) -> Value {
    json!({ "created": 0, "changed": users, "deleted": 0 })
}

/// As a restore does it.
async fn past_the_triggers(stack: &Stack, statement: &str) {
    let triggers = ["insert", "update", "delete", "truncate"];
    let all = |verb: &str| {
        triggers
            .map(|name| format!("{verb} TRIGGER usertap_{name}"))
            .join(", ")
    };
    let statements = format!(
        "BEGIN; ALTER TABLE neon_identity.users_sync {}; {statement};
         ALTER TABLE neon_identity.users_sync {}; COMMIT",
        all("DISABLE"),
        all("ENABLE ALWAYS")
    );
    stack.client.batch_execute(&statements).await.expect("statements");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_trigger_saw_is_put_right_by_a_reconcile() {
    let stack = Stack::new().await;
    let mut ids = Vec::new();
    for name in ["Ada", "Grace", "Emmy"] {
        ids.push(stack.known_user(json!({ "display_name": name })).await);
    }
    let made = Uuid::new_v4();
    stack.told_of(made);
    let unseen = format!(
        "BEGIN;
         ALTER TABLE neon_identity.users_sync DISABLE TRIGGER USER;
         UPDATE neon_identity.users_sync SET name = 'Eve' WHERE id = '{}';
         UPDATE neon_identity.users_sync SET raw_json = raw_json || '{{\"display_name\": \"Eve\"}}' WHERE id = '{}';
         UPDATE neon_identity.users_sync SET deleted_at = now() WHERE id = '{}';
         INSERT INTO neon_identity.users_sync (id, name, raw_json) VALUES ('{made}', 'Nobody', '{{}}');
         ALTER TABLE neon_identity.users_sync ENABLE ALWAYS TRIGGER usertap_update, ENABLE ALWAYS TRIGGER usertap_insert,
             ENABLE ALWAYS TRIGGER usertap_delete, ENABLE ALWAYS TRIGGER usertap_truncate;
         COMMIT",
        ids[0], ids[1], ids[2]
    );
    stack.sql(&unseen).await;
    assert_eq!(reconciled(&stack).await, changed(4));
    for id in ids {
        eventually("the provider's word is back", || async {
            stack.agrees(id).await.is_ok().then_some(())
        })
        .await;
    }
    let deleted = format!(
        "SELECT count(*) FROM neon_identity.users_sync WHERE id = '{made}' AND deleted_at IS NOT NULL"
    );
    eventually("nobody else is left", || async {
        (stack.count(&deleted).await == 1).then_some(())
    })
    .await;
    stack.end().await;
}

/// One that makes a row elsewhere, and one that is not enabled, decide nothing.
#[tokio::test(flavor = "multi_thread")]
async fn triggers_that_decide_nothing_in_a_row_keep_nobody_from_being_put_right() {
    let stack = Stack::new().await;
    let id = stack.known_user(json!({ "display_name": "Ada" })).await;
    let own = "CREATE TABLE profiles (user_id uuid);
        CREATE FUNCTION has_profile() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public
            AS 'BEGIN INSERT INTO profiles VALUES (NEW.id); RETURN NULL; END';
        CREATE TRIGGER has_profile AFTER INSERT ON neon_identity.users_sync
            FOR EACH ROW EXECUTE FUNCTION has_profile();
        CREATE FUNCTION shouts() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.name = upper(NEW.name); RETURN NEW; END';
        CREATE TRIGGER shouts BEFORE UPDATE ON neon_identity.users_sync FOR EACH ROW EXECUTE FUNCTION shouts();
        ALTER TABLE neon_identity.users_sync DISABLE TRIGGER shouts";
    stack.client.batch_execute(own).await.expect("triggers");
    past_the_triggers(&stack, "UPDATE neon_identity.users_sync SET name = 'Eve'").await;
    assert_eq!(reconciled(&stack).await, changed(1));
    eventually("the provider's word is back", || async {
        stack.agrees(id).await.ok()
    })
    .await;
    stack.end().await;
}

/// However often: nothing has changed.
async fn tells_nothing(stack: &Stack) {
    let since = head(stack).await;
    for _ in 0..2 {
        assert_eq!(reconciled(stack).await, changed(0));
        stack.settled().await;
    }
    let told = list(&page(stack, &format!("/v1/changes?since={since}")).await);
    assert_eq!(told, Vec::<Value>::new());
}

/// What stood in the way is gone.
async fn put_right_without(stack: &Stack, statement: &str, id: Uuid) {
    stack.client.batch_execute(statement).await.expect("a statement");
    assert_eq!(reconciled(stack).await, changed(1));
    eventually("the provider's word is there", || async {
        stack.agrees(id).await.ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_a_trigger_writes_once_more_is_not_told_again_and_again() {
    let stack = Stack::new().await;
    let own = "CREATE FUNCTION shouts() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
            UPDATE neon_identity.users_sync SET name = upper(name) WHERE id = NEW.id AND name <> upper(name); RETURN NULL; END';
        CREATE TRIGGER shouts AFTER INSERT OR UPDATE ON neon_identity.users_sync FOR EACH ROW EXECUTE FUNCTION shouts()";
    stack.client.batch_execute(own).await.expect("a trigger");
    let id = stack.user(json!({ "display_name": "Ada" }));
    stack.get(&stack.server(0), &format!("/users/{id}")).await;
    stack.settled().await;
    tells_nothing(&stack).await;
    put_right_without(&stack, "DROP TRIGGER shouts ON neon_identity.users_sync", id).await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_holds_days_alone_is_no_drift() {
    let stack = Stack::new().await;
    let id = stack.known_user(json!({})).await;
    let days = "ALTER TABLE neon_identity.users_sync ALTER COLUMN created_at TYPE date";
    stack.client.batch_execute(days).await.expect("a type");
    tells_nothing(&stack).await;
    put_right_without(
        &stack,
        "ALTER TABLE neon_identity.users_sync ALTER COLUMN created_at TYPE timestamptz",
        id,
    )
    .await;
    stack.end().await;
}

/// A row of somebody whom usertap was never told of, and who is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_somebody_unknown_who_is_there_counts_once() {
    let stack = Stack::new().await;
    stack.known_user(json!({ "display_name": "Ada" })).await;
    let id = stack.user(json!({ "display_name": "Grace" }));
    stack.note();
    let made =
        format!("INSERT INTO neon_identity.users_sync (id, name, raw_json) VALUES ('{id}', 'Eve', '{{}}')");
    past_the_triggers(&stack, &made).await;
    assert_eq!(
        reconciled(&stack).await,
        json!({ "created": 1, "changed": 0, "deleted": 0 })
    );
    eventually("the provider's word is there", || async {
        stack.agrees(id).await.ok()
    })
    .await;
    stack.end().await;
}
