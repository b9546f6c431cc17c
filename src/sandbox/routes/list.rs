//! `GET /users`: filters, order, and cursors that are the id of the next page's first user.
//!
//! A cursor whose user is gone, or no longer matches, ends the list without a word.

use uuid::Uuid;

use super::super::answer::{Answer, Outcome};
use super::super::call::Call;
use super::super::failure::Failure;
use super::super::project::{Direction, Project};
use super::super::user::User;
use super::super::view::Page;

/// All names that the routes of `/users` know.
pub const QUERY: &[&str] = &[
    "team_id",
    "limit",
    "cursor",
    "order_by",
    "desc",
    "query",
    "include_restricted",
    "include_anonymous",
    "only_anonymous",
];

struct Wanted {
    /// None: everything.
    limit: Option<usize>,
    cursor: Option<Uuid>,
    direction: Direction,
    filter: Filter,
}

struct Filter {
    query: Option<String>,
    team: Option<Uuid>,
    restricted: bool,
    anonymous: bool,
    only_anonymous: bool,
}

pub fn list(call: &mut Call<'_>) -> Outcome {
    call.only_query(QUERY)?;
    let wanted = wanted(call)?;
    let mut found = found(call.project, &wanted);
    let next = wanted
        .limit
        .filter(|limit| found.len() > *limit)
        .and_then(|_| found.pop());
    let items = found
        .iter()
        .map(|user| call.project.user_view(user, call.view(), call.order))
        .collect();
    Ok(Answer::ok(&Page {
        items,
        next: next.map(|user| user.id),
        order: call.order,
    }))
}

/// One more than the limit, if there are so many: the next page's first.
fn found<'p>(project: &'p Project, wanted: &Wanted) -> Vec<&'p User> {
    let matches = |user: &&User| wanted.filter.matches(project, user);
    let most = wanted.limit.map_or(usize::MAX, |limit| limit.saturating_add(1));
    let Some(walk) = project.walk(wanted.cursor, wanted.direction) else {
        return Vec::new();
    };
    let cursor_lost = wanted
        .cursor
        .and_then(|cursor| project.user(cursor))
        .is_some_and(|cursor| !wanted.filter.matches(project, cursor));
    if cursor_lost {
        Vec::new()
    } else {
        walk.filter(matches).take(most).collect()
    }
}

impl Filter {
    fn matches(&self, project: &Project, user: &User) -> bool {
        let restricted = !user.restriction(project.require_email_verification).is_null();
        (self.anonymous || !user.is_anonymous)
            && (self.restricted || !restricted)
            && (!self.only_anonymous || user.is_anonymous)
            && self.query.as_ref().is_none_or(|query| user.matches(query))
            && self.team.is_none_or(|team| {
                project
                    .teams
                    .get(&team)
                    .is_some_and(|team| team.members.contains(&user.id))
            })
    }
}

fn wanted(call: &Call<'_>) -> Result<Wanted, Failure> {
    let text = |name| call.request.query(name);
    let id = |name| text(name).map(|value| call.uuid(value)).transpose();
    let limit = text("limit").map(|limit| limit.parse().ok().filter(|limit| *limit >= 1));
    if limit == Some(None) {
        return Err(Failure::schema("query.limit must be greater than or equal to 1"));
    }
    if text("order_by").is_some_and(|field| field != "signed_up_at") {
        return Err(Failure::schema(
            "query.order_by must be one of the following values: signed_up_at",
        ));
    }
    let descending = flag(call, "desc")?;
    Ok(Wanted {
        limit: limit.flatten(),
        cursor: id("cursor")?,
        direction: if descending {
            Direction::Descending
        } else {
            Direction::Ascending
        },
        filter: filter(call, id("team_id")?)?,
    })
}

fn filter(call: &Call<'_>, team: Option<Uuid>) -> Result<Filter, Failure> {
    let anonymous = flag(call, "include_anonymous")?;
    let only_anonymous = flag(call, "only_anonymous")?;
    if only_anonymous && !anonymous {
        return Err(Failure::text(
            400,
            "only_anonymous=true requires include_anonymous=true",
        ));
    }
    let query = call.request.query("query").filter(|query| !query.is_empty());
    Ok(Filter {
        query: query.map(str::to_owned),
        team,
        restricted: flag(call, "include_restricted")? || anonymous,
        anonymous,
        only_anonymous,
    })
}

fn flag(call: &Call<'_>, name: &str) -> Result<bool, Failure> {
    match call.request.query(name) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Failure::schema(format!(
            "query.{name} must be one of the following values: true, false"
        ))),
    }
}
