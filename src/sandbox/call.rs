//! One request as its handler sees it.

use bytes::Bytes;
use http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use uuid::Uuid;

use super::access::{Access, Caller};
use super::answer::{Answer, Outcome};
use super::failure::Failure;
use super::project::{Code, Project, Purpose};
use super::token::{ACCESS_TOKEN_SECONDS, Bearer, Signer, opaque};
use super::user::User;
use super::view::{KeyOrder, View};

/// A request, whole.
pub struct Request {
    pub method: Method,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Request {
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body by its content type; null if there is none.
    pub fn body(&self) -> Result<Value, Failure> {
        let content_type = self
            .headers
            .get(http::header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        match content_type.and_then(|value| value.split(';').next()) {
            None | Some("") => Ok(Value::Null),
            Some("application/json") => {
                serde_json::from_slice(&self.body).map_err(|_| Failure::body("Invalid JSON in request body"))
            }
            Some("application/x-www-form-urlencoded") => Ok(form(&self.body)),
            Some(_) => Err(Failure::body("Unknown content type in request body")),
        }
    }
}

fn form(body: &[u8]) -> Value {
    let pairs = url::form_urlencoded::parse(body);
    Value::Object(
        pairs
            .map(|(name, value)| (name.into_owned(), value.into_owned().into()))
            .collect(),
    )
}

/// The segments of a path, decoded. With a slash doubled it is another path.
pub fn segments(path: &str) -> Vec<String> {
    let decode = |segment: &str| percent_decode_str(segment).decode_utf8_lossy().into_owned();
    let inner = path.strip_prefix('/').unwrap_or(path);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    inner.split('/').map(decode).collect()
}

/// A request whose caller is known.
pub struct Call<'w> {
    pub project: &'w mut Project,
    pub caller: Caller,
    pub params: Vec<String>,
    pub request: &'w Request,
    pub signer: &'w Signer,
    /// Milliseconds since 1970.
    pub now: i64,
    pub order: KeyOrder,
}

impl Call<'_> {
    pub fn param(&self, index: usize) -> &str {
        self.params.get(index).map_or("", String::as_str)
    }

    pub fn body(&self) -> Result<Value, Failure> {
        self.request.body()
    }

    /// A string that the body must have.
    pub fn text(&self, body: &Value, field: &str) -> Result<String, Failure> {
        let text = body.get(field).and_then(Value::as_str);
        text.map(str::to_owned)
            .ok_or_else(|| Failure::schema(format!("body.{field} must be defined")))
    }

    /// # Errors
    /// SCHEMA_ERROR for a parameter that the route does not know.
    pub fn only_query(&self, known: &[&str]) -> Result<(), Failure> {
        let unknown = self
            .request
            .query
            .iter()
            .find(|(name, _)| !known.contains(&name.as_str()));
        match unknown {
            None => Ok(()),
            Some((name, _)) => Err(Failure::schema(format!(
                "Request validation failed on {} {}:\n  - query contains unknown properties: {name}",
                self.request.method, self.request.path
            ))),
        }
    }

    pub fn uuid(&self, text: &str) -> Result<Uuid, Failure> {
        let id = Uuid::try_parse(text).ok().filter(|_| text.len() == 36);
        id.ok_or_else(|| Failure::schema(format!("{text} is not a valid UUID")))
    }

    pub fn view(&self) -> View {
        self.caller.access.view()
    }

    /// The user of the access token.
    ///
    /// # Errors
    /// CANNOT_GET_OWN_USER_WITHOUT_USER, also for a live token of a deleted user.
    pub fn me(&self) -> Result<Uuid, Failure> {
        self.caller.user.ok_or_else(Failure::no_own_user)
    }

    /// A user id or `me`. Clients may only name themselves.
    ///
    /// # Errors
    /// USER_NOT_FOUND; CANNOT_GET_OWN_USER_WITHOUT_USER; 403 for another's.
    pub fn named(&self, id: &str) -> Result<Uuid, Failure> {
        let id = if id == "me" { self.me()? } else { self.uuid(id)? };
        if self.caller.access == Access::Client && self.caller.user != Some(id) {
            return Err(Failure::text(403, "Client can only access their own user."));
        }
        self.project
            .user(id)
            .map(|user| user.id)
            .ok_or_else(Failure::user_not_found)
    }

    pub fn existing(&self, id: Uuid) -> Result<&User, Failure> {
        self.project.user(id).ok_or_else(Failure::user_not_found)
    }

    pub fn edit<T>(&mut self, id: Uuid, change: impl FnOnce(&mut User) -> T) -> Result<T, Failure> {
        self.project.edit(id, change).ok_or_else(Failure::user_not_found)
    }

    pub fn show(&self, id: Uuid, status: u16) -> Outcome {
        let user = self.existing(id)?;
        Ok(Answer::json(
            status,
            &self.project.user_view(user, self.view(), self.order),
        ))
    }

    pub fn access_token(&self, bearer: Bearer) -> Result<String, Failure> {
        let token = self
            .signer
            .access_token(self.project, bearer, self.now, ACCESS_TOKEN_SECONDS);
        token.ok_or_else(Failure::user_not_found)
    }

    /// Opens a session and answers with its tokens, or asks for the second factor first.
    ///
    /// # Errors
    /// MULTI_FACTOR_AUTHENTICATION_REQUIRED: what was done before stays done.
    pub fn sign_in(&mut self, user: Uuid, is_new: Option<bool>) -> Outcome {
        if self.existing(user)?.totp_secret.is_some() {
            let code = self.issue(Purpose::SecondFactor { user });
            return Err(Failure::second_factor_required(&code));
        }
        self.open_session(user, is_new)
    }

    /// As [`Call::sign_in`], without the second factor.
    pub fn open_session(&mut self, user: Uuid, is_new: Option<bool>) -> Outcome {
        let (refresh_token, bearer) = self.project.open_session(user, self.now);
        let access_token = self.access_token(bearer)?;
        let mut body =
            json!({ "access_token": access_token, "refresh_token": refresh_token, "user_id": user });
        if let (Some(is_new), Some(fields)) = (is_new, body.as_object_mut()) {
            fields.insert("is_new_user".into(), is_new.into());
        }
        Ok(Answer::ok(&body))
    }

    pub fn issue(&mut self, purpose: Purpose) -> String {
        let code = opaque();
        self.project
            .codes
            .insert(code.clone(), Code { purpose, used: false });
        code
    }

    pub fn mail(&mut self, address: &str, purpose: Purpose) {
        let code = self.issue(purpose);
        self.project.mailbox.insert(address.to_owned(), code);
    }

    /// Uses a code up, if it is good for what it is shown for.
    ///
    /// # Errors
    /// VERIFICATION_CODE_NOT_FOUND, VERIFICATION_CODE_ALREADY_USED.
    pub fn redeem<T>(&mut self, code: &str, fits: impl Fn(&Purpose) -> Option<T>) -> Result<T, Failure> {
        let code = self
            .project
            .codes
            .get_mut(code)
            .ok_or_else(Failure::code_not_found)?;
        let found = fits(&code.purpose).ok_or_else(Failure::code_not_found)?;
        if std::mem::replace(&mut code.used, true) {
            return Err(Failure::code_already_used());
        }
        Ok(found)
    }
}
