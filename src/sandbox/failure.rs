//! What goes wrong for a caller, in the provider's words.
//!
//! A known error has a code that SDKs match on, so its code, status and details are as recorded or
//! as the provider's `known-errors.tsx` has them. The others are bare text.

use serde_json::{Value, json};

/// A 4xx or 5xx.
#[derive(Debug)]
pub struct Failure {
    pub status: u16,
    /// None where the provider answers bare text.
    pub code: Option<&'static str>,
    pub details: Option<Value>,
    pub message: String,
    /// Its framework answers before the API's own code does: the status is never overridden.
    pub outermost: bool,
}

impl Failure {
    pub fn text(status: u16, message: impl Into<String>) -> Failure {
        Failure {
            status,
            code: None,
            details: None,
            message: message.into(),
            outermost: false,
        }
    }

    pub fn known(status: u16, code: &'static str, message: impl Into<String>) -> Failure {
        Failure {
            status,
            code: Some(code),
            details: None,
            message: message.into(),
            outermost: false,
        }
    }

    fn with(self, details: Value) -> Failure {
        Failure {
            details: Some(details),
            ..self
        }
    }

    pub fn method_not_allowed() -> Failure {
        Failure {
            outermost: true,
            ..Failure::text(405, "")
        }
    }

    /// U+0000 and the like, which its database refuses.
    pub fn internal() -> Failure {
        Failure::text(
            500,
            "Something went wrong. Please make sure the data you entered is correct.",
        )
    }

    pub fn schema(message: impl Into<String>) -> Failure {
        let message = message.into();
        let details = json!({ "message": message });
        Failure::known(400, "SCHEMA_ERROR", message).with(details)
    }

    pub fn body(message: &str) -> Failure {
        Failure::known(400, "BODY_PARSING_ERROR", message)
    }

    pub fn access_type_required() -> Failure {
        Failure::known(
            400,
            "ACCESS_TYPE_REQUIRED",
            "You must specify an access level for this Stack project. Make sure project API keys are provided \
             (eg. x-stack-publishable-client-key) and you set the x-stack-access-type header to 'client', 'server', \
             or 'admin'.",
        )
    }

    pub fn key_without_access_type() -> Failure {
        Failure::known(
            400,
            "PROJECT_KEY_WITHOUT_ACCESS_TYPE",
            "Either an API key or an admin access token was provided, but the x-stack-access-type header is missing. \
             Set it to 'client', 'server', or 'admin' as appropriate.",
        )
    }

    pub fn invalid_access_type(given: &str) -> Failure {
        let message = format!(
            "The x-stack-access-type header must be 'client', 'server', or 'admin', but was '{given}'."
        );
        Failure::known(400, "INVALID_ACCESS_TYPE", message)
    }

    pub fn access_type_without_project(access: &str) -> Failure {
        let message = format!(
            "The x-stack-access-type header was '{access}', but the x-stack-project-id header was not provided."
        );
        Failure::known(400, "ACCESS_TYPE_WITHOUT_PROJECT_ID", message).with(json!({ "request_type": access }))
    }

    pub fn insufficient_access(actual: &str, allowed: &[&str]) -> Failure {
        let list = allowed
            .iter()
            .map(|name| format!("'{name}'"))
            .collect::<Vec<_>>()
            .join(" or ");
        let message = format!("The x-stack-access-type header must be {list}, but was '{actual}'.");
        Failure::known(401, "INSUFFICIENT_ACCESS_TYPE", message)
            .with(json!({ "actual_access_type": actual, "allowed_access_types": allowed }))
    }

    /// `code` is the one of the key's kind, `kind` how messages name it.
    pub fn invalid_key(code: &'static str, kind: &str, project: &str) -> Failure {
        let message = format!(
            "The {kind} is not valid for the project \"{project}\". Does the project and/or the key exist?"
        );
        Failure::known(401, code, message).with(json!({ "project_id": project }))
    }

    pub fn project_not_found(project: &str) -> Failure {
        let message = format!(
            "The current project with ID {project} was not found. Please check the value of the x-stack-project-id \
             header."
        );
        Failure::known(400, "CURRENT_PROJECT_NOT_FOUND", message).with(json!({ "project_id": project }))
    }

    pub fn branch_does_not_exist(branch: &str) -> Failure {
        Failure::known(
            400,
            "BRANCH_DOES_NOT_EXIST",
            format!("The branch with ID {branch} does not exist."),
        )
        .with(json!({ "branch_id": branch }))
    }

    pub fn access_token_expired(expired_at_millis: i64) -> Failure {
        Failure::known(
            401,
            "ACCESS_TOKEN_EXPIRED",
            "Access token has expired. Please refresh it and try again.",
        )
        .with(json!({ "expired_at_millis": expired_at_millis }))
    }

    pub fn unparsable_access_token() -> Failure {
        Failure::known(401, "UNPARSABLE_ACCESS_TOKEN", "Access token is not parsable.")
    }

    pub fn token_of_another_project(expected: &str, actual: &str) -> Failure {
        let message = format!(
            "Access token not valid for this project. Expected project ID \"{expected}\", but the token is for \
             project ID \"{actual}\"."
        );
        Failure::known(401, "INVALID_PROJECT_FOR_ACCESS_TOKEN", message)
            .with(json!({ "expected_project_id": expected, "actual_project_id": actual }))
    }

    pub fn anonymous_not_allowed() -> Failure {
        Failure::known(
            401,
            "ANONYMOUS_AUTHENTICATION_NOT_ALLOWED",
            "X-Stack-Access-Token is for an anonymous user, but anonymous users are not enabled. Set the \
             X-Stack-Allow-Anonymous-User header of this request to 'true' to allow anonymous users.",
        )
    }

    pub fn restricted_not_allowed(reason: &Value) -> Failure {
        Failure::known(
            403,
            "RESTRICTED_USER_NOT_ALLOWED",
            "The user in the access token is in restricted state. Please pass the X-Stack-Allow-Restricted-User \
             header if this is intended.",
        )
        .with(json!({ "restricted_reason": reason }))
    }

    pub fn refresh_token_not_found() -> Failure {
        Failure::known(
            401,
            "REFRESH_TOKEN_NOT_FOUND_OR_EXPIRED",
            "Refresh token not found for this project, or the session has expired/been revoked.",
        )
    }

    pub fn user_not_found() -> Failure {
        Failure::known(404, "USER_NOT_FOUND", "User not found.")
    }

    pub fn no_own_user() -> Failure {
        Failure::known(
            400,
            "CANNOT_GET_OWN_USER_WITHOUT_USER",
            "You have specified 'me' as a userId, but did not provide authentication for a user.",
        )
    }

    pub fn user_authentication_required() -> Failure {
        Failure::known(
            401,
            "USER_AUTHENTICATION_REQUIRED",
            "User authentication required for this endpoint.",
        )
    }

    pub fn email_exists(email: &str) -> Failure {
        Failure::known(
            409,
            "USER_EMAIL_ALREADY_EXISTS",
            format!("A user with email \"{email}\" already exists."),
        )
        .with(json!({ "email": email, "would_work_if_email_was_verified": false }))
    }

    pub fn channel_used_for_auth(value: &str) -> Failure {
        Failure::known(
            409,
            "CONTACT_CHANNEL_ALREADY_USED_FOR_AUTH_BY_SOMEONE_ELSE",
            format!(
                "The email \"{value}\" is already used for authentication by another account. Please use a \
                     different email."
            ),
        )
        .with(json!({ "type": "email", "contact_channel_value": value }))
    }

    pub fn email_password_mismatch() -> Failure {
        Failure::known(400, "EMAIL_PASSWORD_MISMATCH", "Wrong e-mail or password.")
    }

    pub fn password_too_short(minimum: usize) -> Failure {
        let message = format!("Password too short. Minimum length is {minimum}.");
        Failure::known(400, "PASSWORD_TOO_SHORT", message).with(json!({ "min_length": minimum }))
    }

    pub fn no_password() -> Failure {
        Failure::known(
            400,
            "USER_DOES_NOT_HAVE_PASSWORD",
            "This user does not have password authentication enabled.",
        )
    }

    pub fn password_mismatch() -> Failure {
        Failure::known(400, "PASSWORD_CONFIRMATION_MISMATCH", "Passwords do not match.")
    }

    pub fn second_factor_required(attempt_code: &str) -> Failure {
        Failure::known(
            400,
            "MULTI_FACTOR_AUTHENTICATION_REQUIRED",
            "Multi-factor authentication is required for this user.",
        )
        .with(json!({ "attempt_code": attempt_code }))
    }

    pub fn invalid_totp() -> Failure {
        Failure::known(
            400,
            "INVALID_TOTP_CODE",
            "The TOTP code is invalid. Please try again.",
        )
    }

    pub fn code_not_found() -> Failure {
        let message = "The verification code does not exist for this project.";
        Failure::known(404, "VERIFICATION_CODE_NOT_FOUND", message)
    }

    pub fn code_already_used() -> Failure {
        let message = "The verification link has already been used.";
        Failure::known(409, "VERIFICATION_CODE_ALREADY_USED", message)
    }

    pub fn email_already_verified() -> Failure {
        Failure::known(409, "EMAIL_ALREADY_VERIFIED", "The e-mail is already verified.")
    }

    pub fn invalid_authorization_code() -> Failure {
        Failure::known(
            400,
            "INVALID_AUTHORIZATION_CODE",
            "The given authorization code is invalid.",
        )
    }

    pub fn team_not_found(team: &str) -> Failure {
        Failure::known(404, "TEAM_NOT_FOUND", format!("Team {team} not found."))
            .with(json!({ "team_id": team }))
    }

    pub fn membership_exists() -> Failure {
        Failure::known(
            409,
            "TEAM_MEMBERSHIP_ALREADY_EXISTS",
            "Team membership already exists.",
        )
    }

    pub fn membership_not_found(team: &str, user: &str) -> Failure {
        let message = format!("User {user} is not found in team {team}.");
        Failure::known(404, "TEAM_MEMBERSHIP_NOT_FOUND", message)
            .with(json!({ "team_id": team, "user_id": user }))
    }

    pub fn cannot_delete_current_session() -> Failure {
        Failure::known(
            400,
            "CANNOT_DELETE_CURRENT_SESSION",
            "Cannot delete the current session.",
        )
    }

    pub fn oauth_not_connected() -> Failure {
        let message = "The OAuth connection is not connected to any user.";
        Failure::known(400, "OAUTH_CONNECTION_NOT_CONNECTED_TO_USER", message)
    }
}
