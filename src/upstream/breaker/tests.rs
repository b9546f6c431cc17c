//! Whom failures keep out and for how long, by a paused clock.

use super::state::{FAILURES, FIRST_REST, FLOWING_ALONE, LONGEST_REST};
use super::*;
use Priority::{App, Backfill, Refetch, Stranger};

fn send(breaker: &Breaker, came: Result<u16, UpstreamError>) -> Result<(), Duration> {
    let mut pass = breaker.admit(App, Try::Prompt)?;
    pass.note(came.map(|status| StatusCode::from_u16(status).unwrap()));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_bring_a_rest_and_success_ends_it() {
    let breaker = Breaker::default();
    for failure in [
        Err(UpstreamError::Timeout),
        Ok(503),
        Err(UpstreamError::Unreachable(Obstacle::Refused)),
        Ok(504),
    ] {
        assert_eq!(send(&breaker, failure), Ok(()));
    }
    assert_eq!((breaker.health(), breaker.trouble()), (Health::Closed, None));
    assert_eq!(send(&breaker, Err(UpstreamError::Broken)), Ok(()));
    assert_eq!(breaker.trouble(), Some(Fault::Unanswered(UpstreamError::Broken)));
    assert_eq!(
        (breaker.health(), send(&breaker, Ok(200))),
        (Health::Open, Err(FIRST_REST))
    );
    tokio::time::advance(FIRST_REST).await;
    assert_eq!(
        (breaker.health(), breaker.admits(App, Try::Prompt)),
        (Health::Open, Ok(()))
    );
    assert_eq!(
        (send(&breaker, Ok(404)), breaker.health()),
        (Ok(()), Health::Closed)
    );
    assert_eq!(breaker.trouble(), None);
}

#[test]
fn what_usertap_lacks_itself_is_no_failure_of_the_provider() {
    let breaker = Breaker::default();
    for _ in 0..=FAILURES {
        let short = UpstreamError::Unreachable(Obstacle::Short);
        assert_eq!(send(&breaker, Err(short)), Ok(()));
    }
    assert_eq!((breaker.health(), breaker.trouble()), (Health::Closed, None));
}

#[tokio::test(start_paused = true)]
async fn a_try_that_takes_long_holds_up_nobody_for_long() {
    let breaker = Breaker::default();
    let early = breaker.admit(App, Try::Prompt).unwrap();
    for _ in 0..FAILURES {
        assert_eq!(send(&breaker, Err(UpstreamError::Timeout)), Ok(()));
    }
    tokio::time::advance(FIRST_REST).await;
    let slow = breaker.admit(App, Try::Prompt).unwrap();
    drop(early);
    assert_eq!(
        breaker.admits(App, Try::Prompt),
        Err(FIRST_REST),
        "what was sent before is no try"
    );
    tokio::time::advance(LONGEST_REST).await;
    assert_eq!(send(&breaker, Ok(200)), Ok(()));
    drop(slow);
    assert_eq!(breaker.health(), Health::Closed);
}

#[tokio::test(start_paused = true)]
async fn who_left_late_and_got_no_answer_in_what_was_left_says_nothing() {
    let breaker = Breaker::default();
    let enough = Duration::from_secs(4);
    for seconds in [[3; FAILURES as usize], [4; FAILURES as usize]] {
        assert_eq!(breaker.health(), Health::Closed);
        for waited in seconds.map(Duration::from_secs) {
            breaker.admit(App, Try::Prompt).unwrap().timed_out(waited, enough);
        }
    }
    assert_eq!(breaker.health(), Health::Open);
}

#[tokio::test(start_paused = true)]
async fn one_success_between_failures_is_health() {
    let breaker = Breaker::default();
    for round in 0..FAILURES * 3 {
        let came = if round % 4 == 3 { Ok(500) } else { Ok(502) };
        assert_eq!(send(&breaker, came), Ok(()));
    }
    assert_eq!(breaker.health(), Health::Closed);
}

#[tokio::test(start_paused = true)]
async fn one_at_a_time_tries_and_each_failure_lengthens_the_rest() {
    let breaker = Breaker::default();
    for _ in 0..FAILURES {
        send(&breaker, Ok(503)).unwrap();
    }
    let mut rest = FIRST_REST;
    for _ in 0..8 {
        tokio::time::advance(rest).await;
        let mut pass = breaker.admit(App, Try::Prompt).unwrap();
        assert!(breaker.admit(App, Try::Prompt).is_err(), "another is trying");
        pass.note(Err(UpstreamError::Timeout));
        drop(pass);
        rest = (rest * 2).min(LONGEST_REST);
        assert_eq!(breaker.admit(App, Try::Prompt).map(drop), Err(rest));
    }
    assert_eq!(rest, LONGEST_REST);
}

#[tokio::test(start_paused = true)]
async fn a_try_that_came_to_nothing_leaves_the_next_one_free() {
    let breaker = Breaker::default();
    for _ in 0..FAILURES {
        send(&breaker, Ok(503)).unwrap();
    }
    tokio::time::advance(FIRST_REST).await;
    drop(breaker.admit(App, Try::Prompt).unwrap());
    assert_eq!(send(&breaker, Ok(200)), Ok(()));
    assert_eq!(breaker.health(), Health::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_dawdles_keeps_nobody_from_trying() {
    let breaker = Breaker::default();
    for _ in 0..FAILURES {
        send(&breaker, Ok(503)).unwrap();
    }
    tokio::time::advance(FIRST_REST).await;
    let flowing = breaker.admit(App, Try::Flowing).unwrap();
    assert_eq!(breaker.admits(App, Try::Flowing), Err(FIRST_REST));
    let mut prompt = breaker.admit(App, Try::Prompt).unwrap();
    drop(flowing);
    let prompt_tries = Err(FIRST_REST);
    assert_eq!(
        breaker.admits(App, Try::Prompt),
        prompt_tries,
        "another's end is not its own"
    );
    prompt.note(Ok(StatusCode::OK));
    drop(prompt);
    assert_eq!(breaker.health(), Health::Closed);
    for _ in 0..FAILURES {
        send(&breaker, Ok(503)).unwrap();
    }
    tokio::time::advance(FIRST_REST).await;
    let _flowing = breaker.admit(App, Try::Flowing).unwrap();
    tokio::time::advance(FLOWING_ALONE).await;
    assert!(breaker.admit(App, Try::Flowing).is_ok(), "where nobody else asks");
}

fn send_as(breaker: &Breaker, whose: Priority, status: u16) -> Result<(), Duration> {
    let mut pass = breaker.admit(whose, Try::Prompt)?;
    pass.note(Ok(StatusCode::from_u16(status).unwrap()));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_fails_for_strangers_rests_strangers_alone() {
    let breaker = Breaker::default();
    for _ in 0..FAILURES {
        assert_eq!(send_as(&breaker, Stranger, 503), Ok(()));
    }
    let kept_out = Err(FIRST_REST);
    assert_eq!(
        (breaker.admits(Stranger, Try::Prompt), breaker.health()),
        (kept_out, Health::HalfOpen)
    );
    // One of them failed before, and none of theirs counts for those who are known.
    for _ in 1..FAILURES {
        assert_eq!(send_as(&breaker, App, 503), Ok(()));
    }
    assert_eq!(breaker.health(), Health::HalfOpen);
    assert_eq!(send_as(&breaker, App, 200), Ok(()));
    assert_eq!(
        (breaker.admits(Stranger, Try::Prompt), breaker.health()),
        (Ok(()), Health::Closed)
    );
}

#[tokio::test(start_paused = true)]
async fn a_stranger_that_tries_keeps_nobody_who_is_known_from_trying() {
    let breaker = Breaker::default();
    for _ in 0..FAILURES {
        assert_eq!(send_as(&breaker, App, 503), Ok(()));
    }
    assert_eq!(breaker.health(), Health::Open);
    assert_eq!(breaker.admits(Stranger, Try::Prompt), Err(FIRST_REST));
    tokio::time::advance(FIRST_REST).await;
    let mut stranger = breaker.admit(Stranger, Try::Prompt).unwrap();
    let known = breaker.admit(App, Try::Prompt).unwrap();
    stranger.note(Err(UpstreamError::Broken));
    drop(stranger);
    assert_eq!(breaker.health(), Health::HalfOpen, "another's try goes on");
    drop(known);
    assert_eq!(breaker.admits(App, Try::Prompt), Ok(()));
    // As long as it is strangers alone who ask, they find out.
    tokio::time::advance(FIRST_REST * 2).await;
    assert_eq!(send_as(&breaker, Stranger, 200), Ok(()));
    assert_eq!(breaker.health(), Health::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_fails_for_usertap_itself_keeps_no_app_out() {
    let breaker = Breaker::default();
    for whose in [Backfill, Refetch, Backfill, Refetch, Backfill] {
        assert_eq!(send_as(&breaker, whose, 504), Ok(()));
    }
    assert_eq!(breaker.admits(Backfill, Try::Prompt), Err(FIRST_REST));
    assert_eq!(breaker.admits(Stranger, Try::Prompt), Ok(()));
    assert_eq!(breaker.health(), Health::HalfOpen);
    tokio::time::advance(FIRST_REST).await;
    let _slow = breaker.admit(Backfill, Try::Prompt).unwrap();
    assert_eq!(send_as(&breaker, App, 503), Ok(()), "it waits for no other's try");
    assert_eq!(send_as(&breaker, App, 200), Ok(()));
    assert_eq!(
        (breaker.admits(Refetch, Try::Prompt), breaker.health()),
        (Ok(()), Health::Closed)
    );
    // What fails for apps keeps out everybody.
    for _ in 0..FAILURES {
        send_as(&breaker, App, 503).unwrap();
    }
    for whose in [App, Stranger, Refetch] {
        assert_eq!(breaker.admits(whose, Try::Prompt), Err(FIRST_REST));
    }
}
