//! From variables, flags and files to a configuration, without touching this process' own.

mod addresses;

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;
use crate::config::settings;
use crate::config::{Database, Deleted, File, Limit, Rate, Sources, Sync, TlsMode};

/// What is enough for `serve`.
const ENOUGH: &[(&str, &str)] = &[
    (
        "DATABASE_URL",
        "postgres://app:hush@db.example/app?sslmode=require",
    ),
    ("STACK_PROJECT_ID", "0c6e8a3d"),
    ("STACK_SECRET_SERVER_KEY", "ssk_hush"),
];

#[derive(Default)]
struct World {
    file: String,
    env: Vec<(String, String)>,
    flags: Vec<(String, String)>,
    files: BTreeMap<String, String>,
}

impl World {
    fn enough() -> World {
        World::default().env(ENOUGH)
    }

    fn env(mut self, pairs: &[(&str, &str)]) -> World {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()));
        self.env.extend(pairs);
        self
    }

    fn flag(mut self, name: &str, value: &str) -> World {
        self.flags.push((name.to_owned(), value.to_owned()));
        self
    }

    fn file(self, text: &str) -> World {
        let file = text.to_owned();
        World { file, ..self }
    }

    fn on_disk(mut self, path: &str, text: &str) -> World {
        self.files.insert(path.to_owned(), text.to_owned());
        self
    }

    fn read(&self, needs: Needs) -> Result<Config, Vec<Mistake>> {
        let read = |path: &Path| {
            let text = path.to_str().and_then(|path| self.files.get(path));
            text.cloned()
                .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        };
        let (file, mistakes) = File::parse(Path::new("usertap.toml"), &self.file);
        let env = self
            .env
            .iter()
            .map(|(name, value)| (name.clone(), value.into()))
            .collect();
        let sources = Sources {
            file,
            env: &env,
            flags: self.flags.iter().cloned().collect(),
            read: &read,
        };
        Config::read(&settings::read(&sources, mistakes), sources.read, needs)
    }

    #[track_caller]
    fn config(&self) -> Config {
        self.read(Needs::Everything).unwrap_or_else(|m| panic!("{m:#?}"))
    }

    /// What is shown of the mistakes.
    #[track_caller]
    fn wrong(&self) -> String {
        let mistakes = self.read(Needs::Everything).expect_err("mistakes");
        let lines: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        lines.join("\n")
    }
}

#[test]
fn enough_is_enough() {
    let config = World::enough().config();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8400");
    assert_eq!(config.admin_listen.to_string(), "127.0.0.1:8401");
    assert_eq!(
        (config.schema.as_str(), config.state_schema.as_str()),
        ("neon_identity", "usertap")
    );
    assert_eq!(config.id_type, IdType::Uuid);
    assert_eq!(config.sync, Sync::BeforeResponse);
    assert_eq!(config.timeout, Duration::from_secs(8));
    assert_eq!(config.record_buffer, 4 << 20);
    assert_eq!(config.deleted, Deleted::Keep);
    assert_eq!(config.upstream.as_str(), "https://api.stack-auth.com/");
    assert_eq!(config.warnings, [""; 0]);
    let identity = [("project", "0c6e8a3d"), ("branch", "main")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(config.tenant.identity, identity);
    let key = config.tenant.key.as_ref().map(|key| key.expose_secret());
    assert_eq!(key, Some("ssk_hush"));
    let Database::Url { url, direct } = &config.database else {
        panic!("no URL");
    };
    assert_eq!(url.url.expose_secret(), direct.url.expose_secret());
    assert_eq!(url.tls, TlsMode::Required);
    assert!(!format!("{config:?}").contains("hush"));
}

#[test]
fn flags_are_over_the_environment_is_over_the_file() {
    let file = "timeout = \"1s\"\ndrain = \"1s\"\nsync_timeout = \"1s\"\n";
    let env = [("USERTAP_TIMEOUT", "2s"), ("USERTAP_DRAIN", "2s")];
    let config = World::enough()
        .file(file)
        .env(&env)
        .flag("timeout", "3s")
        .config();
    let seconds = [config.timeout, config.drain, config.sync_timeout].map(|wait| wait.as_secs());
    assert_eq!(seconds, [3, 2, 1]);
}

#[test]
fn the_file_alone_is_enough() {
    let file = "database_url = \"embedded\"\nstack_project_id = \"p\"\nstack_secret_server_key_file = \"k\"\n\
                stack_branch_id = \"dev\"\nport = 8080\nrate = [\"10/1s\", \"100/1m\"]\n";
    let config = World::default().file(file).on_disk("k", "ssk\n").config();
    assert!(matches!(config.database, Database::Embedded));
    assert_eq!(config.listen.to_string(), "[::]:8080");
    let per = |requests, secs| {
        let per = Duration::from_secs(secs);
        Limit::from(Rate { requests, per })
    };
    assert_eq!(config.rate, [per(10, 1), per(100, 60)]);
    assert!(!config.user_limits && World::enough().config().user_limits);
    assert_eq!(
        config.tenant.identity.last(),
        Some(&("branch".to_owned(), "dev".to_owned()))
    );
}

#[test]
fn all_mistakes_at_once_without_a_secret() {
    let wrong = World::default()
        .file("listn = \"x\"\nsync = \"never\"\n")
        .env(&[
            ("DATABASE_URL", "mysql://u:hush@h/db"),
            ("USERTAP_ADMIN_TOKEN", "hush hush"),
            ("USERTAP_LISTEN", "postgres://u:hush@h"),
            ("USERTAP_TIMOUT", "hush"),
            ("STACK_PROJECT_ID", "p"),
        ])
        .flag("schema", "pg_mine")
        .wrong();
    for part in [
        "listn (usertap.toml:1): there is no such setting: did you mean `listen`?",
        "SYNC (usertap.toml:2): `never` is unknown: write `before-response` or `async`",
        "DATABASE_URL (DATABASE_URL in the environment): this value must be a URL",
        "ADMIN_TOKEN (USERTAP_ADMIN_TOKEN in the environment)",
        "LISTEN (USERTAP_LISTEN in the environment): this value is no address",
        "USERTAP_TIMOUT (USERTAP_TIMOUT in the environment): there is no such setting: did you mean `USERTAP_TIMEOUT`?",
        "STACK_SECRET_SERVER_KEY: is missing: set STACK_SECRET_SERVER_KEY",
        "SCHEMA (--schema): `pg_mine` belongs to Postgres itself",
    ] {
        assert!(wrong.contains(part), "{part}\nin\n{wrong}");
    }
    assert_eq!(wrong.lines().count(), 8, "{wrong}");
    assert!(!wrong.contains("hush"), "{wrong}");
}

#[test]
fn nothing_at_all_names_what_is_compulsory() {
    let wrong = World::default().wrong();
    let names: Vec<_> = wrong.lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(
        names,
        ["DATABASE_URL", "STACK_PROJECT_ID", "STACK_SECRET_SERVER_KEY"]
    );
    let world = World::default().env(&[("DATABASE_URL", "embedded"), ("STACK_PROJECT_ID", "p")]);
    assert!(world.read(Needs::NoKey).is_ok(), "migrate needs no key");
    let nobodys = World::default().env(&[("DATABASE_URL", "embedded")]);
    let missing = nobodys.read(Needs::NoKey).expect_err("a tenant is needed");
    assert!(
        missing
            .iter()
            .any(|mistake| mistake.setting == "STACK_PROJECT_ID"),
        "{missing:?}"
    );
}

#[test]
fn names_that_users_already_have() {
    let next = [
        ("NEXT_PUBLIC_STACK_PROJECT_ID", "0c6e8a3d"),
        ("STACK_BRANCH_ID", ""),
    ];
    World::enough().env(&next).config();
    let other = World::enough()
        .env(&[("NEXT_PUBLIC_STACK_PROJECT_ID", "other")])
        .wrong();
    assert!(
        other.contains("says something else than STACK_PROJECT_ID"),
        "{other}"
    );
    let env = [("DATABASE_URL_UNPOOLED", "postgres://u:p@direct.example/app")];
    let Database::Url { direct, .. } = World::enough().env(&env).config().database else {
        panic!("no URL");
    };
    assert!(direct.url.expose_secret().contains("direct.example"));
    let own = [("DATABASE_DIRECT_URL", "postgres://u:p@own.example/app")];
    let Database::Url { direct, .. } = World::enough().env(&env).env(&own).config().database else {
        panic!("no URL");
    };
    assert!(
        direct.url.expose_secret().contains("own.example"),
        "the first counts"
    );
}

#[test]
fn a_value_may_stand_in_a_file() {
    let secret = [("USERTAP_ADMIN_TOKEN_FILE", "/run/token")];
    for text in ["tok", "tok\n", "\u{feff}tok\r\n"] {
        let config = World::enough().env(&secret).on_disk("/run/token", text).config();
        assert_eq!(config.admin_token.unwrap().expose_secret(), "tok", "{text:?}");
    }
    let missing = World::enough().env(&secret).wrong();
    assert!(
        missing
            .contains("USERTAP_ADMIN_TOKEN_FILE in the environment): the file that it names cannot be read"),
        "{missing}"
    );
    let both = World::enough()
        .env(&secret)
        .env(&[("USERTAP_ADMIN_TOKEN", "t")])
        .wrong();
    assert!(both.contains("take one of them out"), "{both}");
    assert_eq!(both.lines().count(), 1, "{both}");
    let open = World::enough()
        .env(&secret)
        .env(&[("USERTAP_ADMIN_LISTEN", "0.0.0.0:9000")])
        .wrong();
    assert_eq!(
        open.lines().count(),
        1,
        "what cannot be read is not missing: {open}"
    );
}

#[test]
fn a_pooler_without_a_direct_address_is_a_warning() {
    let pooled = [(
        "DATABASE_URL",
        "postgres://u:p@ep-x-pooler.neon.tech/db?sslmode=require",
    )];
    let warnings = World::enough().env(&pooled).config().warnings;
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings.concat().contains("set DATABASE_DIRECT_URL"),
        "{warnings:?}"
    );
    let direct = [(
        "DATABASE_DIRECT_URL",
        "postgres://u:p@ep-x.neon.tech/db?sslmode=require",
    )];
    let config = World::enough().env(&pooled).env(&direct).config();
    assert_eq!(config.warnings, [""; 0]);
    let unknown = [(
        "DATABASE_URL",
        "postgres://u:p@ep-x-pooler.neon.tech/db?sslmode=require&sslmod=disable",
    )];
    let warnings = World::enough().env(&unknown).env(&direct).config().warnings;
    assert!(
        warnings
            .concat()
            .contains("options after its `?` that usertap does not know"),
        "{warnings:?}"
    );
}

#[test]
fn a_database_that_is_polled_for_more_often_than_it_may_sleep_is_a_warning() {
    let clerk = |pairs: &[(&str, &str)]| {
        let of_clerk = [
            ("USERTAP_PROVIDER", "clerk"),
            ("CLERK_SECRET_KEY", "sk_test_0123456789abcdef"),
        ];
        World::enough().env(&of_clerk).env(pairs)
    };
    let never = clerk(&[]).config();
    assert_eq!((never.database_idle, never.warnings.len()), (None, 0));
    for (every, warned) in [("30s", 1), ("5m", 1), ("6m", 0)] {
        let config = clerk(&[("USERTAP_DATABASE_IDLE", "5m"), ("USERTAP_POLL_EVERY", every)]).config();
        assert_eq!(config.database_idle, Some(Duration::from_secs(300)));
        assert_eq!(config.warnings.len(), warned, "{every}: {:?}", config.warnings);
    }
    let short = clerk(&[("USERTAP_DATABASE_IDLE", "10ms")]).wrong();
    assert!(
        short.contains("DATABASE_IDLE (USERTAP_DATABASE_IDLE in the environment): `10ms` is too short"),
        "{short}"
    );
}

#[test]
fn schemas_differ_and_neon_auth_has_text_ids() {
    let schema = |name| [("USERTAP_SCHEMA", name)];
    assert!(
        World::enough()
            .env(&schema("usertap"))
            .wrong()
            .contains("STATE_SCHEMA: is SCHEMA as well: write another name, such as `usertap_state`")
    );
    let both = [("USERTAP_SCHEMA", "mine"), ("USERTAP_STATE_SCHEMA", "mine")];
    let wrong = World::enough().env(&both).wrong();
    assert!(wrong.contains("such as `usertap`"), "{wrong}");
    assert_eq!(
        World::enough().env(&schema("neon_auth")).config().id_type,
        IdType::Text
    );
    let uuid = [("USERTAP_ID_TYPE", "uuid")];
    assert_eq!(
        World::enough()
            .env(&schema("neon_auth"))
            .env(&uuid)
            .config()
            .id_type,
        IdType::Uuid
    );
}

#[test]
fn an_unknown_provider_is_told_with_the_other_mistakes() {
    let wrong = World::enough()
        .env(&[("USERTAP_PROVIDER", "stackauth"), ("USERTAP_DRAIN", "x")])
        .wrong();
    assert!(
        wrong.contains("PROVIDER (USERTAP_PROVIDER in the environment): no provider of that name"),
        "{wrong}"
    );
    assert!(wrong.contains("DRAIN"), "{wrong}");
    assert_eq!(wrong.lines().count(), 2, "{wrong}");
    let path = World::enough()
        .env(&[("USERTAP_PROVIDER", "./gone.toml")])
        .wrong();
    assert!(path.contains("`./gone.toml` cannot be read"), "{path}");
}

#[test]
fn an_answer_is_given_again_for_longer_where_changes_elsewhere_are_told() {
    let clerk = [
        ("USERTAP_PROVIDER", "clerk"),
        ("CLERK_SECRET_KEY", "sk_test_0123456789abcdef"),
    ];
    let secret = ("USERTAP_WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let poll = ("USERTAP_POLL_EVERY", "1m");
    for (told, seconds) in [
        (&[][..], 5),
        (&[secret], 30),
        (&[poll], 30),
        (&[secret, ("USERTAP_CACHE_TTL", "7s")], 7),
    ] {
        let config = World::enough().env(&clerk).env(told).config();
        assert_eq!(config.cache_ttl, Duration::from_secs(seconds), "{told:?}");
    }
    let wrong = World::enough().env(&[poll]).wrong();
    assert!(
        wrong.contains("this provider's file does not say how to ask what has changed"),
        "{wrong}"
    );
}

#[test]
fn signing_secrets_are_those_of_one_place() {
    let clerk = [
        ("USERTAP_PROVIDER", "clerk"),
        ("CLERK_SECRET_KEY", "sk_test_0123456789abcdef"),
    ];
    let (one, other) = (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    );
    let of = |own: &str, theirs: &str| {
        World::enough().env(&clerk).env(&[
            ("USERTAP_WEBHOOK_SECRET", own),
            ("CLERK_WEBHOOK_SIGNING_SECRET", theirs),
        ])
    };
    assert_eq!(of(one, one).config().webhook_secrets.len(), 1);
    let both = of(one, other).wrong();
    assert!(
        both.contains("says something else than WEBHOOK_SECRET") && !both.contains(other),
        "{both}"
    );
    let several = format!("v1,{one}, {other},");
    assert_eq!(of(&several, "").config().webhook_secrets.len(), 2);
    assert!(of(",", "").wrong().contains("holds no secret"));
}

#[test]
fn a_key_with_a_line_end_in_it_is_refused() {
    let wrong = World::enough()
        .env(&[("STACK_SECRET_SERVER_KEY", "hush\nhush")])
        .wrong();
    assert!(
        wrong.contains("visible ASCII") && !wrong.contains("hush"),
        "{wrong}"
    );
}

/// As a pooler beside the app, and a database beyond it.
#[test]
fn an_authority_is_of_the_way_that_uses_tls() {
    const DIRECT: (&str, &str) = (
        "DATABASE_DIRECT_URL",
        "postgres://u@db.example/app?sslmode=require",
    );
    const CA: (&str, &str) = ("USERTAP_DATABASE_CA", "/ca.pem");
    let world = || World::enough().on_disk("/ca.pem", "-----BEGIN CERTIFICATE-----");
    let ways = |world: World| match world.config().database {
        Database::Url { url, direct } => [(url.tls, url.ca), (direct.tls, direct.ca)],
        Database::Embedded => panic!("no URL"),
    };
    let known = (TlsMode::Required, Some("/ca.pem".into()));
    for (local, tls) in [
        ("postgres://u@localhost/app", TlsMode::Local),
        ("postgres://u@localhost/app?sslmode=disable", TlsMode::Off),
        ("postgres:///app?host=/tmp", TlsMode::Off),
    ] {
        let local = ("DATABASE_URL", local);
        let found = ways(world().env(&[local, DIRECT, CA]));
        assert_eq!(found, [(tls, None), known.clone()]);
        let own = (
            DIRECT.0,
            "postgres://u@db.example/app?sslmode=require&sslrootcert=/ca.pem",
        );
        assert_eq!(ways(world().env(&[local, own])), [(tls, None), known.clone()]);
        let nowhere = world().env(&[
            local,
            (DIRECT.0, "postgres://u@db.example/app?sslrootcert=/no.pem"),
        ]);
        let wrong = nowhere.wrong();
        assert!(
            wrong.contains("DATABASE_DIRECT_URL") && wrong.contains("`sslrootcert` that cannot be read"),
            "{wrong}"
        );
    }
    let alone = ("DATABASE_URL", "postgres://u@localhost/app");
    assert_eq!(ways(world().env(&[alone, CA])), [known.clone(), known]);
    let plain = ("DATABASE_URL", "postgres://u@localhost/app?sslmode=disable");
    let wrong = world().env(&[plain, CA]).wrong();
    assert!(wrong.contains("of no use without TLS"), "{wrong}");
}
