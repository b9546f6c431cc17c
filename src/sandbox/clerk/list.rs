//! `GET /users` and `GET /users/count`: filters, order, offsets, and cursors that go on after a user.

use std::cmp::Ordering;

use serde_json::json;

use super::super::answer::Answer;
use super::super::call::Request;
use super::failure::Failure;
use super::instance::Instance;
use super::ok;
use super::routes::Call;
use super::user::User;

const LIMIT: usize = 10;
const LARGEST: usize = 500;
/// What a list can be ordered by, beside the time of creation.
const FIELDS: [&str; 8] = [
    "updated_at",
    "email_address",
    "first_name",
    "last_name",
    "phone_number",
    "username",
    "last_active_at",
    "last_sign_in_at",
];

pub fn list(call: &mut Call<'_>) -> Result<Answer, Failure> {
    let request = call.request;
    let limit = number(request, "limit")?.map_or(LIMIT, |limit| limit);
    if limit == 0 || limit > LARGEST {
        return Err(Failure::invalid("limit", "must be between 1 and 500"));
    }
    let offset = number(request, "offset")?.unwrap_or(0);
    let found = ordered(call.instance, request)?;
    let users: Vec<_> = found.skip(offset).take(limit).map(User::view).collect();
    ok(&users.into())
}

pub fn count(call: &mut Call<'_>) -> Result<Answer, Failure> {
    let filter = Filter::of(call.request)?;
    let total = match filter.is_empty() {
        true => call.instance.len(),
        false => call
            .instance
            .after(None, false)
            .filter(|user| filter.fits(user))
            .count(),
    };
    ok(&json!({ "object": "total_count", "total_count": total }))
}

fn ordered<'i>(
    instance: &'i Instance,
    request: &'i Request,
) -> Result<Box<dyn Iterator<Item = &'i User> + 'i>, Failure> {
    let filter = Filter::of(request)?;
    let by = request.query("order_by").unwrap_or("-created_at");
    let (newest_first, field) = match (by.strip_prefix('-'), by.strip_prefix('+')) {
        (Some(field), _) => (true, field),
        (None, Some(field)) => (false, field),
        (None, None) => (false, by),
    };
    let after = request
        .query("starting_after")
        .map(|id| instance.user(id).ok_or_else(Failure::not_found));
    let after = after.transpose()?;
    if field == "created_at" {
        let users = instance.after(after, newest_first);
        return Ok(Box::new(users.filter(move |user| filter.fits(user))));
    }
    if after.is_some() {
        let text = "can only be used with order_by created_at";
        return Err(Failure::invalid("starting_after", text));
    }
    if !FIELDS.contains(&field) {
        return Err(Failure::invalid(
            "order_by",
            "is not one that users can be ordered by",
        ));
    }
    let mut users: Vec<&User> = instance
        .after(None, false)
        .filter(|user| filter.fits(user))
        .collect();
    users.sort_by(|one, other| {
        let order = compare(field, one, other);
        if newest_first { order.reverse() } else { order }
    });
    Ok(Box::new(users.into_iter()))
}

fn compare(field: &str, one: &User, other: &User) -> Ordering {
    let email = |user: &User| user.emails.first().map(|email| email.value.clone());
    let phone = |user: &User| user.phones.first().map(|phone| phone.value.clone());
    match field {
        "updated_at" => one.updated_at.cmp(&other.updated_at),
        "last_active_at" => one.last_active_at.cmp(&other.last_active_at),
        "last_sign_in_at" => one.last_sign_in_at.cmp(&other.last_sign_in_at),
        "first_name" => one.first_name.cmp(&other.first_name),
        "last_name" => one.last_name.cmp(&other.last_name),
        "username" => one.username.cmp(&other.username),
        "phone_number" => phone(one).cmp(&phone(other)),
        _ => email(one).cmp(&email(other)),
    }
}

/// What is asked for of all users.
struct Filter<'r> {
    ids: Vec<&'r str>,
    emails: Vec<&'r str>,
    external_ids: Vec<&'r str>,
    usernames: Vec<&'r str>,
    query: Option<&'r str>,
    created_after: Option<usize>,
    created_before: Option<usize>,
}

impl<'r> Filter<'r> {
    fn of(request: &'r Request) -> Result<Filter<'r>, Failure> {
        Ok(Filter {
            ids: all(request, "user_id"),
            emails: all(request, "email_address"),
            external_ids: all(request, "external_id"),
            usernames: all(request, "username"),
            query: request
                .query("query")
                .or_else(|| request.query("email_address_query")),
            created_after: number(request, "created_at_after")?,
            created_before: number(request, "created_at_before")?,
        })
    }

    fn is_empty(&self) -> bool {
        let lists = [&self.ids, &self.emails, &self.external_ids, &self.usernames];
        lists.iter().all(|list| list.is_empty())
            && self.query.is_none()
            && self.created_after.is_none()
            && self.created_before.is_none()
    }

    fn fits(&self, user: &User) -> bool {
        let any = |wanted: &[&str], has: &dyn Fn(&str) -> bool| {
            wanted.is_empty() || wanted.iter().any(|one| has(one))
        };
        let created = usize::try_from(user.created_at).unwrap_or(0);
        any(&self.ids, &|id| user.id == id)
            && any(&self.emails, &|email| {
                user.emails.iter().any(|own| own.value == email)
            })
            && any(&self.external_ids, &|id| user.external_id.as_deref() == Some(id))
            && any(&self.usernames, &|name| user.username.as_deref() == Some(name))
            && self.query.is_none_or(|query| user.matches(query))
            && self.created_after.is_none_or(|after| created > after)
            && self.created_before.is_none_or(|before| created < before)
    }
}

/// Repeated keys are a list.
fn all<'r>(request: &'r Request, name: &str) -> Vec<&'r str> {
    let values = request.query.iter().filter(|(key, _)| key == name);
    values.map(|(_, value)| value.as_str()).collect()
}

fn number(request: &Request, name: &str) -> Result<Option<usize>, Failure> {
    let number = request.query(name).map(str::parse);
    number
        .transpose()
        .map_err(|_| Failure::invalid(name, "must be a number"))
}
