//! Places from which polling does not go on: it begins anew, once, and says what it could not tell.

use serde_json::json;

use super::{EVENTS, asked, problems, workos};
use crate::support::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_cannot_be_read_is_said_until_a_reconcile_though_polling_is_switched_off() {
    let mut world = workos().await;
    world.served.stop().await;
    let spoilt = r#"UPDATE usertap.poll SET place = '{"known_to": "lately"}'"#;
    world.served.client.execute(spoilt, &[]).await.expect("an update");
    world.served.start_again().await;
    eventually("it is said", || async {
        (problems(&world).await == ["poll-missed"]).then_some(())
    })
    .await;
    let before = asked(&world, EVENTS).len();
    eventually("it polls from now on", || async {
        (asked(&world, EVENTS).len() > before).then_some(())
    })
    .await;

    world.served.stop().await;
    world.served.set("USERTAP_POLL_EVERY", "off");
    world.served.start_again().await;
    assert_eq!(problems(&world).await, ["poll-missed"]);
    let list = json!({"object": "list", "data": [], "list_metadata": {"before": null, "after": null}});
    world.shapes.on("GET /user_management/users?", 200, list);
    assert_eq!(world.served.walk("reconcile").await["state"], "done");
    assert_eq!(problems(&world).await, Vec::<String>::new());
    world.end().await;
}
