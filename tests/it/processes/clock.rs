//! The database's clock was days ahead for a while, and has been set right since: nothing waits for the days to pass.

use ::http::Method;
use serde_json::json;

use super::World;
use crate::support::eventually;

/// Nothing in a test waits for its time.
const SOON: &str = "purge-every=200ms,owed-every=200ms";

#[tokio::test]
async fn who_was_set_aside_by_a_clock_that_was_ahead_is_tried_again() {
    let world = World::with_users(0).await.and("FAILPOINTS", SOON);
    let server = world.serve().await;
    let refuses = "ALTER TABLE neon_identity.users_sync ADD CONSTRAINT no_robert CHECK (name <> 'Robert')";
    world.sql(refuses).await;
    let id = super::id_of(&server.create(&world, "Robert").await);
    server.names(&["set-aside", "no_robert"]).await;
    world
        .sql(
            "UPDATE usertap.set_aside SET next_try = now() + interval '30 days';
             ALTER TABLE neon_identity.users_sync DROP CONSTRAINT no_robert",
        )
        .await;
    eventually("the row is whole", || async {
        (world.name(id).await.as_deref() == Some("Robert")).then_some(())
    })
    .await;
    server.has_no_problem().await;
    server.stop().await;
}

/// What refers to them may go first: the row is removed once nothing does.
#[tokio::test]
async fn rows_deleted_by_a_clock_that_was_ahead_go_at_once() {
    let world = World::with_users(0).await.and("FAILPOINTS", SOON);
    let world = world.and("USERTAP_DELETED", "purge");
    let server = world.serve().await;
    let id = server.known(&world, "Ada").await;
    let refers = format!(
        "CREATE TABLE posts (author uuid REFERENCES neon_identity.users_sync(id)); INSERT INTO posts VALUES ('{id}')"
    );
    world.sql(&refers).await;
    let path = format!("/users/{id}");
    server.ask(&world, Method::DELETE, &path, &json!({})).await;
    server.names(&["set-aside", "posts"]).await;
    // As usertap wrote it by that clock: nobody's change by hand.
    world
        .sql(
            "BEGIN;
             ALTER TABLE neon_identity.users_sync DISABLE TRIGGER USER;
             UPDATE neon_identity.users_sync SET deleted_at = deleted_at + interval '3 days';
             DO $$ DECLARE made text; BEGIN
                 FOR made IN SELECT tgname FROM pg_trigger
                     WHERE tgrelid = 'neon_identity.users_sync'::regclass AND NOT tgisinternal
                 LOOP EXECUTE format('ALTER TABLE neon_identity.users_sync ENABLE ALWAYS TRIGGER %I', made); END LOOP;
             END $$;
             DELETE FROM posts;
             UPDATE usertap.set_aside SET next_try = now();
             COMMIT",
        )
        .await;
    eventually("the row is gone", || async {
        (world.rows().await == 0).then_some(())
    })
    .await;
    server.has_no_problem().await;
    server.stop().await;
}

#[tokio::test]
async fn deletions_of_a_clock_that_was_ahead_count_for_an_hour_and_no_longer() {
    let world = World::with_users(20).await.and("FAILPOINTS", SOON);
    world.backfill().await;
    world
        .sql(
            "INSERT INTO usertap.unasked_deletions (at)
             SELECT now() + interval '30 days' FROM generate_series(1, 9)",
        )
        .await;
    let server = world.serve().await;
    let counted = "SELECT count(*) FROM usertap.unasked_deletions WHERE at <= now()";
    eventually("they count as of now", || async {
        (world.count(counted).await == 9).then_some(())
    })
    .await;
    let all = "SELECT count(*) FROM usertap.unasked_deletions";
    assert_eq!(world.count(all).await, 9, "each once");
    server.stop().await;
}

/// Which walk was the last, and whether one began after what it is to make good, is told by that clock.
#[tokio::test]
async fn walks_of_a_clock_that_was_ahead_hide_no_later_one() {
    let world = World::with_users(5).await.and("FAILPOINTS", SOON);
    world.backfill().await;
    world
        .sql(
            "INSERT INTO usertap.backfill (run, state, kind, error, started_at, moved_at, ended_at)
             VALUES (gen_random_uuid(), 'done', 'reconcile', NULL, now() + interval '9 days', now() + interval '9 days',
                     now() + interval '9 days 1 hour'),
                    (gen_random_uuid(), 'failed', 'reconcile', 'no answer', now() + interval '10 days',
                     now() + interval '10 days 1 hour', now() + interval '10 days 2 hours');
             INSERT INTO usertap.epochs (epoch, follows, certain, skipped, unknown_at)
             VALUES (0, gen_random_uuid(), 0, 0, now() + interval '10 days');
             UPDATE usertap.poll SET missed_from = now(), missed_noticed_at = now() + interval '10 days'",
        )
        .await;
    let server = world.serve().await;
    server.names(&["walk-failed"]).await;
    let to_come =
        "SELECT count(*) FROM usertap.backfill WHERE greatest(started_at, moved_at, ended_at) > now()";
    eventually("none is of a time to come", || async {
        (world.count(to_come).await == 0).then_some(())
    })
    .await;
    // They keep their order and how long they took: the last one has just ended.
    let hours = "SELECT (extract(epoch FROM now() - started_at) / 3600)::bigint FROM usertap.backfill
                 WHERE kind = 'reconcile' AND state = ";
    assert_eq!(world.count(&format!("{hours} 'failed'")).await, 2);
    assert_eq!(world.count(&format!("{hours} 'done'")).await, 26);
    server.names(&["walk-failed"]).await;
    server.names(&["commits-lost"]).await;
    let reconciled = world.start(&["reconcile", "--json"]).ended().await.with_code(0);
    assert_eq!(reconciled.json()["balanced"], json!(true));
    server.has_no_problem().await;
    server.stop().await;
}
