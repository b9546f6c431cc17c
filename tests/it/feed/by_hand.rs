//! Rows that an operator changes with SQL: told like every other change, and mended.

use std::collections::BTreeSet;

use ::http::Method;
use serde_json::json;
use uuid::Uuid;

use super::publication::server_with;
use super::{head, kinds, list, page, text};
use crate::support::lines::Lines;
use crate::support::process::Folder;
use crate::support::stack::{Setup, Stack};
use crate::support::{eventually, postgres};

/// What the feed tells by the word of SQL after a position.
async fn told(stack: &Stack, since: &str, number: usize) -> Vec<serde_json::Value> {
    let path = format!("/v1/changes?since={since}&origin=sql&before=1&raw=1");
    eventually("the changes by hand are told", || async {
        let changes = list(&page(stack, &path).await);
        (changes.len() >= number).then_some(changes)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_told_and_the_truth_comes_back() {
    let stack = Stack::new().await;
    let id = stack.known_user(json!({ "display_name": "Ada" })).await;
    let since = head(&stack).await;
    // Whatever times look like to whoever does it.
    stack
        .sql(&format!(
            "BEGIN; SET LOCAL TimeZone TO 'Asia/Kolkata';
             UPDATE neon_identity.users_sync SET name = 'Eve' WHERE id = '{id}'; COMMIT"
        ))
        .await;
    let changes = told(&stack, &since, 1).await;
    assert_eq!(kinds(&changes), ["user.updated"]);
    let mut before = changes[0]["after"].clone();
    before.as_object_mut().expect("a row").remove("id");
    before["name"] = json!("Ada");
    assert_eq!(
        (&changes[0]["changed"], &changes[0]["before"]),
        (&json!(["name"]), &before)
    );
    assert_eq!(
        (&changes[0]["after"]["name"], &changes[0]["source"]["origin"]),
        (&json!("Eve"), &json!("sql"))
    );
    eventually("the provider's name is back", || async {
        stack.agrees(id).await.ok()
    })
    .await;
    stack.end().await;
}

/// How often the provider was asked for one user.
fn single_reads(stack: &Stack) -> u64 {
    stack.control().count(&Method::GET, "/users/{id}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_the_app_has_added_is_nobody_elses_news() {
    let stack = Stack::new().await;
    let planned = stack.known_user(json!({ "display_name": "Ada" })).await;
    let renamed = stack.known_user(json!({ "display_name": "Bob" })).await;
    let (since, reads) = (head(&stack).await, single_reads(&stack));
    stack
        .sql(&format!(
            "ALTER TABLE neon_identity.users_sync ADD COLUMN plan text;
             UPDATE neon_identity.users_sync SET plan = 'free';
             UPDATE neon_identity.users_sync SET plan = 'paid', name = 'Eve' WHERE id = '{renamed}'"
        ))
        .await;
    let mended = format!("/v1/changes?since={since}&origin=refetch&wait=25s");
    assert_eq!(list(&page(&stack, &mended).await).len(), 1);
    let all = all_since(&stack, &since).await;
    assert!(all.iter().all(|(_, id, _)| *id == renamed.to_string()), "{all:?}");
    assert_eq!(
        single_reads(&stack) - reads,
        1,
        "the provider was asked for nothing"
    );
    assert_eq!(
        stack
            .count("SELECT count(*) FROM neon_identity.users_sync WHERE plan = 'free'")
            .await,
        1
    );
    stack.agrees(planned).await.expect("untouched");
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_puts_the_truth_back_names_the_columns_that_it_changes() {
    let stack = Stack::new().await;
    let id = stack.known_user(json!({ "display_name": "Ada" })).await;
    for (set, changed) in [
        ("name = 'Eve'", json!(["name"])),
        ("deleted_at = now()", json!(["deleted_at"])),
        ("updated_at = '2020-01-01Z'", json!(["updated_at"])),
        ("raw_json = raw_json || '{\"by\": \"hand\"}'", json!(["raw_json"])),
        ("name = 'Eve', raw_json = '{}'", json!(["name", "raw_json"])),
    ] {
        let since = head(&stack).await;
        stack
            .sql(&format!(
                "UPDATE neon_identity.users_sync SET {set} WHERE id = '{id}'"
            ))
            .await;
        let mended = format!("/v1/changes?since={since}&origin=refetch&wait=25s");
        let mended = list(&page(&stack, &mended).await);
        assert_eq!(mended.len(), 1, "{set}");
        assert_eq!(mended[0]["changed"], changed, "{set}");
        stack.agrees(id).await.expect("the truth is back");
    }
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inserts_deletions_and_restorations_are_told_and_mended() {
    let stack = Stack::new().await;
    let (gone, hidden) = (
        stack.known_user(json!({})).await,
        stack.known_user(json!({})).await,
    );
    let stranger = Uuid::new_v4();
    stack.told_of(stranger);
    let since = head(&stack).await;
    stack
        .sql(&format!(
            "DELETE FROM neon_identity.users_sync WHERE id = '{gone}';
             UPDATE neon_identity.users_sync SET deleted_at = now() WHERE id = '{hidden}';
             INSERT INTO neon_identity.users_sync (id, name, raw_json) VALUES ('{stranger}', 'Nobody', '{{}}');"
        ))
        .await;
    let changes = told(&stack, &since, 3).await;
    let mut what: Vec<(String, String)> = changes
        .iter()
        .map(|change| (text(&change["type"]), text(&change["key"]["id"])))
        .collect();
    what.sort();
    let expected = [("created", stranger), ("deleted", hidden), ("purged", gone)];
    let expected: Vec<_> = expected
        .iter()
        .map(|(kind, id)| (format!("user.{kind}"), id.to_string()))
        .collect();
    assert_eq!(what, expected);
    eventually("the provider's truth is back", || async {
        stack
            .agrees(gone)
            .await
            .and(stack.agrees(hidden).await)
            .and(stack.agrees(stranger).await)
            .ok()
    })
    .await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_change_the_table_needs_no_other_right_and_replication_is_no_way_round() {
    let stack = Stack::new().await;
    let ids = [
        stack.known_user(json!({})).await,
        stack.known_user(json!({})).await,
    ];
    let since = head(&stack).await;
    stack
        .sql(&format!(
            "CREATE ROLE editor_{0}; GRANT USAGE ON SCHEMA neon_identity TO editor_{0};
             GRANT SELECT, UPDATE ON neon_identity.users_sync TO editor_{0};
             BEGIN; SET LOCAL ROLE editor_{0};
             UPDATE neon_identity.users_sync SET name = 'by role' WHERE id = '{1}'; COMMIT;
             BEGIN; SET LOCAL session_replication_role = replica;
             UPDATE neon_identity.users_sync SET name = 'by replica' WHERE id = '{2}'; COMMIT;
             UPDATE neon_identity.users_sync SET name = name;",
            ids[0].simple(),
            ids[0],
            ids[1]
        ))
        .await;
    let changes = told(&stack, &since, 2).await;
    let names: Vec<_> = changes
        .iter()
        .map(|change| text(&change["after"]["name"]))
        .collect();
    assert!(
        names.contains(&"by role".into()) && names.contains(&"by replica".into()),
        "{names:?}"
    );
    stack.settled().await;
    let after = list(&page(&stack, &format!("/v1/changes?since={since}&origin=sql")).await);
    assert_eq!(
        after.len(),
        2,
        "an update that changes nothing is none: {after:?}"
    );
    let editor = format!("DROP OWNED BY editor_{0}; DROP ROLE editor_{0}", ids[0].simple());
    stack.sql(&editor).await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_by_hand_takes_what_the_feed_held_of_the_user() {
    let stack = Stack::new().await;
    let id = stack.known_user(json!({ "display_name": "Forget Me" })).await;
    // Gone at the provider too, so that nothing brings it back.
    stack.control().delete(0, id);
    stack.unseen(id);
    let since = head(&stack).await;
    stack.sql("TRUNCATE neon_identity.users_sync").await;
    told(&stack, &since, 1).await;
    let all = page(
        &stack,
        "/v1/changes?since=oldest&raw=1&before=1&origin=proxy.read,sql",
    )
    .await;
    assert_eq!(kinds(&list(&all)), ["user.created", "user.purged"]);
    assert!(!all.to_string().contains("Forget"), "{all}");
    stack.end().await;
}

/// One row that says so must not hold up all others.
#[tokio::test(flavor = "multi_thread")]
async fn a_time_beyond_all_years_is_told_and_mended_like_any_other() {
    let stack = Stack::new().await;
    let id = stack.known_user(json!({ "display_name": "Ada" })).await;
    let other = stack.known_user(json!({})).await;
    let since = head(&stack).await;
    stack
        .sql(&format!(
            "UPDATE neon_identity.users_sync SET created_at = 'infinity', deleted_at = '-infinity' WHERE id = '{id}';
             UPDATE neon_identity.users_sync SET name = 'Eve' WHERE id = '{other}'"
        ))
        .await;
    let changes = told(&stack, &since, 2).await;
    // In which order two users come who were changed at once is nobody's promise.
    let of = |id: Uuid| changes.iter().find(|change| change["key"]["id"] == json!(id));
    let (ada, eve) = (of(id).expect("a change"), of(other).expect("a change"));
    assert_eq!(
        (&ada["type"], &ada["changed"]),
        (&json!("user.deleted"), &json!(["created_at"]))
    );
    assert_eq!(
        (&eve["type"], &eve["after"]["name"]),
        (&json!("user.updated"), &json!("Eve"))
    );
    for id in [id, other] {
        eventually("the provider's word is back", || async {
            stack.agrees(id).await.ok()
        })
        .await;
    }
    stack.end().await;
}

/// A trigger of the users' own that does something about other rows, or its own, in usertap's transaction.
async fn with_trigger(does: &str) -> Stack {
    let stack = Stack::new().await;
    let trigger = format!(
        "CREATE FUNCTION meddles() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN {does}; RETURN NULL; END';
         CREATE TRIGGER meddles AFTER INSERT OR UPDATE ON neon_identity.users_sync
             FOR EACH ROW EXECUTE FUNCTION meddles()"
    );
    stack.client.batch_execute(&trigger).await.expect("a trigger");
    stack
}

/// What came after a position, once nothing more can: type, user and name.
async fn all_since(stack: &Stack, since: &str) -> Vec<(String, String, serde_json::Value)> {
    stack.settled().await;
    let changes = list(&page(stack, &format!("/v1/changes?since={since}")).await);
    let told = changes.iter().map(|change| {
        let (kind, id) = (text(&change["type"]), text(&change["key"]["id"]));
        (kind, id, change["after"]["name"].clone())
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_trigger_writes_into_other_rows_is_told_and_left_as_it_is() {
    let apart = "UPDATE neon_identity.users_sync SET name = NULL WHERE name = NEW.name AND id <> NEW.id";
    let stack = with_trigger(apart).await;
    let (ada, other) = (
        stack.known_user(json!({ "display_name": "Twin" })).await,
        stack.user(json!({ "display_name": "Twin" })),
    );
    let since = head(&stack).await;
    let read = stack.get(&stack.server(0), &format!("/users/{other}")).await;
    stack.is_recorded(&read, other).await;
    let (ada_told, other_told) = (ada.to_string(), other.to_string());
    let expected = [
        ("user.created".to_owned(), other_told, json!("Twin")),
        ("user.updated".to_owned(), ada_told, serde_json::Value::Null),
    ];
    told(&stack, &since, 1).await;
    // Put back, it would take the name from the other one, and so for ever.
    assert_eq!(all_since(&stack, &since).await, expected);
    stack.refused(ada);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_trigger_writes_into_other_rows_may_be_that_they_go() {
    let gone = "DELETE FROM neon_identity.users_sync WHERE name = NEW.name AND id <> NEW.id";
    let stack = with_trigger(gone).await;
    let ada = stack.known_user(json!({ "display_name": "Twin" })).await;
    let since = head(&stack).await;
    let other = stack.known_user(json!({ "display_name": "Twin" })).await;
    told(&stack, &since, 1).await;
    let changes = all_since(&stack, &since).await;
    let expected = [("user.created", other), ("user.purged", ada)];
    let expected = expected.map(|(kind, id)| (kind.to_owned(), id.to_string()));
    let changes: Vec<_> = changes.into_iter().map(|(kind, id, _)| (kind, id)).collect();
    assert_eq!(changes, expected);
    stack.unseen(ada);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_trigger_makes_of_the_row_that_is_written_is_one_change_with_it() {
    let upper =
        "UPDATE neon_identity.users_sync SET name = upper(name) WHERE id = NEW.id AND name <> upper(name)";
    let stack = with_trigger(upper).await;
    let since = head(&stack).await;
    let id = stack.user(json!({ "display_name": "Ada" }));
    let (server, path) = (stack.server(0), format!("/users/{id}"));
    stack.get(&server, &path).await;
    stack
        .patch(&server, &path, json!({ "display_name": "Bea" }))
        .await;
    let expected = [("user.created", "ADA"), ("user.updated", "BEA")];
    let expected = expected.map(|(kind, name)| (kind.to_owned(), id.to_string(), json!(name)));
    assert_eq!(all_since(&stack, &since).await, expected);
    stack.refused(id);
    stack.end().await;
}

/// Their types may know no equality: an `UPDATE` of theirs is nobody else's business.
#[tokio::test(flavor = "multi_thread")]
async fn columns_of_the_users_own_may_be_of_any_type_and_are_no_change() {
    let stack = Stack::new().await;
    let id = stack.known_user(json!({ "display_name": "Ada" })).await;
    stack
        .sql("ALTER TABLE neon_identity.users_sync ADD COLUMN prefs json, ADD COLUMN place point")
        .await;
    let since = head(&stack).await;
    let set = "UPDATE neon_identity.users_sync SET prefs = '{\"theme\": \"dark\"}', place = '(1,2)'";
    stack.client.batch_execute(set).await.expect("an update");
    assert_eq!(all_since(&stack, &since).await, []);
    stack
        .sql("ALTER TABLE neon_identity.users_sync ALTER COLUMN raw_json TYPE json")
        .await;
    let renamed = "UPDATE neon_identity.users_sync SET name = 'Eve', place = NULL";
    stack.client.batch_execute(renamed).await.expect("an update");
    let changes = told(&stack, &since, 1).await;
    assert_eq!(changes[0]["changed"], json!(["name"]));
    eventually("the provider's name is back", || async {
        stack.agrees(id).await.ok()
    })
    .await;
    stack.end().await;
}

/// A snapshot may have shown it in between.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_comes_and_goes_before_it_is_told_is_told_to_be_gone() {
    let stack = Stack::new().await;
    let stranger = Uuid::new_v4();
    stack.told_of(stranger);
    // Nothing is told while somebody makes the state of that very user.
    let mut holder = postgres::client(&stack.setting(0, "DATABASE_URL").into()).await;
    let held = holder.transaction().await.expect("a transaction");
    let state =
        format!("INSERT INTO usertap.user_state (id, position, standing) VALUES ('{stranger}', 0, 'none')");
    held.batch_execute(&state).await.expect("a state");
    stack
        .sql(&format!(
            "INSERT INTO neon_identity.users_sync (id, name, raw_json) VALUES ('{stranger}', 'Nobody', '{{}}')"
        ))
        .await;
    let snapshot = page(&stack, "/v1/snapshot").await;
    assert_eq!(snapshot["next"], json!(stranger));
    stack
        .sql(&format!(
            "DELETE FROM neon_identity.users_sync WHERE id = '{stranger}'"
        ))
        .await;
    held.rollback().await.expect("an end");
    let changes = told(&stack, &text(&snapshot["as_of"]), 1).await;
    assert_eq!(kinds(&changes)[0], "user.purged");
    assert_eq!(changes[0]["key"]["id"], json!(stranger));
    stack.unseen(stranger);
    stack.end().await;
}

/// What the provider says in between knows of no row, and takes its going for known.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_goes_while_the_provider_says_that_nobody_is_there_is_told_to_be_gone() {
    let stack = Stack::new().await;
    let id = stack.known_user(json!({ "display_name": "Ada" })).await;
    stack.control().delete(0, id);
    let since = head(&stack).await;
    // Nothing is told while somebody makes the state of another one whose change was noted first.
    let other = Uuid::new_v4();
    stack.told_of(other);
    let mut holder = postgres::client(&stack.setting(0, "DATABASE_URL").into()).await;
    let held = holder.transaction().await.expect("a transaction");
    let state =
        format!("INSERT INTO usertap.user_state (id, position, standing) VALUES ('{other}', 0, 'none')");
    held.batch_execute(&state).await.expect("a state");
    stack
        .sql(&format!(
            "BEGIN; INSERT INTO neon_identity.users_sync (id, raw_json) VALUES ('{other}', '{{}}');
             DELETE FROM neon_identity.users_sync WHERE id = '{id}';
             UPDATE usertap.user_state SET doubt = position WHERE id = '{id}'; COMMIT"
        ))
        .await;
    let gone = stack.get(&stack.server(0), &format!("/users/{id}")).await;
    assert_eq!(gone.recorded(), "none; no-user");
    eventually("the provider's word is taken", || async {
        let state =
            format!("SELECT count(*) FROM usertap.user_state WHERE id = '{id}' AND standing <> 'present'");
        (stack.count(&state).await == 1).then_some(())
    })
    .await;
    held.rollback().await.expect("an end");
    eventually("its going is told", || async {
        let path = format!("/v1/changes?since={since}&id={id}");
        kinds(&list(&page(&stack, &path).await))
            .contains(&"user.purged")
            .then_some(())
    })
    .await;
    stack.unseen(id);
    stack.end().await;
}

/// More than are numbered in one transaction.
#[tokio::test(flavor = "multi_thread")]
async fn one_statement_over_two_thousand_rows_is_told_row_by_row_in_order() {
    const USERS: usize = 2_000;
    let setup = Setup::users(USERS);
    let stack = Stack::with(setup).await;
    stack.note();
    stack.walk_begins("backfill").await;
    stack.walk_ends("backfill").await;
    let since = head(&stack).await;
    let mut stream = Lines::ndjson(&stack.admin_url(&format!("/v1/changes?since={since}&origin=sql"))).await;
    stack
        .sql("UPDATE neon_identity.users_sync SET name = 'by hand'")
        .await;
    let (mut last, mut told) = (since, BTreeSet::new());
    for _ in 0..USERS {
        let event = stream.event().await;
        assert!(last < text(&event["pos"]), "{event} after {last}");
        assert_eq!(
            (&event["type"], &event["after"]["name"]),
            (&json!("user.updated"), &json!("by hand"))
        );
        last = text(&event["pos"]);
        told.insert(text(&event["key"]["id"]));
    }
    assert_eq!(told.len(), USERS, "some were told twice, and others not at all");
    // A read is owed for each; a walk pays them all at once.
    stack.walk_begins("backfill").await;
    stack.walk_ends("backfill").await;
    stack.end().await;
}

/// Whatever is behind a savepoint is of the same transaction.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_transaction_takes_back_behind_a_savepoint_is_no_change() {
    let stack = Stack::new().await;
    let id = stack.known_user(json!({ "display_name": "Ada" })).await;
    let start = head(&stack).await;
    let rename =
        |name: &str| format!("UPDATE neon_identity.users_sync SET name = '{name}' WHERE id = '{id}'");
    let made = Uuid::new_v4();
    let taken_back = format!(
        "BEGIN; {}; SAVEPOINT one; {}; SAVEPOINT two; {}; ROLLBACK TO one; {}; RELEASE one;
         INSERT INTO neon_identity.users_sync (id, raw_json) VALUES ('{made}', '{{}}');
         SAVEPOINT three; DELETE FROM neon_identity.users_sync WHERE id = '{made}'; RELEASE three; COMMIT",
        rename("Eve"),
        rename("Eva"),
        rename("Evi"),
        rename("Ada")
    );
    stack.sql(&taken_back).await;
    eventually("it is numbered", || async {
        (stack.count("SELECT count(*) FROM usertap.sql_changes").await == 0).then_some(())
    })
    .await;
    stack.settled().await;
    let told = list(&page(&stack, &format!("/v1/changes?since={start}&origin=sql")).await);
    assert_eq!(told, Vec::<serde_json::Value>::new());
    stack.end().await;
}

/// Postgres prepares no transaction that has notified anybody.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_changes_rows_can_be_prepared() {
    let folder = Folder::new();
    let server = server_with(folder.path(), "max_prepared_transactions", "5").await;
    let setup = Setup {
        database: Some(server.url("postgres")),
        ..Setup::default()
    };
    let stack = Stack::with(setup).await;
    let id = stack.known_user(json!({ "display_name": "Ada" })).await;
    let start = head(&stack).await;
    let renamed = format!("BEGIN; UPDATE neon_identity.users_sync SET name = 'Eve' WHERE id = '{id}'");
    stack
        .sql(&format!("{renamed}; PREPARE TRANSACTION 'theirs'"))
        .await;
    stack.sql("COMMIT PREPARED 'theirs'").await;
    let changes = told(&stack, &start, 1).await;
    assert_eq!(changes[0]["after"]["name"], "Eve");
    eventually("the truth is back", || async {
        stack.agrees(id).await.is_ok().then_some(())
    })
    .await;
    stack.end().await;
}
