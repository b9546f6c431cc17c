//! Starts that must not succeed, and starts with unusual settings.

use std::sync::Arc;

use nix::sys::signal::Signal;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use usertap::db::embedded::Embedded;
use usertap::sandbox::{Action, Canned, Fault, Options, Plays};

use super::{Reachable, Server, World, id_of, recorded};
use crate::support::process::{Process, setting};
use crate::support::standby::{durable, give};
use crate::support::{eventually, http, postgres};

#[tokio::test]
async fn a_port_in_use_is_named_with_the_remedy() {
    let world = World::with_users(0).await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    for name in ["LISTEN", "ADMIN_LISTEN"] {
        let also = [setting(&format!("USERTAP_{name}"), address)];
        let ended = world.start_with(&["serve"], &also).ended().await;
        ended.failed_saying(&[&format!("{name}={address} cannot be listened on"), "set another"]);
    }
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname IN ('usertap', 'neon_identity')";
    assert_eq!(world.count(schemas).await, 0, "nothing half-done");
}

#[tokio::test]
async fn a_first_start_needs_the_database() {
    let world = World::with_users(0).await;
    let away = [setting("DATABASE_URL", "postgres://app:hush@127.0.0.1:9/app")];
    for command in ["serve", "backfill", "migrate"] {
        let ended = world.start_with(&[command], &away).ended().await;
        let output = ended.failed_saying(&["the database cannot be reached", "Check DATABASE_URL"]);
        assert!(!output.log().contains("hush"), "{}", output.log());
    }
    let left = std::fs::read_dir(world.folder.path()).unwrap().count();
    assert_eq!(left, 0, "nothing half-done");
}

#[tokio::test]
async fn with_a_wrong_key_no_database_is_bound() {
    let world = World::with_users(2).await;
    let wrong = [setting("STACK_SECRET_SERVER_KEY", "ssk_wrong_one")];
    for command in ["serve", "backfill"] {
        let ended = world.start_with(&[command], &wrong).ended().await;
        let output = ended.failed_saying(&["the provider refuses", "correct the key"]);
        assert!(!output.log().contains("ssk_wrong_one"));
    }
    assert_eq!(world.backfill().await["inserted"], 2);
}

/// A mistyped project must not take the database because nobody was there to say so.
#[tokio::test]
async fn with_the_provider_away_no_database_is_bound() {
    let world = World::with_users(2).await;
    let wrong = [
        setting("STACK_PROJECT_ID", uuid::Uuid::new_v4()),
        setting("USERTAP_UPSTREAM", "http://127.0.0.1:9"),
        setting("USERTAP_TIMEOUT", "1s"),
    ];
    for command in ["serve", "backfill"] {
        let ended = world.start_with(&[command], &wrong).ended().await;
        ended.failed_saying(&["check UPSTREAM", "Nothing is bound"]);
    }
    let bound = "SELECT count(*) FROM usertap.meta WHERE provider IS NOT NULL";
    assert_eq!(world.count(bound).await, 0);
    assert_eq!(world.backfill().await["inserted"], 2);
}

#[tokio::test]
async fn a_wrong_password_or_database_is_named() {
    let world = World::with_users(0).await;
    let mut url: url::Url = world.url.expose_secret().parse().unwrap();
    url.set_path("/no_such_database");
    let gone = [setting("DATABASE_URL", &url)];
    world
        .start_with(&["serve"], &gone)
        .ended()
        .await
        .failed_saying(&["the database does not exist"]);
    url.set_password(Some("hush")).unwrap();
    let refused = [setting("DATABASE_URL", &url)];
    let output = world.start_with(&["serve"], &refused).ended().await;
    let output = output.failed_saying(&["user or password are refused"]);
    assert!(!output.log().contains("hush"));
    // A role belongs to the whole server.
    let role = format!("unlet_{}", uuid::Uuid::new_v4().simple());
    world.sql(&format!("CREATE ROLE {role} PASSWORD 'hush'")).await;
    url.set_username(&role).unwrap();
    let unlet = [setting("DATABASE_URL", &url)];
    let output = world.start_with(&["serve"], &unlet).ended().await;
    world.sql(&format!("DROP ROLE {role}")).await;
    let output = output.failed_saying(&["the role is not let in", "it has no LOGIN"]);
    assert!(!output.log().contains("hush"));
}

const TLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls");

/// One whose certificate is of an authority of its own.
async fn encrypting(folder: &Reachable) -> Embedded {
    let database = durable(&folder.0).await;
    let superuser = postgres::client(&database.url("postgres")).await;
    for name in ["cert.pem", "key.pem"] {
        let copy = database.folder().join("data").join(name);
        std::fs::copy(format!("{TLS}/{name}"), &copy).unwrap();
        give(&copy, 0o600);
        let kind = name.trim_end_matches(".pem");
        let named = format!("ALTER SYSTEM SET ssl_{kind}_file = '{name}'");
        superuser.batch_execute(&named).await.unwrap();
    }
    superuser
        .batch_execute("ALTER SYSTEM SET ssl = on")
        .await
        .unwrap();
    superuser.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    postgres::shows(&database.url("postgres"), "ssl", "on").await;
    database
}

/// Many hosts of databases have an authority of their own.
#[tokio::test]
async fn a_database_whose_certificate_is_not_trusted_is_named_with_the_remedy() {
    let (world, folder) = (World::with_users(0).await, Reachable::new());
    let database = encrypting(&folder).await;
    let mut url: url::Url = database.url("postgres").expose_secret().parse().unwrap();
    url.set_query(Some("sslmode=require"));
    let encrypted = setting("DATABASE_URL", &url);
    let known = setting("USERTAP_DATABASE_CA", format!("{TLS}/ca.pem"));
    let unknown = world
        .start_with(&["serve"], std::slice::from_ref(&encrypted))
        .ended()
        .await;
    unknown.failed_saying(&["an authority that is not known here", "set DATABASE_CA"]);
    Server::of(world.start_with(&["serve"], &[encrypted, known.clone()]))
        .await
        .stop()
        .await;
    url.set_host(Some("ip6-localhost")).unwrap();
    url.set_query(Some("sslmode=require&hostaddr=127.0.0.1"));
    let elsewhere = [setting("DATABASE_URL", &url), known];
    let elsewhere = world
        .start_with(&["doctor"], &elsewhere)
        .ended()
        .await
        .with_code(1);
    let said = elsewhere.stdout.join("\n");
    assert!(
        said.contains("for another host than DATABASE_URL names"),
        "{said}"
    );
}

/// As a pooler beside the app, and a database beyond it.
#[tokio::test]
async fn the_direct_way_has_an_authority_of_its_own_beside_a_plain_one() {
    let (world, folder) = (World::with_users(0).await, Reachable::new());
    let database = encrypting(&folder).await;
    let plain: url::Url = database.url("postgres").expose_secret().parse().unwrap();
    let ways = |authority: &str| {
        let mut direct = plain.clone();
        direct.set_query(Some(&format!("sslmode=verify-full{authority}")));
        vec![
            setting("DATABASE_URL", &plain),
            setting("DATABASE_DIRECT_URL", &direct),
        ]
    };
    let by_url = ways(&format!("&sslrootcert={TLS}/ca.pem"));
    let known = setting("USERTAP_DATABASE_CA", format!("{TLS}/ca.pem"));
    let by_setting = [ways(""), vec![known]].concat();
    for settings in [by_url, by_setting] {
        let migrated = world.start_with(&["migrate"], &settings).ended().await;
        migrated.with_code(0);
        let server = Server::of(world.start_with(&["serve"], &settings)).await;
        assert_eq!(recorded(&server.create(&world, "Ada").await), "committed");
        server.stop().await;
    }
    let nowhere = ways("&sslrootcert=/nowhere/ca.pem");
    let wrong = world.start_with(&["migrate"], &nowhere).ended().await;
    let said = wrong.with_code(2).log();
    assert!(said.contains("DATABASE_DIRECT_URL"), "{said}");
    assert!(said.contains("`sslrootcert` that cannot be read"), "{said}");
}

/// Without the name of its protocol Postgres ends a connection that begins with TLS.
#[tokio::test]
async fn what_begins_with_tls_names_its_protocol() {
    let world = World::with_users(0).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let url = format!("postgres://u@{at}/d?sslmode=require&sslnegotiation=direct&sslrootcert={TLS}/ca.pem");
    let process = world.start_with(&["migrate"], &[setting("DATABASE_URL", url)]);
    let (stream, _) = listener.accept().await.unwrap();
    let stream = server_tls(&[b"postgresql"]).accept(stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"postgresql"[..]));
    drop((stream, listener));
    process.ended().await.with_code(1);
}

fn server_tls(protocols: &[&[u8]]) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(format!("{TLS}/cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(format!("{TLS}/key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth();
    let mut config = config
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn another_tenant_is_refused_by_name() {
    let world = World::new(Options {
        users: 2,
        projects: 2,
        ..Options::default()
    })
    .await;
    world.backfill().await;
    let of = |project: usize, name: &str| {
        let settings = world.sandbox.settings(project);
        settings
            .into_iter()
            .find(|(key, _)| key.ends_with(name))
            .unwrap()
            .1
    };
    let (ours, theirs) = (of(0, "STACK_PROJECT_ID"), of(1, "STACK_PROJECT_ID"));
    let other = [
        setting("STACK_PROJECT_ID", &theirs),
        setting("STACK_SECRET_SERVER_KEY", of(1, "STACK_SECRET_SERVER_KEY")),
    ];
    for command in ["serve", "backfill", "migrate"] {
        let ended = world.start_with(&[command], &other).ended().await;
        let output = ended.failed_saying(&[&ours, &theirs, "another database"]);
        assert!(!output.log().contains("NULL"), "{}", output.log());
    }
    assert_eq!(world.rows().await, 2);
}

/// Keys are renewed. What is known by its very key is refused then, and says how the database goes on.
#[tokio::test]
async fn a_renewed_key_is_refused_with_the_statement_that_lets_it_in() {
    let world = World::new(Options {
        users: 2,
        plays: Plays::Clerk,
        ..Options::default()
    })
    .await;
    world.backfill().await;
    let by_an_older_key =
        r#"UPDATE usertap.meta SET tenant = '[["key", "0123456789abcdef0123456789abcdef"]]'"#;
    world.client.batch_execute(by_an_older_key).await.unwrap();
    let refused = world.start(&["serve"]).ended().await;
    let output = refused.failed_saying(&["0123456789abcdef0123456789abcdef", "new key", "carry out UPDATE"]);
    let log = output.log();
    let statement = log
        .split("carry out ")
        .nth(1)
        .and_then(|rest| rest.split(';').next());
    world.client.batch_execute(statement.unwrap()).await.unwrap();
    assert_eq!(world.backfill().await["unchanged"], 2);
}

#[tokio::test]
async fn the_direct_way_leads_to_the_same_database() {
    let world = World::with_users(1).await;
    let elsewhere = postgres::empty().await;
    let direct = [setting("DATABASE_DIRECT_URL", elsewhere.expose_secret())];
    for command in ["migrate", "serve"] {
        let ended = world.start_with(&[command], &direct).ended().await;
        ended.failed_saying(&["DATABASE_DIRECT_URL leads to another database"]);
    }
    let client = postgres::client(&elsewhere).await;
    let made = "SELECT count(*) FROM pg_namespace WHERE nspname = 'usertap'";
    let made: i64 = client.query_one(made, &[]).await.unwrap().get(0);
    assert_eq!(made, 0, "nothing is left there");
}

#[tokio::test]
async fn migrate_off_needs_a_migrated_database() {
    let world = World::with_users(1).await.and("USERTAP_MIGRATE", "off");
    let ended = world.start(&["serve"]).ended().await;
    ended.failed_saying(&["not migrated", "usertap migrate"]);
    let doctor = world.start(&["doctor"]).ended().await.with_code(1);
    let found = doctor.stdout.iter().find(|line| line.contains("not migrated"));
    let found = found.expect("the doctor names it");
    assert!(
        found.starts_with("FAIL database") && found.contains("-> run `usertap migrate`"),
        "{found}"
    );
    assert_eq!(
        world
            .count("SELECT count(*) FROM pg_namespace WHERE nspname = 'usertap'")
            .await,
        0
    );
    let output = world.start(&["migrate"]).ended().await.with_code(0);
    assert_eq!(
        output.stdout,
        ["migrated: neon_identity.users_sync with uuid ids"]
    );
    world.backfill().await;
    assert_eq!(world.rows().await, 1);
}

async fn serves_with(world: &World, table: &str, id_type: &str) {
    let server = world.serve().await;
    let reply = server.create(world, "Ada").await;
    assert_eq!(recorded(&reply), "committed");
    let id = id_of(&reply);
    let row = format!("SELECT count(*) FROM {table} WHERE id::text = '{id}' AND name = 'Ada'");
    assert_eq!(world.count(&row).await, 1);
    let typed = format!(
        "SELECT count(*) FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attname = 'id'
         AND atttypid = '{id_type}'::regtype"
    );
    assert_eq!(world.count(&typed).await, 1);
    server.stop().await;
    assert_eq!(world.backfill().await["fetched"], 3);
}

#[tokio::test]
async fn schemas_may_have_any_name() {
    let world = World::with_users(2).await;
    let world = world
        .and("USERTAP_SCHEMA", "My \"Auth")
        .and("USERTAP_STATE_SCHEMA", "ut 2");
    serves_with(&world, "\"My \"\"Auth\".users_sync", "uuid").await;
    assert!(world.count("SELECT position FROM \"ut 2\".meta").await >= 3);
    let usual = "SELECT count(*) FROM pg_namespace WHERE nspname IN ('usertap', 'neon_identity')";
    assert_eq!(world.count(usual).await, 0);
}

#[tokio::test]
async fn ids_may_be_text() {
    let world = World::with_users(2).await.and("USERTAP_ID_TYPE", "text");
    serves_with(&world, "neon_identity.users_sync", "text").await;
    let other = [setting("USERTAP_ID_TYPE", "uuid")];
    let ended = world.start_with(&["serve"], &other).ended().await;
    ended.failed_saying(&["set ID_TYPE=text"]);
}

#[tokio::test]
async fn the_older_tables_schema_has_text_ids() {
    let world = World::with_users(2).await.and("USERTAP_SCHEMA", "neon_auth");
    serves_with(&world, "neon_auth.users_sync", "text").await;
}

#[tokio::test]
async fn a_table_that_usertap_did_not_make_is_left_as_it_is() {
    let world = World::with_users(2).await.and("USERTAP_SCHEMA", "neon_auth");
    let theirs = "CREATE SCHEMA neon_auth; CREATE TABLE neon_auth.users_sync (id text, mine int);
                  INSERT INTO neon_auth.users_sync VALUES ('a', 1)";
    world.client.batch_execute(theirs).await.unwrap();
    for command in ["serve", "backfill", "migrate"] {
        let ended = world.start(&[command]).ended().await;
        ended.failed_saying(&["was not made by usertap", "set SCHEMA"]);
    }
    let row = "SELECT mine FROM neon_auth.users_sync WHERE id = 'a'";
    assert_eq!(
        i64::from(world.client.query_one(row, &[]).await.unwrap().get::<_, i32>(0)),
        1
    );
    let made = "SELECT count(*) FROM pg_namespace WHERE nspname = 'usertap'";
    assert_eq!(world.count(made).await, 0, "nothing half-done");
}

#[tokio::test]
async fn other_settings_for_tables_that_are_there_are_refused_and_make_nothing() {
    let world = World::with_users(2).await;
    world.backfill().await;
    let other = [setting("USERTAP_SCHEMA", "elsewhere")];
    let ended = world.start_with(&["serve"], &other).ended().await;
    ended.failed_saying(&["set SCHEMA=neon_identity"]);
    let made = "SELECT count(*) FROM pg_namespace WHERE nspname = 'elsewhere'";
    assert_eq!(world.count(made).await, 0);
    // Nobody is told to rename a table that is another usertap's.
    let other = [setting("USERTAP_STATE_SCHEMA", "elsewhere")];
    let ended = world.start_with(&["serve"], &other).ended().await;
    ended.failed_saying(&["set STATE_SCHEMA=usertap"]);
    assert_eq!(world.count(made).await, 0);
    let renames = "ALTER SCHEMA usertap RENAME TO mine";
    world.client.batch_execute(renames).await.unwrap();
    let ended = world.start(&["serve"]).ended().await;
    let said = ended.failed_saying(&["was given another name"]).log();
    let (_, way_back) = said.trim().split_once(" run ").expect("what is to be run");
    world.client.batch_execute(way_back).await.unwrap();
    assert_eq!(world.backfill().await["unchanged"], 2);
}

/// It was the provider at the first start. Whoever answers there now may be anybody, and no other request of
/// usertap's own may be due for long.
#[tokio::test]
async fn a_later_start_tells_that_not_the_provider_answers() {
    let world = World::with_users(1).await;
    world.serve().await.stop().await;
    let page = "<!DOCTYPE html><title>Welcome</title>";
    let somebody_else = |status: u16| {
        let page = Action::Reject(Canned::new(status, page).header("content-type", "text/html"));
        world.control().fault(Fault::on("/users/", page));
    };
    for (status, said) in [(200, "200 OK"), (404, "404 Not Found")] {
        somebody_else(status);
        let server = world.serve().await;
        server
            .names(&["not-the-provider", said, "UPSTREAM must be the provider's API"])
            .await;
        assert!(server.readyz().await.contains("degraded"));
        // It goes on serving; no read that is owed meets what is meant for the next start.
        server.known(&world, "Ada").await;
        server.stop().await;
    }
    // It is asked again, and well as soon as the provider answers.
    somebody_else(404);
    let again = [setting("FAILPOINTS", "asked-again=100ms")];
    let server = Server::of(world.start_with(&["serve"], &again)).await;
    server.process.line("not the provider's API").await;
    server.has_no_problem().await;
    assert!(server.readyz().await.contains("ready"));
    server.stop().await;
}

/// Nobody else asks while all is well: what the console's own question finds stands in the status too.
#[tokio::test]
async fn who_looks_at_the_console_finds_for_all_that_not_the_provider_answers() {
    let world = World::with_users(1).await;
    let server = world.serve().await;
    // One for the start's own question, should it be late.
    for _ in 0..2 {
        let page = Action::Reject(Canned::new(200, "<!DOCTYPE html>").header("content-type", "text/html"));
        world.control().fault(Fault::on("/users/", page));
    }
    let overview = http::get(&format!("http://{}/", server.admin), &[]).await;
    assert_eq!(overview.status, 200);
    server.names(&["not-the-provider", "200 OK"]).await;
    server.stop().await;
}

/// The next request of its own may be hours away.
#[tokio::test]
async fn a_key_that_apps_find_refused_is_asked_about_and_again_until_it_is_taken() {
    let world = World::with_users(1).await.and("FAILPOINTS", "asked-again=100ms");
    let server = world.serve().await;
    server.has_no_problem().await;
    for _ in 0..2 {
        let refusal = Action::Reject(Canned::new(
            401,
            r#"{"code":"INVALID_SECRET_SERVER_KEY","error":"no"}"#,
        ));
        world.control().fault(Fault::on("/users/", refusal));
    }
    let user = world.control().ids(0)[0];
    let refused = server.get(&world, &format!("/users/{user}")).await;
    assert_eq!(refused.status, 401);
    server.process.line("refuses usertap's own requests").await;
    server.process.line("takes usertap's own requests again").await;
    server.has_no_problem().await;
    server.stop().await;
}

/// Nobody should wait for what only the settings can mend.
#[tokio::test]
async fn a_provider_that_fails_for_the_settings_sake_has_the_remedy_for_that() {
    let world = World::with_users(0).await;
    world.serve().await.stop().await;
    let tls = [
        setting("USERTAP_UPSTREAM", format!("https://{}", world.sandbox.addr())),
        setting("USERTAP_TIMEOUT", "3s"),
    ];
    let server = Server::of(world.start_with(&["serve"], &tls)).await;
    for _ in 0..5 {
        assert!(server.get(&world, "/users/me").await.status.is_server_error());
    }
    server
        .names(&["provider-fails", "speaks no TLS", "write UPSTREAM with http://"])
        .await;
    server.stop().await;
}

/// The URL of a user who may not make schemas in the world's database.
async fn modest(world: &World) -> SecretString {
    let role = format!("modest_{}", uuid::Uuid::new_v4().simple());
    let make = format!("CREATE ROLE {role} LOGIN PASSWORD 'hush'");
    world.client.batch_execute(&make).await.unwrap();
    let mut url: url::Url = world.url.expose_secret().parse().unwrap();
    url.set_username(&role).unwrap();
    url.set_password(Some("hush")).unwrap();
    url.to_string().into()
}

#[tokio::test]
async fn without_the_right_to_make_schemas_they_can_be_made_for_it() {
    let world = World::with_users(2).await;
    let url = modest(&world).await;
    let as_modest = [setting("DATABASE_URL", url.expose_secret())];
    let ended = world.start_with(&["serve"], &as_modest).ended().await;
    ended.failed_saying(&["grant CREATE on the database", "make them and give them to it"]);
    let role = url
        .expose_secret()
        .parse::<url::Url>()
        .unwrap()
        .username()
        .to_owned();
    let make = format!(
        "CREATE SCHEMA neon_identity AUTHORIZATION {role}; CREATE SCHEMA usertap AUTHORIZATION {role}"
    );
    world.client.batch_execute(&make).await.unwrap();
    let server = Server::of(world.start_with(&["serve"], &as_modest)).await;
    assert_eq!(server.create(&world, "Ada").await.status, 201);
    server.stop().await;
    let client = postgres::client(&url).await;
    let count = client
        .query_one("SELECT count(*) FROM neon_identity.users_sync", &[])
        .await
        .unwrap();
    assert_eq!(count.get::<_, i64>(0), 1);
}

#[tokio::test]
async fn several_that_start_at_once_migrate_once() {
    let world = World::with_users(2).await;
    let starting: Vec<_> = (0..3).map(|_| world.start(&["migrate"])).collect();
    for process in starting {
        process.ended().await.with_code(0);
    }
    assert_eq!(world.backfill().await["inserted"], 2);
}

#[tokio::test]
async fn a_signal_ends_a_start_that_waits_for_the_database() {
    // A look gives up after some seconds: here it outlasts what a busy machine takes to send a signal.
    let world = World::with_users(0).await.and("FAILPOINTS", "look=60000ms");
    world.backfill().await;
    for (mode, signal) in [
        ("auto", Signal::SIGINT),
        ("auto", Signal::SIGHUP),
        ("off", Signal::SIGTERM),
    ] {
        world.locks_away("usertap.meta").await;
        let process = world.start_heeding(&[setting("USERTAP_MIGRATE", mode)]);
        world.somebody_waits_for("usertap.meta").await;
        process.signal(signal);
        let output = process.ended().await.with_code(0);
        assert!(output.log().contains("stopping"), "{}", output.log());
        world.client.batch_execute("ROLLBACK").await.unwrap();
    }
}

#[tokio::test]
async fn a_signal_ends_a_start_that_migrates() {
    let world = World::with_users(0).await;
    world.backfill().await;
    let older = "ALTER TABLE usertap.unasked_deletions DROP COLUMN key";
    world.client.batch_execute(older).await.unwrap();
    let table = "usertap.__diesel_schema_migrations";
    world.locks_away(table).await;
    let process = world.start(&["serve"]);
    process.line("migrating").await;
    world.somebody_waits_for(table).await;
    process.terminated().await.with_code(0);
}

/// A start during an outage is no exception: what cannot be looked at is away.
#[tokio::test]
async fn a_start_goes_on_without_tables_that_somebody_has_locked() {
    let world = World::with_users(0).await;
    world.serve().await.stop().await;
    for mode in ["auto", "off"] {
        world.locks_away("usertap.meta").await;
        let process = world.start_with(&["serve"], &[setting("USERTAP_MIGRATE", mode)]);
        world.goes_on_without(process, &["locked"]).await;
    }
}

/// As where Postgres is restarted: whoever is in the midst of a statement is told so, and no connection broke.
#[tokio::test]
async fn a_start_goes_on_where_its_session_is_ended() {
    let world = World::with_users(0).await;
    world.serve().await.stop().await;
    world.goes_on_once_ended_at("usertap.meta").await;
}

/// A part of this table is of the last migration.
const MIGRATED: &str = "usertap.unasked_deletions";
const FORGET_THE_LAST: &str = "DELETE FROM usertap.__diesel_schema_migrations
    WHERE version = (SELECT max(version) FROM usertap.__diesel_schema_migrations)";

/// One that has served, and whose database is as before the last migration.
async fn of_an_older_usertap() -> World {
    let world = World::with_users(0).await;
    world.serve().await.stop().await;
    let older = format!("ALTER TABLE {MIGRATED} DROP COLUMN key, ADD COLUMN seq bigint; {FORGET_THE_LAST}");
    world.client.batch_execute(&older).await.unwrap();
    world
}

#[tokio::test]
async fn a_start_goes_on_where_its_migration_is_ended() {
    let world = of_an_older_usertap().await;
    world.goes_on_once_ended_at(MIGRATED).await;
}

/// A report that somebody forgot to end: a migration waits for it, and whoever else uses that table behind both.
#[tokio::test]
async fn a_migration_that_must_wait_holds_up_neither_the_app_nor_a_start() {
    let world = of_an_older_usertap().await;
    let report = format!("BEGIN; SELECT FROM {MIGRATED}");
    world.client.batch_execute(&report).await.unwrap();
    let (migrate, app) = (world.start(&["migrate"]), postgres::client(&world.url).await);
    world.somebody_waits_for(MIGRATED).await;
    let asks = format!("SET statement_timeout = '10s'; SELECT FROM {MIGRATED}");
    app.batch_execute(&asks).await.expect("its turn comes");
    let why = ["a lock that a migration needs", MIGRATED, "idle in transaction"];
    migrate.ended().await.failed_saying(&why);
    let process = world.start(&["serve"]);
    world.goes_on_without(process, &why).await;
}

#[tokio::test]
async fn a_migration_that_never_succeeds_ends_a_start() {
    let world = World::with_users(0).await;
    world.serve().await.stop().await;
    let defect = format!("ALTER TABLE {MIGRATED} DROP COLUMN key; {FORGET_THE_LAST}");
    world.client.batch_execute(&defect).await.unwrap();
    for command in ["serve", "migrate"] {
        let ended = world.start(&[command]).ended().await;
        ended.failed_saying(&["a migration failed", "seq", "Nothing of it was kept"]);
    }
}

impl World {
    /// A start that does without what this one has locked, for this reason.
    async fn goes_on_without(&self, process: Process, why: &[&str]) {
        let line = process.line("starting without the database").await;
        assert!(why.iter().all(|why| line.contains(why)), "{line}");
        let server = Server::of(process).await;
        let reply = server.create(self, "Ada").await;
        assert_eq!(
            (reply.status.as_u16(), recorded(&reply).as_str()),
            (201, "journaled")
        );
        self.client.batch_execute("ROLLBACK").await.unwrap();
        eventually("the row comes", || async { self.name(id_of(&reply)).await }).await;
        server.stop().await;
    }

    /// A start whose session the database ends while it waits for this table.
    async fn goes_on_once_ended_at(&self, table: &str) {
        self.locks_away(table).await;
        let process = self.start(&["serve"]);
        self.ends_who_waits_for(table).await;
        self.client.batch_execute("ROLLBACK").await.unwrap();
        let server = Server::of(process).await;
        eventually("it records", || async {
            (recorded(&server.create(self, "Ada").await) == "committed").then_some(())
        })
        .await;
        server.stop().await;
    }
}
