//! Deletions that the table refuses, or takes late.

use usertap::sandbox::Gate;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_is_refused_is_named_with_what_refuses_it() {
    let world = World::of_plain_owner(0).await;
    let server = world.serve().await;
    let ada = server.known(&world, "Ada").await;
    let check = "ALTER TABLE neon_identity.users_sync ADD CONSTRAINT nobody_goes CHECK (deleted_at IS NULL) NOT VALID";
    world.sql(check).await;
    let gone = server.deletes(&world, ada).await;
    assert_eq!((gone.status.as_u16(), gone.recorded()), (200, "none; set-aside"));
    let words = [
        "set-aside",
        "a CHECK constraint",
        "nobody_goes",
        "23514",
        &ada.to_string(),
    ];
    server.names(&words).await;
    assert_eq!(server.told_of(ada).await, ["user.created"]);
    world
        .sql("ALTER TABLE neon_identity.users_sync DROP CONSTRAINT nobody_goes")
        .await;
    world.eventually_gone(ada).await;
    server.has_no_problem().await;
    server.stop().await;
}

/// As what is written of anybody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_waits_for_whoever_has_the_row_locked() {
    let world = World::of_plain_owner(0).await;
    let server = world.serve().await;
    let ada = server.known(&world, "Ada").await;
    let mut holder = postgres::client(&world.url).await;
    let held = holder.transaction().await.expect("a transaction");
    let lock = format!("SELECT FROM neon_identity.users_sync WHERE id = '{ada}' FOR UPDATE");
    held.batch_execute(&lock).await.expect("a lock");
    let (gone, ()) = tokio::join!(server.deletes(&world, ada), async {
        let first = eventually("the first attempt waits", || world.waits_for_a_lock()).await;
        eventually("it has ended", || async {
            (world.waits_for_a_lock().await != Some(first)).then_some(())
        })
        .await;
        held.rollback().await.expect("an end");
    });
    assert_eq!(
        (gone.status.as_u16(), recorded(&gone).as_str()),
        (200, "committed")
    );
    assert!(world.is_deleted(ada).await);
    server.has_no_problem().await;
    server.stop().await;
}

/// A cascade without an index reads a whole table for each.
#[tokio::test(flavor = "multi_thread")]
async fn a_removal_may_take_long_and_is_named_when_it_takes_too_long() {
    let soon = "purge-every=200ms,removal=3000ms";
    let world = World::of_plain_owner(0).await.and("USERTAP_DELETED", "purge");
    let world = world.and("FAILPOINTS", soon);
    let server = world.serve().await;
    let [slow, slower] = [
        server.known(&world, "Slow").await,
        server.known(&world, "Slower").await,
    ];
    world
        .sql(&format!(
            "CREATE FUNCTION public.cascades() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN PERFORM pg_sleep(CASE old.id WHEN '{slow}' THEN 1 ELSE 60 END); RETURN old; END $$;
             CREATE TRIGGER cascades BEFORE DELETE ON neon_identity.users_sync FOR EACH ROW EXECUTE FUNCTION cascades()"
        ))
        .await;
    for id in [slow, slower] {
        assert_eq!(recorded(&server.deletes(&world, id).await), "committed");
    }
    let is_gone = async |id| {
        let gone = async || !world.row(id).await;
        world.once_tried("the row is gone", gone).await;
    };
    is_gone(slow).await;
    server
        .names(&["set-aside", &slower.to_string(), "took longer than 3 s", "index"])
        .await;
    assert_eq!(recorded(&server.create(&world, "Ada").await), "committed");
    assert!(world.row(slower).await);
    world
        .sql("DROP TRIGGER cascades ON neon_identity.users_sync")
        .await;
    is_gone(slower).await;
    server.has_no_problem().await;
    server.stop().await;
}

/// Of several machines' clocks one counts: rows that are to go after a while go by the database's.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_bears_the_databases_time() {
    let world = World::of_plain_owner(0).await;
    let server = world.serve().await;
    let [ada, bea] = [
        server.known(&world, "Ada").await,
        server.known(&world, "Bea").await,
    ];
    let owner = world.owner().await;
    world
        .sql(&format!(
            "CREATE TABLE public.seen (id uuid, at timestamptz); GRANT ALL ON public.seen TO {owner};
             CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN INSERT INTO public.seen VALUES (new.id, now()); RETURN new; END $$;
             CREATE TRIGGER see AFTER UPDATE ON neon_identity.users_sync FOR EACH ROW EXECUTE FUNCTION see()"
        ))
        .await;
    assert_eq!(recorded(&server.deletes(&world, ada).await), "committed");
    // One by one, as where a row of the batch is refused.
    world
        .sql("ALTER TABLE neon_identity.users_sync ADD CONSTRAINT nobody_goes CHECK (deleted_at IS NULL) NOT VALID")
        .await;
    assert_eq!(recorded(&server.deletes(&world, bea).await), "none");
    world
        .sql("ALTER TABLE neon_identity.users_sync DROP CONSTRAINT nobody_goes")
        .await;
    world.eventually_gone(bea).await;
    let same = "SELECT count(*) FROM public.seen JOIN neon_identity.users_sync u USING (id)
                WHERE seen.at = u.deleted_at AND seen.at = u.updated_at";
    assert_eq!(world.count(same).await, 2);
    server.stop().await;
}

/// Somebody has written `deleted_at` with SQL: whether the user is gone only the provider can say, and until it does no
/// row goes, and nothing of the users' own with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_by_hand_removes_no_row_before_the_provider_has_said_so() {
    let world = World::of_plain_owner(0).await.and("USERTAP_DELETED", "purge");
    let server = world.serve().await;
    let [ada, bea] = [
        server.known(&world, "Ada").await,
        server.known(&world, "Bea").await,
    ];
    world.control().delete(0, bea);
    let silent = Gate::new();
    world.control().fault(Fault::on(
        &format!("/users/{ada}"),
        Action::HoldBefore(silent.clone()),
    ));
    for id in [ada, bea] {
        let deleted = format!("UPDATE neon_identity.users_sync SET deleted_at = now() WHERE id = '{id}'");
        world.sql(&deleted).await;
    }
    silent.reached().await;
    // Whoever has been deleted for longer goes first.
    eventually("the one who is gone at the provider is removed", || async {
        (!world.row(bea).await).then_some(())
    })
    .await;
    assert!(world.row(ada).await, "the provider has not said that she is gone");
    silent.release();
    eventually("the provider says that she is not", || async {
        (!world.is_deleted(ada).await).then_some(())
    })
    .await;
    assert_eq!(
        server.told_of(ada).await,
        ["user.created", "user.deleted", "user.restored"]
    );
    server.has_no_problem().await;
    server.stop().await;
}
