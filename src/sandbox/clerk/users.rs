//! `/users`: create, read, update, delete, and what servers do to them.

use serde_json::{Map, Value, json};

use super::super::answer::Answer;
use super::failure::Failure;
use super::routes::{Call, deleted, text};
use super::user::{Address, Kind, User, new_id};
use super::{metadata, ok};

pub fn create(call: &mut Call<'_>) -> Result<Answer, Failure> {
    let body = call.body()?;
    let created = body
        .get("created_at")
        .map(|at| time(at).ok_or_else(|| Failure::invalid("created_at", "must be a date")));
    let mut user = User::new(new_id("user"), call.now);
    user.created_at = created.transpose()?.unwrap_or(call.now);
    for kind in [Kind::Email, Kind::Phone] {
        for value in texts(&body, kind.name()) {
            if call.instance.holder(&value).is_some() {
                return Err(Failure::exists(kind.name()));
            }
            user.add(kind, Address::new(&value, true, call.now));
        }
    }
    set_fields(&mut user, &body);
    metadata::set(&mut user, &body)?;
    let view = user.view();
    call.instance.create(user);
    ok(&view)
}

pub fn read(call: &mut Call<'_>) -> Result<Answer, Failure> {
    call.show()
}

pub fn update(call: &mut Call<'_>) -> Result<Answer, Failure> {
    let body = call.body()?;
    let mut changed = call.user(call.param(0))?.clone();
    for (kind, field) in [
        (Kind::Email, "primary_email_address_id"),
        (Kind::Phone, "primary_phone_number_id"),
    ] {
        if let Some(id) = body.get(field).and_then(Value::as_str) {
            let (all, primary) = changed.addresses(kind);
            if all.iter().all(|address| address.id != id) {
                return Err(Failure::not_found());
            }
            *primary = Some(id.to_owned());
        }
    }
    metadata::set(&mut changed, &body)?;
    set_fields(&mut changed, &body);
    call.edit(|user| *user = changed)
}

pub fn delete(call: &mut Call<'_>) -> Result<Answer, Failure> {
    let id = call.param(0).to_owned();
    call.instance.remove(&id).ok_or_else(Failure::not_found)?;
    deleted("user", &id)
}

pub fn ban(call: &mut Call<'_>) -> Result<Answer, Failure> {
    call.edit(|user| user.banned = true)
}

pub fn unban(call: &mut Call<'_>) -> Result<Answer, Failure> {
    call.edit(|user| user.banned = false)
}

pub fn lock(call: &mut Call<'_>) -> Result<Answer, Failure> {
    call.edit(|user| user.locked = true)
}

pub fn unlock(call: &mut Call<'_>) -> Result<Answer, Failure> {
    call.edit(|user| user.locked = false)
}

pub fn ban_all(call: &mut Call<'_>) -> Result<Answer, Failure> {
    set_banned(call, true)
}

pub fn unban_all(call: &mut Call<'_>) -> Result<Answer, Failure> {
    set_banned(call, false)
}

/// All or none.
fn set_banned(call: &mut Call<'_>, banned: bool) -> Result<Answer, Failure> {
    let ids = texts(&call.body()?, "user_ids");
    for id in &ids {
        call.user(id)?;
    }
    let mut views = Vec::new();
    for id in &ids {
        call.instance.edit(id, call.now, |user| user.banned = banned);
        views.push(call.user(id)?.view());
    }
    ok(&views.into())
}

pub fn remove_password(call: &mut Call<'_>) -> Result<Answer, Failure> {
    call.edit(|user| user.password = None)
}

pub fn verify_password(call: &mut Call<'_>) -> Result<Answer, Failure> {
    let given = text(&call.body()?, "password")?;
    let user = call.user(call.param(0))?;
    match user.password.as_deref() {
        None => Err(Failure::new(
            400,
            "no_password_set",
            "This user does not have a password set.",
        )),
        Some(own) if own == given => ok(&json!({ "verified": true })),
        Some(_) => Err(Failure::new(
            422,
            "incorrect_password",
            "The password is incorrect.",
        )),
    }
}

/// A multipart body, of which nothing is kept.
pub fn set_image(call: &mut Call<'_>) -> Result<Answer, Failure> {
    call.edit(|user| user.has_image = true)
}

pub fn remove_image(call: &mut Call<'_>) -> Result<Answer, Failure> {
    call.edit(|user| user.has_image = false)
}

pub fn no_second_factor(call: &mut Call<'_>) -> Result<Answer, Failure> {
    let id = call.user(call.param(0))?.id.clone();
    ok(&json!({ "user_id": id }))
}

fn set_fields(user: &mut User, body: &Map<String, Value>) {
    for (field, place) in [
        ("first_name", &mut user.first_name),
        ("last_name", &mut user.last_name),
        ("username", &mut user.username),
        ("external_id", &mut user.external_id),
        ("password", &mut user.password),
    ] {
        if let Some(value) = body.get(field) {
            *place = value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        }
    }
}

/// One text or a list of them.
fn texts(body: &Map<String, Value>, field: &str) -> Vec<String> {
    let all = match body.get(field) {
        Some(Value::Array(all)) => all.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    let texts = all.iter().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

fn time(value: &Value) -> Option<i64> {
    let text = chrono::DateTime::parse_from_rfc3339(value.as_str()?).ok()?;
    Some(text.timestamp_millis())
}
