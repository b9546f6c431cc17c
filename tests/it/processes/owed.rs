//! Reads that are owed by the thousand: each comes to its turn, and whoever has no row comes first; none
//! holds up a stop.

use serde_json::json;
use usertap::sandbox::{Action, Fault, Gate};
use uuid::Uuid;

use super::World;
use crate::support::eventually;

/// Seldom: one look must lead to the next by itself.
const SELDOM: &str = "owed-every=8000ms";
/// More than the queue of hints holds.
const MANY: usize = 1_300;

impl World {
    /// Every user has a row.
    async fn with_rows(users: usize) -> World {
        let world = World::with_users(users).await;
        world.backfill().await;
        world.control().forget_traffic();
        world.and("FAILPOINTS", SELDOM).and("USERTAP_RATE", "100000/1s")
    }

    /// A read is owed of each of them.
    async fn doubt(&self, whom: &str) {
        let sql = format!("UPDATE usertap.user_state SET doubt = position WHERE {whom}");
        self.client.batch_execute(&sql).await.expect("a statement");
    }

    /// Nothing is owed any more, however long it takes while it goes on.
    async fn drained(&self) {
        let mut left = self.owed().await;
        while left > 0 {
            left = eventually("more is read", || async {
                let now = self.owed().await;
                (now == 0 || now + 400 <= left).then_some(now)
            })
            .await;
        }
    }

    /// The users that were read, in that order.
    fn read(&self) -> Vec<Uuid> {
        let log = self.control().log();
        let ids = log.iter().filter_map(|asked| {
            let (_, id) = asked.target.split_once("/users/")?;
            id.parse().ok()
        });
        ids.collect()
    }
}

#[tokio::test]
async fn what_is_owed_is_read_to_its_end_without_a_pause() {
    let world = World::with_rows(MANY).await;
    let first = world.control().ids(0)[0];
    world.doubt(&format!("id = '{first}'")).await;
    let server = world.serve().await;
    world.owes_nothing().await;
    // That read ended while nobody waited for its place.
    world.doubt("standing = 'present'").await;
    world.drained().await;
    assert!(world.read().len() > MANY, "each was read");
    server.stop().await;
}

/// Nothing can refer to them until they are read.
#[tokio::test]
async fn whoever_has_no_row_is_read_before_those_who_have() {
    let world = World::with_rows(300).await;
    world.doubt("standing = 'present'").await;
    let new = world.control().create(0, json!({ "display_name": "New" }));
    let new = new.expect("a user");
    let sql = format!(
        "INSERT INTO usertap.user_state (id, position, standing, doubt)
         SELECT '{new}', 0, 'none', position FROM usertap.meta"
    );
    world.client.batch_execute(&sql).await.expect("a statement");
    let server = world.serve().await;
    world.drained().await;
    let read = world.read();
    let place = read.iter().position(|id| *id == new).expect("she was read");
    assert!(place < 150, "{place} were read before her");
    server.stop().await;
}

/// It is read after the next start.
#[tokio::test]
async fn a_read_that_the_provider_does_not_answer_holds_up_no_stop() {
    let world = World::with_rows(1).await.and("USERTAP_DRAIN", "5s");
    world.doubt("standing = 'present'").await;
    let gate = Gate::new();
    // The start's own question is of nobody.
    let path = format!("/users/{}", world.control().ids(0)[0]);
    let read = Fault::on(&path, Action::HoldBefore(gate.clone()));
    world.control().fault(read);
    let server = world.serve().await;
    gate.reached().await;
    let stopped = server.stop().await;
    let log = stopped.log();
    assert!(log.contains("stopping") && !log.contains("DRAIN"), "{log}");
    assert_eq!(world.owed().await, 1);
    gate.release();
    let server = world.serve().await;
    world.owes_nothing().await;
    server.stop().await;
}
