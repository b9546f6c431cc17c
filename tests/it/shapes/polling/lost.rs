//! Places from which polling does not go on: it begins anew, once, and says what it could not tell.

use serde_json::json;

use super::{EVENTS, USER, asked, event, events, problems, provides, workos, workos_user};
use crate::support::eventually;
use crate::support::shapes::Shaped;

async fn fails(world: &Shaped) {
    eventually("it is said", || async {
        problems(world)
            .await
            .contains(&"poll-fails".to_owned())
            .then_some(())
    })
    .await;
}

/// Asked for so often it would take the whole of the limit, and tell the same again and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_never_goes_on_behind_an_event_is_begun_anew_once_and_said_to_fail() {
    let settings = [("WORKOS_API_KEY", "sk_test_1"), ("USERTAP_POLL_EVERY", "1h")];
    let world = Shaped::start("workos", &settings, |shapes| {
        let nobody = r#"{"message":"User not found","code":"entity_not_found"}"#;
        shapes.on(&format!("GET {USER}"), 404, nobody);
        let user = workos_user("user_a", "Ada", 10);
        provides(shapes, &user);
        let all: Vec<_> = (0..100)
            .map(|n| event(&format!("event_{n}"), "user.updated", user.clone()))
            .collect();
        shapes.on(&format!("GET {EVENTS}"), 200, events(&all));
        let unknown = r#"{"message":"No event with this id","code":"invalid_request_parameters"}"#;
        shapes.on(&format!("GET {EVENTS}&after="), 400, unknown);
    })
    .await;
    fails(&world).await;
    let trouble = world.served.status().await["poll"]["trouble"].clone();
    assert!(trouble.to_string().contains("400"), "{trouble}");
    // Twice by time, twice behind the event; whatever else was told, the next turn asks.
    assert_eq!(asked(&world, EVENTS).len(), 4);
    world.end().await;
}

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
