//! What is asked for in a query; anything that is not understood is told, never guessed.

use std::borrow::Cow;
use std::num::IntErrorKind;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, Uri, header};
use uuid::Uuid;

use crate::config::{Config, value};
use crate::feed::event::TYPES;
use crate::feed::{Filter, Shape, Since};
use crate::user::{Origin, Pos, UserId};

/// Of a page whose `limit` nobody names.
pub const LIMIT: u16 = 100;
const MOST: u16 = 1_000;
/// A long poll waits no longer, whatever it asks for: proxies between cut at a minute.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How the answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Page,
    /// One JSON object a line.
    Lines,
    /// Server-sent events.
    Events,
}

/// `GET /v1/changes` and a slot's.
#[derive(Debug)]
pub struct Asked {
    pub since: Since,
    pub limit: u16,
    pub wait: Duration,
    pub filter: Filter,
    pub shape: Shape,
    pub form: Form,
    pub lease: Option<Uuid>,
}

/// `GET /v1/snapshot`.
#[derive(Debug)]
pub struct Rows {
    pub after: Option<UserId>,
    pub limit: u16,
    pub raw: bool,
}

impl Asked {
    pub fn of(request: &Request, config: &Config) -> Result<Asked, String> {
        let mut asked = Asked {
            since: Since::Oldest,
            limit: LIMIT,
            wait: Duration::ZERO,
            filter: Filter::default(),
            shape: Shape::default(),
            form: form(request.headers()),
            lease: None,
        };
        for (name, value) in pairs(request.uri()) {
            asked.take(&name, &value, config)?;
        }
        // A browser that comes back has the first address and the last position.
        let last = request.headers().get("last-event-id").map(|last| last.to_str());
        if let Some(last) = last.filter(|_| asked.form != Form::Page) {
            asked.since = since(last.unwrap_or_default())?;
        }
        Ok(asked)
    }

    fn take(&mut self, name: &str, value: &str, config: &Config) -> Result<(), String> {
        let filter = &mut self.filter;
        match name {
            "since" => self.since = since(value)?,
            "limit" => self.limit = limit(value)?,
            "wait" => self.wait = wait(value)?,
            "before" => self.shape.before = switch(name, value)?,
            "raw" => self.shape.raw = switch(name, value)?,
            "type" => filter.types.extend(some_of(name, value, &TYPES)?),
            "id" => filter.ids.extend(ids(value, config)?),
            "origin" => filter
                .origins
                .extend(some_of(name, value, &Origin::ALL.map(Origin::as_str))?),
            "lease" => self.lease = Some(lease(value)?),
            _ => return Err(unknown(name, "since, limit, wait, type, id, origin, before, raw")),
        }
        Ok(())
    }
}

impl Rows {
    pub fn of(uri: &Uri, config: &Config) -> Result<Rows, String> {
        let mut rows = Rows {
            after: None,
            limit: LIMIT,
            raw: false,
        };
        for (name, value) in pairs(uri) {
            match &*name {
                "after" if value.is_empty() => rows.after = None,
                "after" => rows.after = Some(after(&value, config)?),
                "limit" => rows.limit = limit(&value)?,
                "raw" => rows.raw = switch(&name, &value)?,
                _ => return Err(unknown(&name, "after, limit, raw")),
            }
        }
        Ok(rows)
    }
}

/// `POST /v1/reconcile`: whether deletions are not to be held back.
pub fn yes(uri: &Uri) -> Result<bool, String> {
    let mut yes = false;
    for (name, value) in pairs(uri) {
        match &*name {
            "yes" => yes = switch(&name, &value)?,
            _ => return Err(format!("`{name}` is no parameter here: there is yes")),
        }
    }
    Ok(yes)
}

pub fn pairs(uri: &Uri) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
}

fn each(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').filter(|one| !one.is_empty())
}

/// A misspelt one would leave out everything for ever.
fn some_of(name: &str, list: &str, all: &[&str]) -> Result<Vec<String>, String> {
    let known = |one: &str| match all.contains(&one) {
        true => Ok(one.to_owned()),
        false => Err(format!("{name}: `{one}` is none: there are {}", all.join(", "))),
    };
    each(list).map(known).collect()
}

/// As the feed spells them. A text may itself hold a comma: it is asked for as a whole too.
fn ids(list: &str, config: &Config) -> Result<Vec<String>, String> {
    let spelled = |id: &str| match config.user_id(id) {
        Some(id) => Ok(id.as_str().to_owned()),
        None => Err(format!("id: no user can have the id `{id}`")),
    };
    let whole = list.contains(',').then(|| spelled(list).ok()).flatten();
    each(list).map(spelled).chain(whole.map(Ok)).collect()
}

/// Of the forms that the consumer accepts by name the one that is most welcome.
fn form(headers: &HeaderMap) -> Form {
    let forms = accepted(headers).split(',').filter_map(welcome);
    // Of several that are as welcome the first.
    let most = forms.fold((0.0, Form::Page), |most, next| match next.0 > most.0 {
        true => next,
        false => most,
    });
    most.1
}

/// How welcome one of the forms is.
fn welcome(range: &str) -> Option<(f32, Form)> {
    let mut parts = range.split(';').map(str::trim);
    let form = match parts.next()? {
        "application/x-ndjson" => Form::Lines,
        "text/event-stream" => Form::Events,
        "application/json" => Form::Page,
        _ => return None,
    };
    let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
    Some((weight.unwrap_or(1.0), form))
}

/// What the header says, as it stands; empty without one.
pub fn accepted(headers: &HeaderMap) -> &str {
    let accepted = headers.get(header::ACCEPT);
    accepted
        .and_then(|accepted| accepted.to_str().ok())
        .unwrap_or_default()
}

pub fn after(id: &str, config: &Config) -> Result<UserId, String> {
    config
        .user_id(id)
        .ok_or_else(|| "after: no user can have that id".into())
}

pub fn since(text: &str) -> Result<Since, String> {
    match text {
        "now" => Ok(Since::Now),
        "oldest" => Ok(Since::Oldest),
        text => Pos::parse(text)
            .map(Since::At)
            .ok_or_else(|| "since: write a position as the feed gave it, `oldest` or `now`".into()),
    }
}

pub fn lease(text: &str) -> Result<Uuid, String> {
    Uuid::try_parse(text).map_err(|_| "lease: write it as the slot's changes gave it".into())
}

/// Of every page on this side, however many more are asked for: a page says where the next one begins.
pub fn limit(text: &str) -> Result<u16, String> {
    match text.parse::<u16>() {
        Ok(number) if number > 0 => Ok(number.min(MOST)),
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => Ok(MOST),
        _ => Err(format!("limit: write a whole number, from 1 to {MOST}")),
    }
}

fn wait(text: &str) -> Result<Duration, String> {
    let wait = value::duration(text).map_err(|wrong| format!("wait: `{text}` {wrong}"))?;
    Ok(wait.min(LONGEST_WAIT))
}

fn switch(name: &str, text: &str) -> Result<bool, String> {
    match text {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(format!("{name}: write 1 or 0")),
    }
}

pub fn unknown(name: &str, known: &str) -> String {
    format!("`{name}` is no parameter here: there are {known}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(query: &str, provider: &str) -> Result<Vec<String>, String> {
        let settings = [
            ("DATABASE_URL", "postgres://there/none"),
            ("USERTAP_PROVIDER", provider),
            ("STACK_PROJECT_ID", "6418f649-f6a9-4d40-a23e-b1c2e3f5a2f4"),
            ("STACK_SECRET_SERVER_KEY", "ssk_x"),
            ("CLERK_SECRET_KEY", "sk_test_x"),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = Config::from_env(settings).expect("settings without a mistake");
        let request = Request::builder().uri(format!("/v1/changes?{query}"));
        let asked = Asked::of(&request.body(axum::body::Body::empty()).unwrap(), &config);
        asked.map(|asked| asked.filter.ids.into_iter().collect())
    }

    #[test]
    fn the_form_is_the_one_that_is_most_welcome() {
        for (accepted, wanted) in [
            ("*/*", Form::Page),
            ("text/event-stream", Form::Events),
            ("application/x-ndjson, application/json", Form::Lines),
            ("application/x-ndjson;q=0, application/json", Form::Page),
            ("application/json;q=0.5, text/event-stream; q=0.9", Form::Events),
            ("text/event-stream;q=0", Form::Page),
            ("text/html, application/x-ndjson;charset=utf-8;q=0.1", Form::Lines),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accepted.parse().unwrap())]);
            assert_eq!(form(&headers), wanted, "{accepted}");
        }
    }

    #[test]
    fn an_id_that_holds_a_comma_can_be_asked_for() {
        for (query, ids) in [
            ("id=a&id=b", &["a", "b"][..]),
            ("id=a%2Cb", &["a", "a,b", "b"]),
            ("id=a,b&id=c", &["a", "a,b", "b", "c"]),
            ("id=a,", &["a", "a,"]),
            ("id=,", &[","]),
        ] {
            assert_eq!(wanted(query, "clerk").unwrap(), ids, "{query}");
        }
        let two = "00000000-0000-4000-8000-000000000001,00000000-0000-4000-8000-000000000002";
        let apart: Vec<&str> = two.split(',').collect();
        assert_eq!(wanted(&format!("id={two}"), "stack-auth").unwrap(), apart);
        assert!(wanted("id=a,b", "stack-auth").is_err());
    }

    #[test]
    fn deletions_are_let_go_by_a_plain_yes_alone() {
        let asked = |query: &str| yes(&format!("/v1/reconcile{query}").parse().unwrap());
        for (query, is_yes) in [
            ("", false),
            ("?yes=0", false),
            ("?yes=1", true),
            ("?yes=true", true),
        ] {
            assert_eq!(asked(query), Ok(is_yes), "{query}");
        }
        for wrong in ["?yes", "?yes=YES", "?yes=2", "?yess=1", "?yes=1&since=now"] {
            assert!(asked(wrong).is_err(), "{wrong}");
        }
    }
}
