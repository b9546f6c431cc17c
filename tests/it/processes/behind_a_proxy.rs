//! A network that only the operator's own HTTP proxy leads out of.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Server, World, recorded};
use crate::support::forward_proxy::{Allows, ForwardProxy};
use crate::support::free_port;
use crate::support::process::{Settings, setting};

/// `operator:hush-hush`
const SHOWN: &str = "Basic b3BlcmF0b3I6aHVzaC1odXNo";

impl World {
    /// A provider whose name nobody knows but that proxy.
    fn behind(&self, proxy: &str) -> Settings {
        vec![
            setting("USERTAP_UPSTREAM", "http://provider.invalid"),
            setting("USERTAP_UPSTREAM_PROXY", proxy),
            setting("USERTAP_TIMEOUT", "5s"),
        ]
    }

    async fn proxy(&self, allows: Allows) -> ForwardProxy {
        ForwardProxy::start(allows, self.sandbox.addr(), &self.tasks).await
    }
}

#[tokio::test]
async fn everything_goes_through_it() {
    let world = World::with_users(3).await;
    let proxy = world.proxy(Allows::Holder(SHOWN)).await;
    assert_eq!(STANDARD.encode("operator:hush-hush"), SHOWN["Basic ".len()..]);
    let behind = world.behind(&format!("http://operator:hush-hush@{}", proxy.addr));
    let walked = world.start_with(&["backfill", "--json"], &behind).ended().await;
    assert_eq!(walked.with_code(0).json()["inserted"], 3);
    let server = Server::of(world.start_with(&["serve"], &behind)).await;
    assert_eq!(recorded(&server.create(&world, "Ada").await), "committed");
    let doctor = world.start_with(&["doctor"], &behind).ended().await.with_code(0);
    server.has_no_problem().await;
    let asked = proxy.asked();
    assert!(!asked.is_empty());
    for line in asked {
        assert_eq!(line, "CONNECT provider.invalid:80 HTTP/1.1");
    }
    let said = server.stop().await.log() + &doctor.log() + &doctor.stdout.join("\n");
    assert!(!said.contains("hush") && !said.contains(SHOWN), "{said}");
}

#[tokio::test]
async fn where_it_makes_no_way_it_is_named() {
    let world = World::with_users(0).await;
    // Bound once and for all, which takes the provider's word.
    world.serve().await.stop().await;
    let locked = world.proxy(Allows::Holder(SHOWN)).await.addr;
    let refuses = world.proxy(Allows::Nobody).await.addr;
    let away = format!("127.0.0.1:{}", free_port());
    for (url, words) in [
        (
            format!("http://operator:wrong-one@{locked}"),
            ["asks for a user and a password", "into UPSTREAM_PROXY"],
        ),
        (
            format!("http://{refuses}"),
            ["makes no tunnel to UPSTREAM", "allow CONNECT"],
        ),
        (
            format!("http://{away}"),
            ["UPSTREAM_PROXY names cannot be reached", "see to that proxy"],
        ),
    ] {
        let behind = world.behind(&url);
        let server = Server::of(world.start_with(&["serve"], &behind)).await;
        for _ in 0..5 {
            let reply = server.get(&world, "/users/me").await;
            assert!(reply.status.is_server_error(), "{}", reply.status);
            assert!(!reply.text().contains("PROXY"), "{}", reply.text());
        }
        server.names(&["provider-fails", words[0], words[1]]).await;
        let status = server.status().await.to_string();
        let said = server.stop().await.log() + &status;
        assert!(!said.contains("wrong-one"), "{said}");
    }
}

#[tokio::test]
async fn a_proxy_that_cannot_be_spoken_to_is_a_mistake_in_the_settings() {
    let world = World::with_users(0).await;
    let behind = world.behind("socks5://operator:hush-hush@127.0.0.1:1080");
    let ended = world.start_with(&["serve"], &behind).ended().await;
    let log = ended.with_code(2).log();
    assert!(
        log.contains("UPSTREAM_PROXY") && log.contains("must start with `http://`"),
        "{log}"
    );
    assert!(!log.contains("hush"), "{log}");
}
