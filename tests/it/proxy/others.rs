//! Others who record on the same database: what is kept is given as far as it is known what they did, and they are
//! told of what no change tells them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::time::timeout;
use usertap::cache::Cache;
use usertap::clock;

use super::rig::{Does, Rig};
use super::{path, user};
use crate::support::eventually;

async fn keeping() -> Rig {
    Rig::with(|config| config.cache_ttl = Duration::from_secs(600)).await
}

/// What became of a read.
async fn cached(rig: &Rig) -> String {
    rig.does_no_more();
    rig.answers(200, user(1, "Ada"));
    let got = rig.ask("GET", &path(1), "").await;
    assert_eq!(got.status, 200);
    got.header("x-usertap-cache").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_ends_when_others_come_and_when_they_go() {
    let rig = keeping().await;
    assert_eq!(cached(&rig).await, "miss; absent");
    assert_eq!(cached(&rig).await, "hit; fresh");
    for (shared, word) in [
        (true, "miss; changed"),
        (true, "hit; fresh"),
        (false, "miss; changed"),
    ] {
        rig.cache.set_shared(shared);
        // Far enough ahead for this test: it is good for a second.
        rig.cache.bookmark(clock::now() + Duration::from_secs(60));
        assert_eq!(cached(&rig).await, word, "shared: {shared}");
    }
    rig.end().await;
}

/// Though what another asked for has come meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_waited_asks_anew_where_others_are_no_longer_followed() {
    let long_ago = |cache: &Cache| cache.bookmark(clock::now() - Duration::from_secs(2));
    let not_at_all = |cache: &Cache| cache.hears_nothing();
    for (shared, goes_silent) in [(true, long_ago as fn(&Cache)), (false, not_at_all)] {
        let (rig, path) = (keeping().await, path(1));
        rig.cache.set_shared(shared);
        rig.cache.bookmark(clock::now() + Duration::from_secs(60));
        let gates: [Arc<Notify>; 2] = Default::default();
        let whole = user(1, "Ada");
        rig.does(gates.clone().map(|gate| Does::Waits(gate, whole.clone().into())));
        rig.answers(200, whole);
        let readers = join_all((0..3).map(|_| rig.ask("GET", &path, "")));
        let silence = async {
            eventually("one more asks, and one waits", async || {
                (rig.seen().len() > 1).then_some(())
            })
            .await;
            goes_silent(&rig.cache);
            gates.iter().for_each(|gate| gate.notify_one());
        };
        let (got, ()) = tokio::join!(readers, silence);
        let words = got.iter().map(|got| got.header("x-usertap-cache"));
        assert!(
            words.clone().all(|word| word == "miss; absent"),
            "{:?}",
            words.collect::<Vec<_>>()
        );
        assert_eq!(rig.seen().len(), 3);
        rig.end().await;
    }
}

/// A write without an answer makes no change yet, and there may be others who keep what it changed.
#[tokio::test(flavor = "multi_thread")]
async fn others_are_told_of_a_write_that_no_change_tells_of() {
    let rig = keeping().await;
    let write = async || {
        rig.does([Does::HangsUp]);
        let lost = rig.ask("PATCH", &path(1), r#"{"display_name":"Ada"}"#).await;
        assert_eq!(lost.header("x-usertap-error"), "upstream-broken");
    };
    write().await;
    assert_eq!(rig.cache.to_be_told().now_or_never(), None, "there are none");
    let are_told = async || {
        let told = timeout(Duration::from_secs(30), rig.cache.to_be_told()).await;
        assert!(told.is_ok());
    };
    rig.cache.set_shared(true);
    write().await;
    are_told().await;
    // So many rows were changed by hand that it is not known whose.
    rig.cache.heard(None, "");
    are_told().await;
    rig.cache.set_shared(false);
    // Whether there are any nobody knows.
    rig.cache.hears_nothing();
    write().await;
    are_told().await;
    rig.end().await;
}
