//! `/email_addresses` and `/phone_numbers`: they answer with the address, and do not say whose it is.

use serde_json::Value;

use super::super::answer::Answer;
use super::failure::Failure;
use super::ok;
use super::routes::{Call, deleted, text};
use super::user::{Address, Kind};

/// `PUT /users/{id}/email_address`: the only one from now on.
pub fn replace_email(call: &mut Call<'_>) -> Result<Answer, Failure> {
    let value = text(&call.body()?, Kind::Email.name())?;
    let id = call.param(0).to_owned();
    let holder = call.instance.holder(&value).map(|user| user.id.clone());
    if holder.is_some_and(|holder| holder != id) {
        return Err(Failure::exists(Kind::Email.name()));
    }
    let address = Address::new(&value, true, call.now);
    let view = address.view(Kind::Email);
    let replaced = call.instance.edit(&id, call.now, |user| {
        user.emails.clear();
        user.primary_email = None;
        user.add(Kind::Email, address);
    });
    replaced.ok_or_else(Failure::not_found)?;
    ok(&view)
}

pub fn add(call: &mut Call<'_>, kind: Kind) -> Result<Answer, Failure> {
    let body = call.body()?;
    let (user, value) = (text(&body, "user_id")?, text(&body, kind.name())?);
    if call.instance.holder(&value).is_some() {
        return Err(Failure::exists(kind.name()));
    }
    let is = |field: &str| body.get(field).and_then(Value::as_bool) == Some(true);
    let (verified, primary) = (is("verified"), is("primary"));
    let address = Address::new(&value, verified, call.now);
    let view = address.view(kind);
    let added = call.instance.edit(&user, call.now, |user| {
        if primary {
            *user.addresses(kind).1 = Some(address.id.clone());
        }
        user.add(kind, address);
    });
    added.ok_or_else(Failure::not_found)?;
    ok(&view)
}

pub fn read(call: &mut Call<'_>, kind: Kind) -> Result<Answer, Failure> {
    let found = call.instance.address(kind, call.param(0));
    let (_, address) = found.ok_or_else(Failure::not_found)?;
    ok(&address.view(kind))
}

pub fn update(call: &mut Call<'_>, kind: Kind) -> Result<Answer, Failure> {
    let body = call.body()?;
    let id = call.param(0).to_owned();
    let holder = holder(call, kind, &id)?;
    let now = call.now;
    call.instance.edit(&holder, now, |user| {
        let (all, primary) = user.addresses(kind);
        if body.get("primary").and_then(Value::as_bool) == Some(true) {
            *primary = Some(id.clone());
        }
        for address in all.iter_mut().filter(|address| address.id == id) {
            address.verified = body
                .get("verified")
                .and_then(Value::as_bool)
                .unwrap_or(address.verified);
            address.updated_at = now;
        }
    });
    read(call, kind)
}

pub fn delete(call: &mut Call<'_>, kind: Kind) -> Result<Answer, Failure> {
    let id = call.param(0).to_owned();
    let holder = holder(call, kind, &id)?;
    call.instance
        .edit(&holder, call.now, |user| user.remove(kind, &id));
    deleted(kind.name(), &id)
}

fn holder(call: &Call<'_>, kind: Kind, id: &str) -> Result<String, Failure> {
    let found = call.instance.address(kind, id);
    found
        .map(|(user, _)| user.id.clone())
        .ok_or_else(Failure::not_found)
}
