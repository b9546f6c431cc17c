//! A provider that fails: whom it keeps out, and who pays for it.

use super::rig::{Does, Rig};
use super::{path, user};

const NOBODY: &[(&str, &str)] = &[];

fn hung_up(times: usize) -> Vec<Does> {
    vec![Does::HangsUp; times]
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_nobody_that_the_provider_cuts_keep_nobody_out_whom_it_knows() {
    let rig = Rig::new().await;
    // Each is sent once more, and counts once.
    rig.does(hung_up(10));
    for _ in 0..5 {
        let got = rig.ask_as("GET", &path(1), "", NOBODY).await;
        assert_eq!(got.header("x-usertap-error"), "upstream-broken");
    }
    // Who is as little known is spared the wait.
    let got = rig.ask_as("GET", &path(1), "", NOBODY).await;
    assert_eq!(got.header("x-usertap-error"), "breaker-open");
    assert_eq!(rig.seen().len(), 10);
    rig.answers(200, user(1, "Ada"));
    let written = rig.ask("PATCH", &path(1), r#"{"display_name":"Ada"}"#).await;
    assert_eq!(
        (written.status.as_u16(), written.header("x-usertap-error")),
        (200, "")
    );
    // That told how the provider is.
    rig.answers(200, user(1, "Ada"));
    assert_eq!(rig.ask_as("GET", &path(1), "", NOBODY).await.status, 200);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_those_whom_the_provider_knows_keeps_out_everybody() {
    let rig = Rig::new().await;
    rig.does(hung_up(10));
    for _ in 0..5 {
        let got = rig.ask("GET", &path(1), "").await;
        assert_eq!(got.header("x-usertap-error"), "upstream-broken");
    }
    for got in [
        rig.ask("GET", &path(1), "").await,
        rig.ask_as("GET", &path(1), "", NOBODY).await,
    ] {
        assert_eq!(got.header("x-usertap-error"), "breaker-open");
    }
    assert_eq!(rig.seen().len(), 10);
    rig.end().await;
}
