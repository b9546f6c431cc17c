//! Several tenants in one process: each as if it were alone, and nothing of one reaches another.

use ::http::Method;
use serde_json::{Value, json};
use usertap::db::Names;
use usertap::sandbox::{Action, Event, Fault, Gate, Options, Sandbox};
use usertap::user::IdType;
use uuid::Uuid;

use super::{Reachable, Server, World, recorded};
use crate::support::http::{self, Reply};
use crate::support::process::{Process, setting};
use crate::support::{eventually, wall};

const NAMES: [&str; 2] = ["shop", "other"];

struct Tenant {
    at: usize,
    listen: String,
    admin: String,
}

impl Tenant {
    /// The caller is the server of a project, not necessarily of this one.
    async fn ask(&self, world: &World, caller: usize, method: Method, path: &str, body: &Value) -> Reply {
        let of = |name: &str| setting_of(&world.sandbox, caller, name);
        let (project, key) = (of("STACK_PROJECT_ID"), of("STACK_SECRET_SERVER_KEY"));
        let headers = [
            ("x-stack-project-id", project.as_str()),
            ("x-stack-access-type", "server"),
            ("x-stack-secret-server-key", key.as_str()),
        ];
        let url = format!("http://{}/api/v1{path}", self.listen);
        match body.is_null() {
            true => http::request(method, &url, &headers, "")
                .await
                .expect("an answer"),
            false => http::send(method, &url, &headers, body).await,
        }
    }

    async fn create(&self, world: &World, name: &str) -> (Reply, Uuid) {
        let body = json!({ "display_name": name });
        let reply = self.ask(world, self.at, Method::POST, "/users", &body).await;
        let id = reply.json()["id"]
            .as_str()
            .expect("an id")
            .parse()
            .expect("an id");
        (reply, id)
    }

    async fn status(&self) -> Value {
        http::get(&format!("http://{}/v1/status", self.admin), &[])
            .await
            .json()
    }

    async fn names(&self, world: &World) -> Vec<String> {
        let sql = format!("SELECT name FROM {}.users_sync ORDER BY name", NAMES[self.at]);
        let rows = world.client.query(&sql, &[]).await.expect("a query");
        rows.iter().map(|row| row.get(0)).collect()
    }

    async fn send(&self, headers: &[(&'static str, String); 3], event: &Event) -> Reply {
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let url = format!("http://{}/_usertap/webhooks", self.listen);
        http::request(Method::POST, &url, &headers, event.body.clone())
            .await
            .expect("an answer")
    }
}

fn setting_of(sandbox: &Sandbox, project: usize, name: &str) -> String {
    let settings = sandbox.settings(project).into_iter();
    let found = settings.map(|(name, value)| (name.replace("OTHER_", ""), value));
    found
        .into_iter()
        .find(|(own, _)| own == name)
        .expect("a setting")
        .1
}

async fn two() -> World {
    World::new(Options {
        projects: 2,
        ..Options::default()
    })
    .await
}

/// The settings file of both, in one database.
fn file(world: &World) -> String {
    let mut text = format!(
        "database_url = \"{}\"\nupstream = \"http://{}\"\nrate = \"1000/1s\"\nsync_timeout = \"20s\"\ntimeout = \"30s\"\n",
        secrecy::ExposeSecret::expose_secret(&world.url),
        world.sandbox.addr()
    );
    for (at, name) in NAMES.iter().enumerate() {
        let of = |name: &str| setting_of(&world.sandbox, at, name);
        let secret = world.control().webhooks(at).expect("a project").secret();
        text += &format!(
            "\n[[tenant]]\nname = \"{name}\"\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n\
             schema = \"{name}\"\nstate_schema = \"{name}_state\"\nstack_project_id = \"{}\"\n\
             stack_secret_server_key = \"{}\"\nwebhook_secret = \"{secret}\"\n",
            of("STACK_PROJECT_ID"),
            of("STACK_SECRET_SERVER_KEY")
        );
    }
    text
}

fn start(world: &World, args: &[&str], file: &str, env: &[(String, String)]) -> Process {
    std::fs::write(world.folder.path().join("usertap.toml"), file).expect("a file");
    let log = [setting("USERTAP_LOG_FORMAT", "json")];
    let env: Vec<_> = log.iter().chain(env).cloned().collect();
    Process::start(world.folder.path(), args, &env)
}

async fn serve(world: &World) -> (Process, [Tenant; 2]) {
    serve_with(world, &file(world)).await
}

async fn serve_with(world: &World, file: &str) -> (Process, [Tenant; 2]) {
    serving(start(world, &["serve"], file, &[])).await
}

async fn serving(process: Process) -> (Process, [Tenant; 2]) {
    let lines = eventually("both serve", || async {
        let output = process.output();
        let said = output
            .stderr
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let serving: Vec<Value> = said.filter(|said| said["message"] == "serving").collect();
        (serving.len() == 2).then_some(serving)
    })
    .await;
    let tenant = |at: usize| {
        let said = lines
            .iter()
            .find(|said| said["tenant"] == NAMES[at])
            .expect("it serves");
        let text = |key: &str| said[key].as_str().expect("an address").to_owned();
        Tenant {
            at,
            listen: text("listen"),
            admin: text("admin"),
        }
    };
    (process, [tenant(0), tenant(1)])
}

#[tokio::test]
async fn each_is_as_if_it_were_alone() {
    let world = two().await;
    let (process, [shop, other]) = serve(&world).await;
    let (made, ada) = shop.create(&world, "Ada").await;
    assert!(made.recorded().starts_with("committed"), "{}", made.recorded());
    let (made, bea) = other.create(&world, "Bea").await;
    assert!(made.recorded().starts_with("committed"), "{}", made.recorded());
    // Rows.
    assert_eq!(shop.names(&world).await, ["Ada"]);
    assert_eq!(other.names(&world).await, ["Bea"]);
    // A caller of one at the listener of the other is a stranger there.
    for (tenant, caller, id) in [(&shop, 1, bea), (&other, 0, ada)] {
        let path = format!("/users/{id}");
        for (method, body) in [
            (Method::GET, Value::Null),
            (Method::PATCH, json!({ "display_name": "Planted" })),
        ] {
            let reply = tenant.ask(&world, caller, method, &path, &body).await;
            assert_eq!(reply.recorded(), "none; foreign-tenant");
            assert!(
                !reply
                    .header("x-usertap-cache")
                    .unwrap_or_default()
                    .starts_with("hit")
            );
        }
    }
    assert_eq!(shop.names(&world).await, ["Ada"]);
    assert_eq!(other.names(&world).await, ["Bea"]);
    // What is kept for one is not given to the other, nor with the other's key.
    let path = format!("/users/{ada}");
    shop.ask(&world, 0, Method::GET, &path, &Value::Null).await;
    let hit = shop.ask(&world, 0, Method::GET, &path, &Value::Null).await;
    assert!(
        hit.header("x-usertap-cache")
            .unwrap_or_default()
            .starts_with("hit")
    );
    let miss = other.ask(&world, 0, Method::GET, &path, &Value::Null).await;
    assert!(
        !miss
            .header("x-usertap-cache")
            .unwrap_or_default()
            .starts_with("hit")
    );
    let stranger = other.ask(&world, 1, Method::GET, &path, &Value::Null).await;
    assert_ne!(stranger.effective_status(), 200);
    // Its own server has read what was written past it.
    assert_eq!(shop.names(&world).await, ["Planted"]);
    assert_eq!(other.names(&world).await, ["Bea"]);
    // Feeds.
    for (tenant, id) in [(&shop, ada), (&other, bea)] {
        let url = format!("http://{}/v1/changes?since=oldest", tenant.admin);
        let page = http::get(&url, &[]).await.json();
        let told: Vec<&str> = page["changes"]
            .as_array()
            .expect("changes")
            .iter()
            .filter_map(|change| change["key"]["id"].as_str())
            .collect();
        assert!(
            !told.is_empty() && told.iter().all(|told| *told == id.to_string()),
            "{told:?}"
        );
    }
    // Webhooks: each has its own secret.
    let event = Event::new("user.deleted", &json!({ "id": ada }));
    let signed = world
        .control()
        .webhooks(0)
        .expect("a project")
        .headers(&event, wall());
    assert_eq!(other.send(&signed, &event).await.status, 401);
    assert_eq!(shop.send(&signed, &event).await.status, 200);
    // Status and budget: what one was asked is no figure of the other.
    let (of_shop, of_other) = (shop.status().await, other.status().await);
    assert_ne!(
        of_shop["provider"]["tenant"]["project"],
        of_other["provider"]["tenant"]["project"]
    );
    assert_eq!(of_shop["webhooks"]["received"], 1);
    assert_eq!(of_other["webhooks"]["received"], 0);
    assert_ne!(of_shop["budget"]["given"]["app"], json!(0));
    // The journals.
    for name in NAMES {
        let folder = world.folder.path().join(".usertap/tenants").join(name);
        assert!(folder.join("served").exists(), "{name}");
    }
    process.terminated().await.with_code(0);
}

#[tokio::test]
async fn other_commands_are_for_one_of_them() {
    let world = two().await;
    world
        .control()
        .create(0, json!({ "display_name": "Ada" }))
        .expect("a user");
    world
        .control()
        .create(1, json!({ "display_name": "Bea" }))
        .expect("a user");
    let text = file(&world);
    let which = start(&world, &["backfill"], &text, &[]).ended().await;
    let said = which.with_code(2).log();
    assert!(
        said.contains("--tenant") && said.contains("shop, other"),
        "{said}"
    );
    let unknown = start(&world, &["backfill", "--tenant", "none"], &text, &[])
        .ended()
        .await;
    assert!(unknown.with_code(2).log().contains("shop, other"));
    for (name, user) in [("shop", "Ada"), ("other", "Bea")] {
        let done = start(&world, &["backfill", "--json", "--tenant", name], &text, &[]);
        assert_eq!(done.ended().await.with_code(0).json()["fetched"], 1);
        let sql = format!("SELECT name FROM {name}.users_sync");
        let row = world.client.query_one(&sql, &[]).await.expect("one row");
        assert_eq!(row.get::<_, String>(0), user);
    }
}

#[tokio::test]
async fn what_they_would_share_is_refused_before_anything_starts() {
    let world = two().await;
    let sound = file(&world);
    let of = |at: usize, name: &str| setting_of(&world.sandbox, at, name);
    let keys = [of(0, "STACK_SECRET_SERVER_KEY"), of(1, "STACK_SECRET_SERVER_KEY")];
    let projects = [of(0, "STACK_PROJECT_ID"), of(1, "STACK_PROJECT_ID")];
    let secrets = [0, 1].map(|at| world.control().webhooks(at).expect("a project").secret());
    let same_port = sound.replace("\nlisten = \"127.0.0.1:0\"", "\nlisten = \"127.0.0.1:8499\"");
    for (text, env, said) in [
        (sound.replace(&keys[1], &keys[0]), None, "one server key"),
        (
            sound.replace(&projects[1], &projects[0]),
            None,
            "one and the same",
        ),
        (
            sound.replace(&secrets[1], &secrets[0]),
            None,
            "one signing secret",
        ),
        (
            sound.replace("\"other_state\"", "\"shop_state\""),
            None,
            "a schema of one database",
        ),
        (same_port, None, "listen at one address"),
        (
            sound.replace("name = \"other\"", "name = \"shop\""),
            None,
            "`name` of its own",
        ),
        (
            format!("public_url = \"https://auth.example\"\n{sound}"),
            None,
            "below its [[tenant]]",
        ),
        (
            sound.replace(&format!("stack_project_id = \"{}\"\n", projects[1]), ""),
            // Of the environment it would be everybody's.
            Some(setting("STACK_PROJECT_ID", &projects[1])),
            "STACK_PROJECT_ID",
        ),
        (
            sound.clone(),
            Some(setting("USERTAP_WEBHOOK_SECRET", &secrets[0])),
            "such as SHOP_USERTAP_WEBHOOK_SECRET",
        ),
    ] {
        let env: Vec<_> = env.into_iter().collect();
        let ended = start(&world, &["serve"], &text, &env).ended().await;
        let log = ended.with_code(2).log();
        assert!(log.contains(said), "{said} in\n{log}");
        for secret in keys.iter().chain(&secrets) {
            assert!(!log.contains(secret.as_str()), "{said}");
        }
    }
    // With its name before it, it is the tenant's own.
    let text = sound.replace(&format!("stack_project_id = \"{}\"\n", projects[1]), "");
    let env = [setting("OTHER_STACK_PROJECT_ID", &projects[1])];
    let done = start(&world, &["migrate", "--tenant", "other"], &text, &env)
        .ended()
        .await;
    done.with_code(0);
    // The provider's may be the app's own: without one the tenant goes on, and it is told.
    let text = sound.replace(&format!("stack_secret_server_key = \"{}\"\n", keys[1]), "");
    let env = [setting("STACK_SECRET_SERVER_KEY", &keys[1])];
    let done = start(&world, &["migrate", "--tenant", "other"], &text, &env)
        .ended()
        .await;
    let log = done.with_code(0).log();
    assert!(
        log.contains("it is called OTHER_STACK_SECRET_SERVER_KEY"),
        "{log}"
    );
    assert!(!log.contains(&keys[1]), "{log}");
}

#[tokio::test]
async fn the_console_tells_what_a_tenants_own_settings_are_called() {
    let world = two().await;
    let secret = world.control().webhooks(1).expect("a project").secret();
    let text = file(&world).replace(&format!("webhook_secret = \"{secret}\"\n"), "");
    let (process, [_, other]) = serve_with(&world, &text).await;
    for (path, also) in [
        ("/setup", "usertap doctor --tenant other"),
        ("/connect", "OTHER_STACK_PROJECT_ID"),
    ] {
        let page = http::get(&format!("http://{}{path}", other.admin), &[])
            .await
            .text();
        for expected in ["OTHER_USERTAP_WEBHOOK_SECRET", also] {
            assert!(page.contains(expected), "{expected} in {path}: {page}");
        }
        let without = page.replace("OTHER_USERTAP_", "");
        assert!(!without.contains("USERTAP_WEBHOOK_SECRET"), "{path}: {page}");
    }
    process.terminated().await.with_code(0);
}

/// One embedded Postgres is enough for all of them.
#[tokio::test]
async fn they_may_share_an_embedded_postgres() {
    let (world, folder) = (two().await, Reachable::new());
    let url = format!("\"{}\"", secrecy::ExposeSecret::expose_secret(&world.url));
    let data_dir = format!("data_dir = \"{}\"\n", folder.0.display());
    let text = data_dir + &file(&world).replace(&url, "\"embedded\"");
    for round in 0..2 {
        let (process, tenants) = serve_with(&world, &text).await;
        for (tenant, name) in tenants.iter().zip(["Ada", "Bea"]) {
            if round == 0 {
                let (made, _) = tenant.create(&world, name).await;
                assert!(made.recorded().starts_with("committed"), "{}", made.recorded());
            }
            let url = format!("http://{}/v1/users", tenant.admin);
            let users = http::get(&url, &[]).await.json()["users"].clone();
            let names: Vec<_> = users
                .as_array()
                .expect("a list")
                .iter()
                .map(|user| &user["name"])
                .collect();
            assert_eq!(names, [name], "round {round}");
        }
        process.terminated().await.with_code(0);
    }
    // Two who would write into one schema of it are refused like others.
    let clash = text.replace("\"other_state\"", "\"shop_state\"");
    let ended = start(&world, &["serve"], &clash, &[]).ended().await;
    assert!(ended.with_code(2).log().contains("a schema of one database"));
}

/// Who died is known by the folder that it had: nobody waits until its heartbeat is old.
#[tokio::test]
async fn a_start_after_a_kill_takes_the_place_of_each() {
    let world = two().await;
    let (process, _) = serve(&world).await;
    process.killed().await;
    let (process, _) = serve(&world).await;
    for name in NAMES {
        let instances = format!("SELECT count(*) FROM {name}_state.instances");
        assert_eq!(
            world.count(&instances).await,
            1,
            "{name} has left its dead one there"
        );
    }
    process.terminated().await.with_code(0);
}

/// The database of one may be slow, silent or locked: the others serve.
#[tokio::test]
async fn one_that_is_slow_to_start_holds_up_no_other() {
    let world = two().await;
    let lock = Names {
        users_schema: NAMES[0].into(),
        state_schema: format!("{}_state", NAMES[0]),
        id_type: IdType::Uuid,
    };
    let lock = lock.migration_lock();
    let held = format!("SELECT pg_advisory_lock({lock})");
    world.client.batch_execute(&held).await.expect("a lock");
    let process = start(&world, &["serve"], &file(&world), &[]);
    let serving = |name: &'static str| {
        let serves = |said: &Value| said["message"] == "serving" && said["tenant"] == name;
        let lines = process.output().stderr;
        let mut said = lines.iter().filter_map(|line| serde_json::from_str(line).ok());
        said.any(|said| serves(&said))
    };
    eventually("the other serves", || async { serving(NAMES[1]).then_some(()) }).await;
    assert!(
        !serving(NAMES[0]),
        "its schema is being migrated by somebody else"
    );
    let free = format!("SELECT pg_advisory_unlock({lock})");
    world.client.batch_execute(&free).await.expect("a lock");
    eventually("both serve", || async { serving(NAMES[0]).then_some(()) }).await;
    process.terminated().await.with_code(0);
}

/// A journal is of the settings under which it was written: others leave it alone, and say so.
#[tokio::test]
async fn a_journal_that_nobody_takes_any_more_is_told() {
    let world = two().await.and("FAILPOINTS", "carried-out=100ms");
    let (relay, url) = super::through_a_relay(&world).await;
    relay.open();
    let alone = Server::of(world.start_with(&["serve"], &[setting("DATABASE_URL", &url)])).await;
    relay.close();
    assert_eq!(recorded(&alone.create(&world, "Ada").await), "journaled");
    alone.process.killed().await;
    let told = |log: &str| {
        let lines = log
            .lines()
            .filter(|line| line.contains("a journal that nobody takes over"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let (process, [shop, other]) = serve(&world).await;
    let (journal, aside) = (".usertap/journal", ".usertap/aside");
    let (journal, aside) = (world.folder.path().join(journal), world.folder.path().join(aside));
    for tenant in [&shop, &other] {
        let problems = tenant.status().await["problems"].clone();
        assert_eq!(problems[0]["word"], "journal-left", "{problems}");
        assert!(problems[0]["what"].to_string().contains(".usertap"), "{problems}");
        assert!(
            problems[0]["remedy"].to_string().contains("serve once"),
            "{problems}"
        );
        assert_eq!(problems[1], Value::Null, "{problems}");
    }
    // Until it is gone.
    std::fs::rename(&journal, &aside).expect("a folder");
    assert_eq!(shop.status().await["problems"], json!([]));
    std::fs::rename(&aside, &journal).expect("a folder");
    let said = told(&process.terminated().await.with_code(0).log());
    assert!(said.len() == 1 && said[0].contains(".usertap"), "{said:?}");
    std::fs::remove_file(world.folder.path().join("usertap.toml")).expect("it was there");
    let alone = world.serve().await;
    eventually("it is written, and its note ended", || async {
        let recorder = alone.status().await["recorder"].clone();
        let rest = recorder["journal"]["waiting"] == 0 && recorder["writes"]["open"] == 0;
        (rest && world.rows().await == 1).then_some(())
    })
    .await;
    alone.stop().await;
    let (process, _) = serve(&world).await;
    let said = told(&process.terminated().await.with_code(0).log());
    assert_eq!(said, Vec::<String>::new());
}

/// One that is about to wait for the others on its database has made itself known there: it leaves in good order.
#[tokio::test]
async fn the_failed_start_of_one_lets_the_others_come_to_an_orderly_end() {
    let world = two().await;
    let right = setting_of(&world.sandbox, 1, "STACK_SECRET_SERVER_KEY");
    let file = file(&world).replace(&right, "ssk_wrong_one");
    // Bound by then: it is the other alone whose start asks the provider before it goes on.
    let bound = start(&world, &["backfill", "--tenant", NAMES[0]], &file, &[]);
    bound.ended().await.with_code(0);
    // Whoever has not met the first is waited for but some seconds: nothing else must take time meanwhile.
    let migrated = start(&world, &["migrate", "--tenant", NAMES[1]], &file, &[]);
    migrated.ended().await.with_code(0);
    let silent = format!(
        "INSERT INTO {}_state.instances (id, kind) VALUES (gen_random_uuid(), 'serve')",
        NAMES[0]
    );
    let gate = Gate::new();
    let asked = Fault::on("/users/", Action::HoldBefore(gate.clone()));
    world.control().fault(asked);
    world.client.execute(&silent, &[]).await.expect("a statement");
    let process = start(&world, &["serve"], &file, &[]);
    gate.reached().await;
    let known = format!("SELECT count(*) FROM {}_state.instances", NAMES[0]);
    eventually("it has made itself known", || async {
        (world.count(&known).await == 2).then_some(())
    })
    .await;
    gate.release();
    let output = process
        .ended()
        .await
        .failed_saying(&["tenant other", "the provider refuses"]);
    assert!(!output.log().contains("DRAIN"), "{}", output.log());
    assert_eq!(world.count(&known).await, 1, "no place is left taken");
}

/// As after a restore of a dump, in which tables have other numbers than they had.
#[tokio::test]
async fn the_table_of_one_is_never_taken_for_that_of_another() {
    let world = two().await;
    let (process, _) = serve(&world).await;
    process.terminated().await.with_code(0);
    let [one, other] = NAMES;
    let number = format!("UPDATE {one}_state.meta SET users_table = '{other}.users_sync'::regclass");
    world.client.batch_execute(&number).await.expect("a statement");
    let (process, [shop, _]) = serve(&world).await;
    shop.create(&world, "Ada").await;
    eventually("it is written", || async {
        (shop.names(&world).await == ["Ada"]).then_some(())
    })
    .await;
    assert_eq!(shop.status().await["problems"], json!([]));
    process.terminated().await.with_code(0);
}

/// As many that say nothing as come, on both sides of one of them: the other has descriptors left.
#[tokio::test]
async fn connections_of_one_leave_descriptors_for_the_others() {
    let world = two().await;
    std::fs::write(world.folder.path().join("usertap.toml"), file(&world)).expect("a file");
    let settings = [
        setting("USERTAP_LOG_FORMAT", "json"),
        setting("FAILPOINTS", "dawdling=600000ms"),
    ];
    let line = format!("ulimit -n 180 && exec {} serve", env!("CARGO_BIN_EXE_usertap"));
    let process = Process::run("sh", world.folder.path(), &["-c", &line], &settings);
    let (process, [shop, other]) = serving(process).await;
    let mut silent = Vec::new();
    for at in [&shop.listen, &shop.admin, &other.admin] {
        for _ in 0..60 {
            let stream = tokio::net::TcpStream::connect(at).await;
            silent.push(stream.expect("a connection"));
        }
    }
    let (made, _) = other.create(&world, "Bea").await;
    assert!(made.recorded().starts_with("committed"), "{}", made.recorded());
    drop(silent);
    process.terminated().await.with_code(0);
}
