//! What is wrong with the provider: it fails, it refuses the key, or it is somebody else.

use http::StatusCode;

use super::{Problem, problem};
use crate::probe;
use crate::upstream::{Fault, Priority, Upstream};

pub(super) fn of_provider(upstream: &Upstream) -> impl Iterator<Item = Problem> {
    let keeps_out_apps = upstream.falters(Priority::App);
    let fails = upstream.trouble().map(|last| of_failure(last, keeps_out_apps));
    let key = upstream.refused_key().map(of_key);
    let unlike = upstream.unlike().map(of_another);
    fails.into_iter().chain(key).chain(unlike)
}

fn of_failure(last: Fault, keeps_out_apps: bool) -> Problem {
    let who = match keeps_out_apps {
        true => "the provider fails: reads are answered stale where they can be, writes fail",
        false => {
            "the provider fails what usertap asks itself, or callers whom it does not know: what apps ask is answered"
        }
    };
    problem(
        "provider-fails",
        format!("{who}; its last failure: {last}"),
        last.remedy().unwrap_or(
            "nothing to do here but wait; if it lasts, check UPSTREAM and the provider's own status",
        ),
    )
}

fn of_key(refused: u16) -> Problem {
    problem(
        "key-refused",
        format!(
            "the provider answers {refused} to usertap's own requests: users are not re-read, and answers that wait for that \
             leave `none; reread-late`"
        ),
        "correct the provider's secret key and its rights, and the tenant's settings, then restart usertap; this goes with \
         the next of its requests that is answered",
    )
}

fn of_another(status: StatusCode) -> Problem {
    problem(
        "not-the-provider",
        format!(
            "who answers at UPSTREAM is not the provider's API, or not this tenant's: {status} to usertap's own request"
        ),
        format!("{}; it is asked again every half a minute", probe::REMEDY),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{Obstacle, UpstreamError};

    #[test]
    fn only_what_may_pass_by_itself_is_waited_for() {
        let remedy = |last: Fault| of_failure(last, true).remedy;
        let obstacle = |obstacle| Fault::Unanswered(UpstreamError::Unreachable(obstacle));
        for last in [
            Fault::Answered(StatusCode::BAD_GATEWAY),
            Fault::Unanswered(UpstreamError::Timeout),
            obstacle(Obstacle::Refused),
            obstacle(Obstacle::Silent),
        ] {
            assert!(remedy(last).contains("but wait"), "{last}");
        }
        for (last, setting) in [
            (Obstacle::Nameless, "UPSTREAM"),
            (Obstacle::Plain, "http://"),
            (Obstacle::Untrusted, "UPSTREAM_CA"),
        ] {
            let remedy = remedy(obstacle(last));
            assert!(
                remedy.contains(setting) && !remedy.contains("wait"),
                "{last}: {remedy}"
            );
        }
    }
}
