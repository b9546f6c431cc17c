//! `usertap reconcile` as an operator sees it: what changed elsewhere is found, and nobody is deleted
//! for missing in a list.

use ::http::Method;
use serde_json::{Value, json};
use usertap::sandbox::{Action, Canned, Fault, Gate};
use uuid::Uuid;

use super::{PAGE, Server, World, recorded, through_a_relay};
use crate::support::eventually;
use crate::support::http;
use crate::support::postgres;
use crate::support::process::{Ended, setting};

impl World {
    async fn reconciles(&self, args: &[&str]) -> Ended {
        let args: Vec<&str> = ["reconcile", "--json"].iter().chain(args).copied().collect();
        self.start(&args).ended().await
    }

    async fn reconcile(&self) -> Value {
        self.reconciles(&[]).await.with_code(0).json()
    }

    async fn deleted(&self) -> i64 {
        self.count("SELECT count(*) FROM neon_identity.users_sync WHERE deleted_at IS NOT NULL")
            .await
    }

    async fn eventually_deleted(&self, users: i64) {
        eventually("they are deleted", || async {
            (self.deleted().await == users).then_some(())
        })
        .await;
    }

    /// Somebody deletes so many in the provider's dashboard.
    fn lose(&self, users: usize) -> Vec<Uuid> {
        let ids: Vec<Uuid> = self.control().ids(0).into_iter().take(users).collect();
        for id in &ids {
            assert!(self.control().delete(0, *id));
        }
        ids
    }

    /// The next list shows this user and ends there.
    fn list_shows_only(&self, user: Uuid) {
        let shown = self.control().server_view(0, user).expect("a user");
        self.list_shows(&[shown]);
    }

    fn list_shows(&self, users: &[Value]) {
        let list = json!({
            "items": users,
            "is_paginated": true,
            "pagination": { "limit": PAGE, "next_cursor": null },
        });
        let list = Action::Body(list.to_string().into());
        self.control()
            .fault(Fault::on("limit=200", list).method(Method::GET));
    }

    /// The next read of this user is answered by somebody in the provider's place.
    fn read_says_nothing_of(&self, user: Uuid) {
        let edge = Canned::new(404, "<h1>Not Found</h1>").header("content-type", "text/html");
        self.control()
            .fault(Fault::on(&format!("/users/{user}"), Action::Reject(edge)));
    }
}

impl Server {
    async fn problems(&self) -> String {
        self.status().await["problems"].to_string()
    }
}

#[tokio::test]
async fn what_changed_elsewhere_is_found_and_told_by_cause() {
    let world = World::with_users(40).await;
    world.backfill().await;
    world.lose(2);
    let ids = world.control().ids(0);
    assert!(
        world
            .control()
            .edit(0, ids[3], json!({ "display_name": "Changed" }))
    );
    world
        .control()
        .create(0, json!({ "display_name": "New" }))
        .unwrap();
    let account = world.reconcile().await;
    assert_eq!(
        account["drift"],
        json!({ "created": 1, "changed": 1, "deleted": 2 }),
        "{account}"
    );
    assert_eq!(
        (&account["balanced"], &account["fetched"]),
        (&json!(true), &json!(39))
    );
    assert_eq!(
        (&account["spared"], &account["held_back"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(world.deleted().await, 2);
    world.assert_all_there().await;
    let told = "SELECT count(*) FROM usertap.changes WHERE type = 'user.deleted' AND origin = 'reconcile'";
    assert_eq!(world.count(told).await, 2);
    let again = world.reconcile().await;
    assert_eq!(
        again["drift"],
        json!({ "created": 0, "changed": 0, "deleted": 0 }),
        "{again}"
    );
    let output = world.start(&["reconcile"]).ended().await.with_code(0);
    assert!(
        output.stdout[0].contains("drift: 0 created, 0 changed, 0 deleted elsewhere"),
        "{:?}",
        output.stdout
    );
}

/// Where nothing serves the database, it is the reconcile itself that puts right what it finds.
#[tokio::test]
async fn what_was_changed_past_the_triggers_is_put_right_when_it_ends() {
    let world = World::with_users(8).await;
    world.backfill().await;
    let unseen = "BEGIN; ALTER TABLE neon_identity.users_sync DISABLE TRIGGER USER;
        UPDATE neon_identity.users_sync SET name = 'Eve';
        ALTER TABLE neon_identity.users_sync ENABLE ALWAYS TRIGGER usertap_update, ENABLE ALWAYS TRIGGER usertap_insert,
            ENABLE ALWAYS TRIGGER usertap_delete, ENABLE ALWAYS TRIGGER usertap_truncate;
        COMMIT";
    world.client.batch_execute(unseen).await.expect("statements");
    let account = world.reconcile().await;
    assert_eq!(
        account["drift"],
        json!({ "created": 0, "changed": 8, "deleted": 0 }),
        "{account}"
    );
    assert_eq!(account["balanced"], json!(true));
    let left = "SELECT count(*) FROM neon_identity.users_sync WHERE name = 'Eve'";
    assert_eq!(world.count(left).await, 0);
}

#[tokio::test]
async fn a_row_that_a_trigger_keeps_from_being_deleted_is_not_told_again_and_again() {
    let world = World::with_users(3).await;
    world.backfill().await;
    let own = "CREATE FUNCTION stays() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.deleted_at = NULL; RETURN NEW; END';
        CREATE TRIGGER stays BEFORE UPDATE ON neon_identity.users_sync FOR EACH ROW EXECUTE FUNCTION stays()";
    world.client.batch_execute(own).await.expect("a trigger");
    world.lose(1);
    let deleted = world.reconcile().await;
    assert_eq!(
        (&deleted["drift"]["deleted"], world.deleted().await),
        (&json!(1), 0)
    );
    let told = world.count("SELECT count(*) FROM usertap.changes").await;
    for _ in 0..2 {
        let again = world.reconcile().await;
        assert_eq!(again["drift"]["changed"], json!(0), "{again}");
    }
    assert_eq!(world.count("SELECT count(*) FROM usertap.changes").await, told);
    let mended = "DROP TRIGGER stays ON neon_identity.users_sync";
    world.client.batch_execute(mended).await.expect("an end");
    let again = world.reconcile().await;
    assert_eq!(
        (&again["drift"]["changed"], world.deleted().await),
        (&json!(1), 1)
    );
}

/// So many were deleted, and so many held back.
#[track_caller]
fn went(account: &Value, deleted: u64, held_back: u64) {
    assert_eq!(
        (&account["drift"]["deleted"], &account["held_back"]),
        (&json!(deleted), &json!(held_back)),
        "{account}"
    );
}

#[tokio::test]
async fn deletions_stop_at_the_bound_until_somebody_says_yes() {
    let world = World::with_users(60).await;
    world.backfill().await;
    world.lose(15);
    let held = world
        .reconciles(&[])
        .await
        .failed_saying(&["held back", "usertap reconcile --yes"])
        .json();
    went(&held, 10, 5);
    assert_eq!(world.deleted().await, 10);
    // The hour goes on whatever is started anew.
    let held = world.reconciles(&[]).await.with_code(1).json();
    went(&held, 0, 5);
    let server = world.serve().await;
    let problems = server.problems().await;
    assert!(
        problems.contains("5 users who are not in the provider's list"),
        "{problems}"
    );
    // Handed to the process that serves.
    let said_yes = world.reconciles(&["--yes"]).await.with_code(0).json();
    went(&said_yes, 5, 0);
    assert_eq!(world.deleted().await, 15);
    assert_eq!(server.problems().await, "[]");
    assert_eq!(server.status().await["reconcile"]["drift"]["deleted"], 5);
    server.stop().await;
}

/// The bound is of an hour, and a hundredth of the table where that is more than ten.
#[tokio::test]
async fn what_was_held_back_goes_once_the_hour_is_over() {
    let world = World::with_users(6 * PAGE).await;
    world.backfill().await;
    world.lose(15);
    let held = world.reconciles(&[]).await.with_code(1).json();
    went(&held, 12, 3);
    // Whoever starts puts away what is older; whoever serves has it there still.
    let server = world.serve().await;
    let passes =
        |minutes: u32| format!("UPDATE usertap.unasked_deletions SET at = at - interval '{minutes} minutes'");
    world.sql(&passes(50)).await;
    let held = world.reconciles(&[]).await.with_code(1).json();
    assert_eq!(held["held_back"], json!(3), "{held}");
    world.sql(&passes(10)).await;
    let account = world.reconcile().await;
    assert_eq!(account["drift"]["deleted"], json!(3), "{account}");
    assert_eq!(world.deleted().await, 15);
    server.stop().await;
}

/// A yes is for the run that it was said to, also where that comes to nothing.
#[tokio::test]
async fn a_yes_that_came_to_nothing_is_no_yes_to_the_next() {
    let world = World::with_users(60).await;
    world.backfill().await;
    let refused = || Action::Reject(Canned::new(401, "{}"));
    world
        .control()
        .fault(Fault::on("limit=200", refused()).method(Method::GET));
    world.reconciles(&["--yes"]).await.with_code(1);
    world.lose(15);
    let held = world.reconciles(&[]).await.with_code(1).json();
    went(&held, 10, 5);
}

#[tokio::test]
async fn deletions_that_a_read_finds_are_never_held_back_and_count_towards_the_bound() {
    let world = World::with_users(40).await.and("USERTAP_CACHE_TTL", "0");
    world.backfill().await;
    let server = world.serve().await;
    let gone = world.lose(16);
    // Each of these answers tells its app that the user is gone.
    for user in &gone[..4] {
        let told = server.get(&world, &format!("/users/{user}")).await;
        assert_eq!(
            (told.effective_status(), told.recorded().split(';').next()),
            (404, Some("committed"))
        );
    }
    let asked = world.control().ids(0)[0];
    let deleted = server
        .ask(&world, Method::DELETE, &format!("/users/{asked}"), &json!({}))
        .await;
    assert_eq!(deleted.status, 200);
    assert_eq!(world.deleted().await, 5);
    let held = world.reconciles(&[]).await.with_code(1).json();
    // Ten an hour, less those that reads have found.
    went(&held, 6, 6);
    // Also where the bound is reached.
    let told = server.get(&world, &format!("/users/{}", gone[15])).await;
    assert_eq!(
        (told.effective_status(), recorded(&told).as_str()),
        (404, "committed")
    );
    server.stop().await;
}

#[tokio::test]
async fn nobody_is_deleted_for_missing_in_a_list() {
    let world = World::with_users(5).await;
    world.backfill().await;
    let empty = r#"{"items":[],"is_paginated":true,"pagination":{"limit":200,"next_cursor":null}}"#;
    let lie = || Fault::on("limit=200", Action::Body(empty.into())).method(Method::GET);
    world.control().fault(lie());
    let refused = world.reconciles(&[]).await;
    refused.failed_saying(&["empty although users are known", "--yes"]);
    world.control().fault(lie());
    let account = world.reconciles(&["--yes"]).await.with_code(0).json();
    assert_eq!(
        (&account["fetched"], &account["spared"]),
        (&json!(0), &json!(5)),
        "{account}"
    );
    assert_eq!(world.deleted().await, 0);
}

#[tokio::test]
async fn a_not_found_that_is_not_the_providers_deletes_nobody() {
    let world = World::with_users(5).await;
    world.backfill().await;
    let lost = world.lose(1)[0];
    world.read_says_nothing_of(lost);
    world
        .reconciles(&[])
        .await
        .failed_saying(&["404, which says nothing of the user"]);
    assert_eq!(world.deleted().await, 0);
    // It goes on where it stopped.
    world.control().forget_traffic();
    let account = world.reconcile().await;
    assert_eq!(
        (&account["drift"]["deleted"], world.pages()),
        (&json!(1), 0),
        "{account}"
    );
    assert_eq!(world.deleted().await, 1);
}

#[tokio::test]
async fn of_whom_nothing_is_said_keeps_nobody_else_from_being_looked_at() {
    let world = World::with_users(60).await;
    world.backfill().await;
    let mut ids = world.control().ids(0);
    ids.sort();
    world.list_shows_only(ids[0]);
    for id in ids[1..].iter().step_by(2) {
        world.read_says_nothing_of(*id);
    }
    world
        .reconciles(&[])
        .await
        .failed_saying(&["404, which says nothing of the user"]);
    let there = "SELECT spared FROM usertap.backfill WHERE kind = 'reconcile'";
    assert_eq!(world.count(there).await, 29);
    assert_eq!(world.deleted().await, 0);
}

#[tokio::test]
async fn where_nothing_is_said_of_one_after_the_other_it_soon_ends() {
    let world = World::with_users(60).await;
    world.backfill().await;
    let ids = world.control().ids(0);
    world.list_shows_only(ids[0]);
    for id in &ids[1..] {
        world.read_says_nothing_of(*id);
    }
    world
        .reconciles(&[])
        .await
        .failed_saying(&["404, which says nothing of the user"]);
    let read = world.control().count(&Method::GET, "/users/{id}");
    assert!((16..=24).contains(&read), "{read} reads");
}

#[tokio::test]
async fn a_name_that_no_row_can_hold_ends_no_reconcile() {
    let world = World::with_users(3).await;
    world.backfill().await;
    world.lose(1);
    let ids = world.control().ids(0);
    let view = |at: usize| world.control().server_view(0, ids[at]).expect("a user");
    let mut odd = view(0);
    odd["display_name"] = json!("Nu\u{0}l");
    world.list_shows(&[odd, view(1)]);
    let account = world.reconcile().await;
    assert_eq!(account["set_aside"], json!(1), "{account}");
    went(&account, 1, 0);
}

/// Whoever was read before the bound was reached, and is there, waits for nobody's yes.
#[tokio::test]
async fn held_back_is_who_was_not_read_and_nobody_else() {
    let world = World::with_users(60).await;
    world.backfill().await;
    world.lose(15);
    world.list_shows_only(world.control().ids(0)[0]);
    let held = world.reconciles(&[]).await.with_code(1).json();
    assert_eq!(held["drift"]["deleted"], json!(10), "{held}");
    let of = |name: &str| held[name].as_i64().expect("a number");
    assert_eq!(of("spared") + of("held_back"), 59 - 10, "{held}");
}

#[tokio::test]
async fn a_deletion_that_an_app_was_told_of_meanwhile_is_no_drift() {
    let world = World::with_users(5).await.and("USERTAP_TIMEOUT", "60s");
    world.backfill().await;
    let lost = world.lose(1)[0];
    let server = world.serve().await;
    let gate = Gate::new();
    let read = Fault::on(&format!("/users/{lost}"), Action::HoldAfter(gate.clone()));
    world.control().fault(read);
    let process = world.start(&["reconcile", "--json"]);
    gate.reached().await;
    let told = server.get(&world, &format!("/users/{lost}")).await;
    assert_eq!(
        (told.effective_status(), recorded(&told).as_str()),
        (404, "committed")
    );
    gate.release();
    let account = process.ended().await.with_code(0).json();
    went(&account, 0, 0);
    assert_eq!(world.deleted().await, 1);
    server.stop().await;
}

#[tokio::test]
async fn killed_in_the_middle_it_goes_on_with_whom_it_has_met() {
    let world = World::with_users(4 * PAGE).await;
    world.backfill().await;
    let lost = world.control().ids(0);
    for id in [lost[3], lost[3 * PAGE + 3]] {
        assert!(world.control().delete(0, id));
    }
    let gate = world.hold_page_at(2 * PAGE);
    let process = world.start(&["reconcile"]);
    gate.reached().await;
    eventually("the page before is committed", || async {
        let sql = "SELECT max(fetched) FROM usertap.backfill WHERE kind = 'reconcile'";
        (world.count(sql).await == 400).then_some(())
    })
    .await;
    process.killed().await;
    world.control().forget_traffic();
    let account = world.reconcile().await;
    assert_eq!(
        account["drift"],
        json!({ "created": 0, "changed": 0, "deleted": 2 }),
        "{account}"
    );
    assert_eq!((&account["resumed"], world.pages()), (&json!(1), 2));
    assert_eq!(
        world.control().count(&Method::GET, "/users/{id}"),
        2,
        "only those who were not met"
    );
}

#[tokio::test]
async fn a_serve_reconciles_when_asked_and_every_so_often() {
    let world = World::with_users(5).await;
    world.backfill().await;
    let server = world.serve().await;
    world.lose(1);
    let url = format!("http://{}/v1/reconcile", server.admin);
    for wrong in ["yes=please", "sure=1"] {
        let refused = http::post(&format!("{url}?{wrong}"), &[], &json!({})).await;
        assert_eq!(refused.status.as_u16(), 400, "{wrong}: {}", refused.text());
    }
    let asked = http::post(&url, &[], &json!({})).await;
    assert_eq!(asked.status.as_u16(), 202, "{}", asked.text());
    world.eventually_deleted(1).await;
    server.stop().await;

    // The database's clock was ahead then, and has been set right since.
    let ahead = "UPDATE usertap.backfill SET started_at = now() + interval '1 day' WHERE kind = 'reconcile'";
    world.client.execute(ahead, &[]).await.unwrap();
    let world = world.and("USERTAP_RECONCILE_EVERY", "1s");
    let server = world.serve().await;
    world.lose(1);
    world.eventually_deleted(2).await;
    let walks = "SELECT count(*) FROM usertap.backfill WHERE kind = 'reconcile' AND state = 'done'";
    eventually("another follows", || async {
        (world.count(walks).await >= 3).then_some(())
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn an_outage_of_the_database_is_waited_out() {
    let world = World::with_users(4 * PAGE).await;
    world.backfill().await;
    let (relay, url) = through_a_relay(&world).await;
    relay.open();
    let gate = world.hold_page_at(2 * PAGE);
    let through = [setting("DATABASE_URL", &url)];
    let process = world.start_with(&["reconcile", "--json"], &through);
    gate.reached().await;
    eventually("the page before is committed", || async {
        let sql = "SELECT max(fetched) FROM usertap.backfill WHERE kind = 'reconcile'";
        (world.count(sql).await == 400).then_some(())
    })
    .await;
    relay.close();
    gate.release();
    process.line("the walk waits for it").await;
    relay.open();
    let account = process.ended().await.with_code(0).json();
    assert_eq!(
        (&account["fetched"], &account["unchanged"], &account["balanced"]),
        (&json!(800), &json!(800), &json!(true)),
        "{account}"
    );
}

/// As a dump holds it.
#[tokio::test]
async fn whoever_reads_its_tables_does_not_hold_it_up() {
    let world = World::with_users(5).await;
    world.backfill().await;
    world.lose(1);
    let mut dump = postgres::client(&world.url).await;
    let dump = dump.transaction().await.unwrap();
    dump.batch_execute("LOCK TABLE usertap.met, usertap.backfill IN ACCESS SHARE MODE")
        .await
        .unwrap();
    assert_eq!(world.reconcile().await["drift"]["deleted"], 1);
    dump.rollback().await.unwrap();
    let again = world.reconcile().await;
    assert_eq!(
        (&again["fetched"], &again["spared"]),
        (&json!(4), &json!(0)),
        "{again}"
    );
}

#[tokio::test]
async fn a_yes_to_one_under_way_lets_it_believe_an_empty_list() {
    let world = World::with_users(5).await.and("USERTAP_TIMEOUT", "60s");
    world.backfill().await;
    let server = world.serve().await;
    let gate = Gate::new();
    let list = Fault::on("limit=200", Action::HoldBefore(gate.clone())).method(Method::GET);
    world.control().fault(list);
    let url = format!("http://{}/v1/reconcile", server.admin);
    assert_eq!(http::post(&url, &[], &json!({})).await.status.as_u16(), 202);
    gate.reached().await;
    world.lose(5);
    let process = world.start(&["reconcile", "--yes", "--json"]);
    eventually("a yes is said", || async {
        (world
            .count("SELECT count(*) FROM usertap.backfill WHERE lifted")
            .await
            == 1)
            .then_some(())
    })
    .await;
    gate.release();
    let account = process.ended().await.with_code(0).json();
    assert_eq!(account["drift"]["deleted"], 5, "{account}");
    server.stop().await;
}

#[tokio::test]
async fn a_yes_to_one_under_way_lets_it_delete_all_and_none_of_them_counts() {
    let world = World::with_users(60).await.and("USERTAP_TIMEOUT", "60s");
    world.backfill().await;
    let lost = world.lose(15);
    let server = world.serve().await;
    let first = lost.iter().min().expect("somebody");
    let gate = Gate::new();
    let read = Fault::on(&format!("/users/{first}"), Action::HoldBefore(gate.clone()));
    world.control().fault(read);
    let url = format!("http://{}/v1/reconcile", server.admin);
    assert_eq!(http::post(&url, &[], &json!({})).await.status.as_u16(), 202);
    gate.reached().await;
    let process = world.start(&["reconcile", "--yes", "--json"]);
    let lifted = "SELECT count(*) FROM usertap.backfill WHERE lifted";
    eventually("a yes is said", || async {
        (world.count(lifted).await == 1).then_some(())
    })
    .await;
    gate.release();
    let account = process.ended().await.with_code(0).json();
    went(&account, 15, 0);
    world.lose(3);
    world.sql("DELETE FROM usertap.unasked_deletions").await;
    let gate = Gate::new();
    let list = Fault::on("limit=200", Action::HoldBefore(gate.clone())).method(Method::GET);
    world.control().fault(list);
    let process = world.start(&["reconcile", "--yes", "--json"]);
    gate.reached().await;
    eventually("another yes is said", || async {
        (world.count(lifted).await == 2).then_some(())
    })
    .await;
    gate.release();
    process.ended().await.with_code(0);
    let unasked = "SELECT count(*) FROM usertap.unasked_deletions";
    assert_eq!((world.deleted().await, world.count(unasked).await), (18, 0));
    server.stop().await;
}

#[tokio::test]
async fn a_change_of_whoever_the_list_leaves_out_is_drift_too() {
    let world = World::with_users(3).await;
    world.backfill().await;
    let ids = world.control().ids(0);
    let changed = json!({ "display_name": "Changed" });
    assert!(world.control().edit(0, ids[1], changed));
    let empty = r#"{"items":[],"is_paginated":true,"pagination":{"limit":200,"next_cursor":null}}"#;
    let lie = Fault::on("limit=200", Action::Body(empty.into())).method(Method::GET);
    world.control().fault(lie);
    let account = world.reconciles(&["--yes"]).await.with_code(0).json();
    assert_eq!(
        (
            &account["drift"]["changed"],
            &account["spared"],
            &account["balanced"]
        ),
        (&json!(1), &json!(3), &json!(true)),
        "{account}"
    );
    assert_eq!(world.name(ids[1]).await.as_deref(), Some("Changed"));
}

/// Who is in the midst of a statement when Postgres is stopped hears an error, and its connection breaks after it.
#[tokio::test]
async fn a_session_that_is_ended_fails_no_walk() {
    let world = World::with_users(4 * PAGE).await;
    let gate = world.hold_page_at(2 * PAGE);
    let process = world.start(&["reconcile", "--json"]);
    gate.reached().await;
    world.fetched(400).await;
    world.locks_away("usertap.met").await;
    gate.release();
    world.ends_who_waits_for("usertap.met").await;
    world.client.batch_execute("ROLLBACK").await.unwrap();
    let account = process.ended().await.with_code(0).json();
    assert_eq!(
        (&account["fetched"], &account["resumed"]),
        (&json!(800), &json!(0))
    );
}
