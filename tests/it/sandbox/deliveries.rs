//! Webhooks as no provider promises that they do not come: late, twice, in another order.

use std::time::Duration;

use serde_json::{Value, json};
use usertap::sandbox::{Deliveries, Options};
use usertap::tasks::Tasks;

use super::Bench;
use crate::support::eventually;
use crate::support::shapes::Shapes;

/// What comes of two users' making: names, in the order in which they came, and how many events.
async fn delivered(deliveries: Deliveries, many: usize) -> (Vec<String>, usize) {
    let (tasks, shapes) = (Tasks::default(), Shapes::default());
    let address = shapes.start(&tasks).await;
    shapes.on("POST /hook", 200, "{}");
    let bench = Bench::new(Options {
        webhooks: Some(format!("http://{address}/hook")),
        deliveries,
        ..Options::default()
    })
    .await;
    for name in ["Ada", "Bea"] {
        let user = json!({ "display_name": name });
        bench.sandbox.control().create(0, user).expect("a user");
    }
    let asked = eventually("all of them come", || async {
        let asked = shapes.asked();
        (asked.len() >= many).then_some(asked)
    })
    .await;
    tasks.stop();
    let mut ids: Vec<_> = asked
        .iter()
        .map(|asked| asked.headers["svix-id"].clone())
        .collect();
    ids.sort_by_key(|id| id.as_bytes().to_vec());
    ids.dedup();
    let name = |body: &[u8]| {
        let event: Value = serde_json::from_slice(body).expect("an event");
        event["data"]["display_name"].as_str().expect("a name").to_owned()
    };
    (asked.iter().map(|asked| name(&asked.body)).collect(), ids.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_comes_behind_the_second_and_both_twice() {
    let as_made = Deliveries::default();
    assert_eq!(delivered(as_made, 2).await.1, 2);
    let late = Deliveries {
        delay: Duration::from_millis(50),
        reordered: true,
        ..as_made
    };
    assert_eq!(delivered(late, 2).await.0, ["Bea", "Ada"]);
    let (names, events) = delivered(
        Deliveries {
            twice: true,
            ..as_made
        },
        4,
    )
    .await;
    assert_eq!((names.len(), events), (4, 2));
}
