//! Polling by processes that come and go: one asks, another goes on where that one dies.

use ::http::Method;
use usertap::sandbox::{Options, Plays};

use super::{Server, World};
use crate::support::eventually;
use crate::support::process::setting;

impl World {
    async fn polling(&self, name: &str) -> Server {
        let folder = self.folder.path().join(name);
        let also = [
            setting("USERTAP_DATA_DIR", folder.display()),
            setting("USERTAP_POLL_EVERY", "1s"),
        ];
        Server::of(self.start_with(&["serve"], &also)).await
    }

    fn polls(&self) -> u64 {
        self.control().count(&Method::GET, "/users")
    }

    async fn poller(&self) -> Option<String> {
        let sql = "SELECT owner::text FROM usertap.poll";
        self.client.query_one(sql, &[]).await.ok()?.get(0)
    }

    async fn follows(&self, id: &str, name: &str) {
        let renamed = self.control().in_clerk(|clerk| clerk.rename(0, id, name));
        assert_eq!(renamed, Some(true));
        self.is_followed(id, name).await;
    }

    async fn is_followed(&self, id: &str, name: &str) {
        let sql = "SELECT raw_json ->> 'first_name' FROM neon_identity.users_sync WHERE id = $1";
        eventually("the row follows", || async {
            let row = self.client.query_opt(sql, &[&id]).await.ok()??;
            (row.get::<_, Option<String>>(0).as_deref() == Some(name)).then_some(())
        })
        .await;
    }

    async fn place(&self) -> String {
        let sql = "SELECT place::text FROM usertap.poll";
        self.client.query_one(sql, &[]).await.expect("a place").get(0)
    }
}

async fn sent(server: &Server) -> u64 {
    server.status().await["budget"]["given"]["backfill"]
        .as_u64()
        .expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_polls_and_the_other_goes_on_where_it_dies() {
    let world = World::new(Options {
        plays: Plays::Clerk,
        users: 2,
        ..Options::default()
    })
    .await;
    let id = world.control().in_clerk(|clerk| clerk.ids(0)).expect("Clerk")[0].clone();
    let one = world.polling("one").await;
    world.follows(&id, "Ada").await;
    let poller = world.poller().await;
    assert!(poller.is_some());
    let other = world.polling("other").await;
    let before = world.polls();
    eventually("it goes on polling", || async {
        (world.polls() >= before + 4).then_some(())
    })
    .await;
    assert_eq!(sent(&other).await, 0, "both of them poll");
    assert_eq!(world.poller().await, poller);
    one.process.killed().await;
    world.follows(&id, "Countess").await;
    assert_ne!(world.poller().await, poller);
    // Ended in order, it is another's at once, and there is nobody now.
    other.stop().await;
    assert_eq!(world.poller().await, None);
}

/// Neither the table takes it nor the journal: it is asked for again until one of them does.
#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_recorded_is_said_and_passed_over_by_nobody() {
    let world = World::new(Options {
        plays: Plays::Clerk,
        users: 1,
        ..Options::default()
    })
    .await
    .and("USERTAP_SYNC_TIMEOUT", "2s");
    let id = world.control().in_clerk(|clerk| clerk.ids(0)).expect("Clerk")[0].clone();
    let journal = world.folder.path().join("one").join("journal");
    std::fs::create_dir_all(world.folder.path().join("one")).expect("a folder");
    std::fs::write(&journal, "in the way").expect("a file");
    let one = world.polling("one").await;
    world.follows(&id, "Ada").await;
    world
        .sql("BEGIN; LOCK TABLE neon_identity.users_sync IN EXCLUSIVE MODE")
        .await;
    let renamed = world.control().in_clerk(|clerk| clerk.rename(0, &id, "Countess"));
    assert_eq!(renamed, Some(true));
    let trouble = async || one.status().await["poll"]["trouble"].as_str().map(str::to_owned);
    let said = eventually("it is said", trouble).await;
    assert!(said.contains("could not be recorded"), "{said}");
    let place = world.place().await;
    let before = world.polls();
    eventually("it asks again", || async {
        (world.polls() > before).then_some(())
    })
    .await;
    assert_eq!(world.place().await, place);
    world.sql("ROLLBACK").await;
    world.is_followed(&id, "Countess").await;
    eventually("nothing is wrong any more", || async {
        trouble().await.is_none().then_some(())
    })
    .await;
    one.stop().await;
}
