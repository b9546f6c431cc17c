//! What is told of users whom nobody knows, or while nobody knows what others did, without a time at which
//! it was true.

use std::sync::Arc;

use usertap::config::Deleted;
use usertap::record::Effect;
use usertap::user::{Observation, Origin, Position, Source};
use uuid::Uuid;

use super::{Rig, observation, user, view};

/// More than this process remembers to have judged equal.
const MANY: u32 = 17_000;
const PAGE: u32 = 1_000;

fn told(n: u32) -> Observation {
    let source = Source {
        origin: Origin::Webhook,
        route: "user.created".into(),
        request_id: "r".into(),
    };
    Observation::unasked(user(n), view(&user(n), "A"), &Arc::new(source))
}

#[tokio::test]
async fn however_many_were_found_unchanged_a_stranger_is_written_at_once() {
    let rig = Rig::new(Deleted::Keep).await;
    for effect in [Effect::Inserted, Effect::Unchanged] {
        for page in 0..MANY / PAGE {
            let users = (page * PAGE..(page + 1) * PAGE).map(user);
            let seen: Vec<Observation> = users.map(|id| rig.seen(&id, view(&id, "A"))).collect();
            let fared = rig.submit(seen).fared().await.expect("the recorder runs");
            assert!(fared.effects.iter().all(|one| *one == effect), "{effect:?}");
        }
    }
    assert_eq!(rig.fared(told(MANY)).await, Effect::Inserted);
    assert_eq!(rig.row(&user(MANY)).await.as_deref(), Some("A"));
    rig.end().await;
}

/// It was the database that was away, and what waits for it proves what it proved.
#[tokio::test]
async fn only_where_others_judged_meanwhile_is_what_was_sent_before_no_proof() {
    let rig = Rig::new(Deleted::Keep).await;
    let id = user(1);
    rig.record(rig.seen(&id, view(&id, "A"))).await;
    let last = rig.db.text("SELECT recorder::text FROM usertap.meta").await;
    let last: Uuid = last.and_then(|last| last.parse().ok()).expect("it has recorded");
    let mut name = 'A';
    for (others, last, effect) in [
        (false, Some(last), Effect::Updated),
        (false, None, Effect::Updated),
        (true, Some(last), Effect::Older),
        (false, Some(Uuid::new_v4()), Effect::Older),
    ] {
        name = char::from_u32(u32::from(name) + 1).expect("a letter");
        let sent = rig.head.sent();
        assert!(sent.position > Position(0));
        rig.recorder.returned(others, last);
        let seen = observation(&id, view(&id, &name.to_string()), sent);
        assert_eq!(rig.fared(seen).await, effect, "{others} {last:?}");
    }
    rig.end().await;
}
