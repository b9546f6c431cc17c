//! Rows of the table over HTTP: a page at a time by key, those that a text finds, and one of them.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::asked::{LIMIT, after, limit, pairs, unknown};
use super::{Shared, problem};
use crate::config::Config;
use crate::db::listing::{self, SearchFault};
use crate::ensure;
use crate::proxy::LocalFault;
use crate::user::UserId;

struct Asked {
    after: Option<UserId>,
    limit: u16,
    text: String,
}

impl Asked {
    fn of(uri: &Uri, config: &Config) -> Result<Asked, String> {
        let mut asked = Asked {
            after: None,
            limit: LIMIT,
            text: String::new(),
        };
        for (name, value) in pairs(uri) {
            match &*name {
                "after" if value.is_empty() => {}
                "after" => asked.after = Some(after(&value, config)?),
                "limit" => asked.limit = limit(&value)?,
                "q" => asked.text = value.trim().to_owned(),
                _ => return Err(unknown(&name, "after, limit, q")),
            }
        }
        Ok(asked)
    }
}

/// `next` is empty at the end.
pub async fn list(State(shared): State<Shared>, uri: Uri) -> Response {
    let asked = match Asked::of(&uri, &shared.station.config) {
        Ok(asked) => asked,
        Err(wrong) => return problem(StatusCode::BAD_REQUEST, &wrong),
    };
    let (database, limit) = (&shared.station.database, i64::from(asked.limit));
    let page = match asked.text.as_str() {
        "" => listing::page(database, asked.after.as_ref(), limit)
            .await
            .map_err(SearchFault::from),
        text => listing::search(database, text, asked.after.as_ref(), limit).await,
    };
    match page {
        Ok(page) => {
            let next = page.next.unwrap_or_default();
            Json(json!({ "users": page.rows, "next": next })).into_response()
        }
        Err(fault) => problem(StatusCode::SERVICE_UNAVAILABLE, &fault.to_string()),
    }
}

/// With `ensure=1` it is fetched from the provider and committed first if it is missing.
pub async fn one(State(shared): State<Shared>, Path(id): Path<String>, uri: Uri) -> Response {
    let ensure = match uri.query() {
        None | Some("" | "ensure=0") => false,
        Some("ensure=1") => true,
        Some(_) => return problem(StatusCode::BAD_REQUEST, "the one parameter here is ensure=1"),
    };
    let Some(id) = shared.station.config.user_id(&id) else {
        return problem(StatusCode::NOT_FOUND, "no user can have that id");
    };
    match ensure::user(&shared.station, id, ensure).await {
        Ok(Some(row)) => Json(row.json).into_response(),
        Ok(None) if ensure => problem(StatusCode::NOT_FOUND, "the provider has no such user"),
        Ok(None) => problem(
            StatusCode::NOT_FOUND,
            "there is no row of that user: ensure=1 fetches it",
        ),
        Err(LocalFault::DatabaseAway) => {
            problem(StatusCode::SERVICE_UNAVAILABLE, "the database does not answer")
        }
        Err(LocalFault::SetAside) => problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "the database refused the user's row: the status says why",
        ),
        Err(LocalFault::Late) => problem(StatusCode::GATEWAY_TIMEOUT, "the provider did not answer in time"),
        Err(LocalFault::ProviderAway) => problem(
            StatusCode::BAD_GATEWAY,
            "the provider does not let the user be read",
        ),
    }
}
