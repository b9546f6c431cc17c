//! Rows that the table does not take, or does not give up, without an error: nothing is told of them that
//! is not so.

use super::*;

/// Everything that the trigger fires for is left out.
const NOTHING: &str =
    "CREATE FUNCTION public.nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;";

#[tokio::test(flavor = "multi_thread")]
async fn a_user_whom_the_table_does_not_take_is_told_of_once_there_is_a_row() {
    let world = World::of_plain_owner(0).await;
    let server = world.serve().await;
    let trigger = "CREATE TRIGGER nothing BEFORE INSERT OR UPDATE ON neon_identity.users_sync
                   FOR EACH ROW EXECUTE FUNCTION public.nothing()";
    world.sql(&format!("{NOTHING} {trigger}")).await;
    let created = server.create(&world, "Ada").await;
    assert_eq!(
        (created.status.as_u16(), created.recorded()),
        (201, "none; set-aside")
    );
    let ada = id_of(&created);
    assert!(!world.row(ada).await);
    let ensured = http::get(&format!("http://{}/v1/users/{ada}?ensure=1", server.admin), &[]).await;
    assert_eq!(ensured.status, 503, "{}", ensured.text());
    let path = format!("http://{}/_usertap/users/{ada}?ensure=1", server.listen);
    let headers = world.server_headers();
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let ensured = http::get(&path, &headers).await;
    assert_eq!(
        (ensured.status.as_u16(), ensured.header("x-usertap-error")),
        (503, Some("set-aside"))
    );
    let words = [
        "set-aside",
        "suppressed the row",
        "no row stands in",
        &ada.to_string(),
    ];
    server.names(&words).await;
    assert!(server.told_of(ada).await.is_empty());
    world
        .sql("DROP TRIGGER nothing ON neon_identity.users_sync")
        .await;
    world.eventually_named(ada, "Ada").await;
    server.has_no_problem().await;
    assert_eq!(server.told_of(ada).await, ["user.created"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_the_table_does_not_take_is_none() {
    let world = World::of_plain_owner(0).await;
    let server = world.serve().await;
    let ada = server.known(&world, "Ada").await;
    let trigger = "CREATE TRIGGER nothing BEFORE UPDATE ON neon_identity.users_sync FOR EACH ROW
                   WHEN (NEW.deleted_at IS NOT NULL) EXECUTE FUNCTION public.nothing()";
    world.sql(&format!("{NOTHING} {trigger}")).await;
    let gone = server.deletes(&world, ada).await;
    assert_eq!((gone.status.as_u16(), gone.recorded()), (200, "none; set-aside"));
    assert!(!world.is_deleted(ada).await);
    server.names(&["set-aside", &ada.to_string()]).await;
    assert_eq!(server.told_of(ada).await, ["user.created"]);
    world
        .sql("DROP TRIGGER nothing ON neon_identity.users_sync")
        .await;
    world.eventually_gone(ada).await;
    server.has_no_problem().await;
    assert_eq!(server.told_of(ada).await, ["user.created", "user.deleted"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_table_does_not_give_up_is_not_purged() {
    let trigger = format!(
        "{NOTHING} CREATE TRIGGER nothing BEFORE DELETE ON neon_identity.users_sync
         FOR EACH ROW EXECUTE FUNCTION public.nothing()"
    );
    let policies = "ALTER TABLE neon_identity.users_sync ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         CREATE POLICY reads ON neon_identity.users_sync FOR SELECT USING (true);
         CREATE POLICY adds ON neon_identity.users_sync FOR INSERT WITH CHECK (true);
         CREATE POLICY changes ON neon_identity.users_sync FOR UPDATE USING (true)";
    let cases = [
        (&*trigger, "DROP TRIGGER nothing ON neon_identity.users_sync"),
        (
            policies,
            "CREATE POLICY removes ON neon_identity.users_sync FOR DELETE USING (true)",
        ),
    ];
    two_at_once(cases.into_iter().map(of_a_removal)).await;
}

async fn of_a_removal((breaks, mends): (&str, &str)) {
    let world = World::of_plain_owner(0).await.and("USERTAP_DELETED", "purge");
    let server = world.serve().await;
    let ada = server.known(&world, "Ada").await;
    world.sql(breaks).await;
    let gone = server.deletes(&world, ada).await;
    assert_eq!(
        (gone.status.as_u16(), recorded(&gone).as_str()),
        (200, "committed")
    );
    let words = [
        "set-aside",
        "could not be removed",
        "suppressed",
        &ada.to_string(),
    ];
    server.names(&words).await;
    assert!(world.is_deleted(ada).await);
    assert_eq!(server.told_of(ada).await, ["user.created", "user.deleted"]);
    world.sql(mends).await;
    world
        .once_tried("the row is gone", async || !world.row(ada).await)
        .await;
    server.has_no_problem().await;
    assert_eq!(
        server.told_of(ada).await,
        ["user.created", "user.deleted", "user.purged"]
    );
    server.stop().await;
}

/// What stands there then is not what was given, and it was taken all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_a_trigger_changes_is_taken_though_it_takes_long() {
    let world = World::of_plain_owner(0).await;
    let server = world.serve().await;
    let ada = server.known(&world, "Ada").await;
    // Longer than one waits in passing: it is tried once more, alone.
    let loud = "CREATE FUNCTION public.loud() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN PERFORM pg_sleep(1.5); NEW.name := upper(NEW.name); RETURN NEW; END $$;
                CREATE TRIGGER loud BEFORE UPDATE ON neon_identity.users_sync
                FOR EACH ROW EXECUTE FUNCTION public.loud()";
    world.sql(loud).await;
    assert_eq!(recorded(&server.renames(&world, ada, "Grace").await), "committed");
    assert_eq!(world.name(ada).await.as_deref(), Some("GRACE"));
    assert_eq!(world.count("SELECT count(*) FROM usertap.set_aside").await, 0);
    server.has_no_problem().await;
    server.stop().await;
}

/// As `suppress_redundant_updates_trigger` does.
#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_leaves_out_what_changes_nothing_refuses_nothing() {
    let world = World::of_plain_owner(0).await;
    let server = world.serve().await;
    let ada = server.known(&world, "Ada").await;
    let trigger = "CREATE TRIGGER nothing BEFORE UPDATE ON neon_identity.users_sync FOR EACH ROW
                   WHEN (NEW.name = OLD.name AND NEW.raw_json = OLD.raw_json
                         AND NEW.deleted_at IS NOT DISTINCT FROM OLD.deleted_at) EXECUTE FUNCTION public.nothing()";
    let rename =
        |name: &str| format!("UPDATE neon_identity.users_sync SET name = '{name}' WHERE id = '{ada}'");
    let hands = [rename("Eve"), rename("Ada")].join("; ");
    world
        .sql(&format!("{NOTHING} {trigger}; BEGIN; {hands}; COMMIT"))
        .await;
    let judged = format!(
        "SELECT count(*) FROM usertap.user_state WHERE id = '{ada}' AND position > 1 AND doubt IS NULL"
    );
    eventually("what was changed by hand is read again", || async {
        (world.count(&judged).await == 1).then_some(())
    })
    .await;
    let asides = world.count("SELECT count(*) FROM usertap.set_aside").await;
    assert_eq!(asides, 0);
    assert_eq!(recorded(&server.renames(&world, ada, "Grace").await), "committed");
    server.has_no_problem().await;
    server.stop().await;
}
