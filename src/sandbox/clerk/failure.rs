//! What goes wrong for a caller, in Clerk's words.

use serde_json::{Value, json};

#[derive(Debug)]
pub struct Failure {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
    /// The parameter that it is about.
    pub param: Option<String>,
    pub retry_after: Option<u64>,
}

impl Failure {
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Failure {
        Failure {
            status,
            code,
            message: message.into(),
            param: None,
            retry_after: None,
        }
    }

    pub fn not_found() -> Failure {
        Failure::new(404, "resource_not_found", "not found")
    }

    pub fn no_key() -> Failure {
        Failure::new(
            401,
            "authorization_header_format_invalid",
            "Invalid Authorization header format",
        )
    }

    pub fn key() -> Failure {
        Failure::new(
            401,
            "clerk_key_invalid",
            "The provided Clerk Secret Key is invalid.",
        )
    }

    pub fn exists(param: &str) -> Failure {
        let text = "That email address is taken. Please try another.";
        Failure::about(param, "form_identifier_exists", text)
    }

    pub fn invalid(param: &str, text: &str) -> Failure {
        Failure::about(param, "form_param_value_invalid", text)
    }

    pub fn missing(param: &str) -> Failure {
        Failure::about(param, "form_param_missing", &format!("{param} must be included."))
    }

    pub fn body() -> Failure {
        Failure::new(400, "request_body_invalid", "The request body is invalid.")
    }

    fn about(param: &str, code: &'static str, text: &str) -> Failure {
        Failure {
            param: Some(param.to_owned()),
            ..Failure::new(422, code, text)
        }
    }

    /// As it travels.
    pub fn told(&self, trace: &str) -> Value {
        let mut error = json!({ "message": self.message, "long_message": self.message, "code": self.code });
        if let (Some(param), Some(fields)) = (&self.param, error.as_object_mut()) {
            fields.insert("meta".into(), json!({ "param_name": param }));
        }
        json!({ "errors": [error], "clerk_trace_id": trace })
    }
}
