//! Where usertap listens, whom it speaks to, and who is believed.

use super::*;

#[test]
fn addresses_must_not_meet_or_lie_open() {
    let wrong = |env: &[(&str, &str)]| World::enough().env(env).wrong();
    assert!(wrong(&[("PORT", "8401")]).contains("ADMIN_LISTEN: has port 8401 like the proxy"));
    let open = ("USERTAP_ADMIN_LISTEN", "0.0.0.0:9000");
    assert!(wrong(&[open]).contains("ADMIN_TOKEN: is missing, but ADMIN_LISTEN is reachable"));
    for (token, is_weak) in [
        ("tok", true),
        ("fifteen-letters", true),
        ("0123456789abcdef", false),
    ] {
        let config = World::enough()
            .env(&[open, ("USERTAP_ADMIN_TOKEN", token)])
            .config();
        let warned = config.warnings.concat();
        assert_eq!(
            warned.contains("ADMIN_TOKEN has fewer than 16"),
            is_weak,
            "{token}: {warned}"
        );
        assert!(!warned.contains(token), "{warned}");
    }
    let both = [
        ("USERTAP_LISTEN", "127.0.0.1:0"),
        ("USERTAP_ADMIN_LISTEN", "127.0.0.1:0"),
    ];
    World::enough().env(&both).config();
    let listen = World::enough()
        .env(&[("USERTAP_LISTEN", "127.0.0.1:1"), ("PORT", "2")])
        .config();
    assert_eq!(listen.listen.port(), 1, "LISTEN counts more than PORT");
}

#[test]
fn a_base_url_with_what_requests_begin_with_is_a_warning() {
    for (url, doubted) in [
        ("https://a.example/api/v1/", true),
        ("https://a.example/api", false),
        ("https://a.example", false),
    ] {
        let warnings = World::enough()
            .env(&[("USERTAP_UPSTREAM", url)])
            .config()
            .warnings
            .concat();
        assert_eq!(
            warnings.contains("UPSTREAM ends in `/api/v1`"),
            doubted,
            "{url}: {warnings}"
        );
    }
}

#[test]
fn usertap_is_not_its_own_upstream() {
    let wrong = World::enough()
        .env(&[("USERTAP_UPSTREAM", "http://localhost:8400/x")])
        .wrong();
    assert!(
        wrong.contains("UPSTREAM (USERTAP_UPSTREAM in the environment): is the address at which"),
        "{wrong}"
    );
    for (upstream, listen, is_itself) in [
        ("http://localhost:8400", "0.0.0.0:8400", true),
        ("http://127.0.0.1:8400", "0.0.0.0:8400", true),
        ("http://192.0.2.1:8400", "192.0.2.1:8400", true),
        ("http://[::1]:8400", "[::]:8400", true),
        ("http://[fd00::1]:8400", "[fd00::1]:8400", true),
        ("http://localhost:8102", "127.0.0.1:8400", false),
        ("http://localhost:8400", "192.0.2.1:8400", false),
        ("http://auth.example:8400", "127.0.0.1:8400", false),
        ("http://[fd00::2]:8400", "[fd00::1]:8400", false),
    ] {
        let world = World::enough().env(&[("USERTAP_UPSTREAM", upstream), ("USERTAP_LISTEN", listen)]);
        let refused = world.read(Needs::Everything).is_err();
        assert_eq!(refused, is_itself, "{upstream} at {listen}");
    }
    let public = [
        ("USERTAP_UPSTREAM", "https://a.example"),
        ("USERTAP_PUBLIC_URL", "https://a.example"),
    ];
    assert!(
        World::enough()
            .env(&public)
            .wrong()
            .contains("is PUBLIC_URL as well")
    );
    let config = World::enough()
        .env(&[("USERTAP_PUBLIC_URL", "https://a.example/auth/")])
        .config();
    assert_eq!(config.base_path(), "/auth");
}

#[test]
fn tls_needs_both_files_and_what_they_should_hold() {
    let cert = [("USERTAP_TLS_CERT", "c.pem")];
    let disk = |world: World| world.on_disk("c.pem", "-----BEGIN CERTIFICATE-----\n");
    assert!(
        disk(World::enough().env(&cert))
            .wrong()
            .contains("TLS_KEY: is missing beside TLS_CERT")
    );
    let key = [("USERTAP_TLS_KEY", "k.pem")];
    let alone = World::enough().env(&key);
    let alone = alone.on_disk("k.pem", "-----BEGIN PRIVATE KEY-----\n").wrong();
    assert!(alone.contains("TLS_CERT: is missing beside TLS_KEY"), "{alone}");
    let both = || disk(World::enough().env(&cert).env(&key));
    assert!(
        both()
            .wrong()
            .contains("TLS_KEY (USERTAP_TLS_KEY in the environment): `k.pem` cannot be read")
    );
    let wrong = both().on_disk("k.pem", "-----BEGIN CERTIFICATE-----\n").wrong();
    assert!(wrong.contains("holds no PEM block of a private key"), "{wrong}");
    let config = both()
        .on_disk("k.pem", "-----BEGIN EC PRIVATE KEY-----\n")
        .config();
    assert!(config.tls.is_some());
}

#[test]
fn whom_to_believe_is_a_list_in_every_place() {
    let trusts = |world: World, peer: &str| world.config().trusted_proxies.has(peer.parse().unwrap());
    assert!(!trusts(World::enough(), "127.0.0.1"));
    let list = "trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]\n";
    for peer in ["127.0.0.1", "10.1.2.3"] {
        assert!(trusts(World::enough().file(list), peer), "{peer}");
    }
    let env = World::enough()
        .file(list)
        .env(&[("USERTAP_TRUSTED_PROXIES", "fd00::/8")]);
    assert!(trusts(env, "fd00::1"));
    let flag = World::enough().file(list).flag("trusted-proxies", "::1");
    assert!(!trusts(flag, "127.0.0.1"), "the flag is over the file");
    let wrong = World::enough()
        .file("trusted_proxies = [\"10.0.0.1/8\", \"::1\", \"nginx\"]\nsync = \"never\"\n")
        .wrong();
    for part in [
        "TRUSTED_PROXIES (usertap.toml:1): `10.0.0.1/8` is an address in a network: write `10.0.0.0/8`",
        "TRUSTED_PROXIES (usertap.toml:1): `nginx` is neither an address nor a network: write",
        "SYNC (usertap.toml:2)",
    ] {
        assert!(wrong.contains(part), "{part}\nin\n{wrong}");
    }
    assert_eq!(wrong.lines().count(), 3, "{wrong}");
}
