//! `/auth/cli`: a terminal waits until somebody signs in for it in a browser.

use http::Method;
use serde_json::json;

use super::super::answer::{Answer, Outcome};
use super::super::call::Call;
use super::super::failure::Failure;
use super::super::project::Purpose;
use super::{ANY, Route, keyed};

pub const ROUTES: &[Route] = &[
    keyed(Method::POST, "/auth/cli", ANY, start),
    keyed(Method::POST, "/auth/cli/poll", ANY, poll),
    keyed(Method::POST, "/auth/cli/complete", ANY, complete),
];

const TWO_HOURS_MILLIS: i64 = 7_200_000;

fn start(call: &mut Call<'_>) -> Outcome {
    let polling_code = call.issue(Purpose::CliPoll { refresh_token: None });
    let login_code = call.issue(Purpose::CliLogin {
        polling_code: polling_code.clone(),
    });
    let expires = chrono::DateTime::from_timestamp_millis(call.now + TWO_HOURS_MILLIS);
    let body = json!({ "polling_code": polling_code, "login_code": login_code, "expires_at": expires });
    Ok(Answer::ok(&body))
}

fn poll(call: &mut Call<'_>) -> Outcome {
    let code = call.text(&call.body()?, "polling_code")?;
    let found = call.project.codes.get(&code).map(|code| code.purpose.clone());
    match found {
        Some(Purpose::CliPoll { refresh_token: None }) => Ok(Answer::ok(&json!({ "status": "waiting" }))),
        Some(Purpose::CliPoll {
            refresh_token: Some(token),
        }) => {
            call.redeem(&code, |_| Some(()))?;
            Ok(Answer::json(
                201,
                &json!({ "status": "success", "refresh_token": token }),
            ))
        }
        _ => Err(Failure::known(
            400,
            "INVALID_POLLING_CODE",
            "The polling code is invalid or does not exist.",
        )),
    }
}

fn complete(call: &mut Call<'_>) -> Outcome {
    let body = call.body()?;
    let login_code = call.text(&body, "login_code")?;
    let refresh_token = call.text(&body, "refresh_token")?;
    let polling_code = call.redeem(&login_code, |purpose| match purpose {
        Purpose::CliLogin { polling_code } => Some(polling_code.clone()),
        _ => None,
    })?;
    if let Some(code) = call.project.codes.get_mut(&polling_code) {
        code.purpose = Purpose::CliPoll {
            refresh_token: Some(refresh_token),
        };
    }
    Ok(Answer::success())
}
