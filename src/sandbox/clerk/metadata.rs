//! A user's metadata: merged deeply, where null takes a key out, or put in the place of what was.

use serde_json::{Map, Value};

use super::super::answer::Answer;
use super::failure::Failure;
use super::routes::Call;
use super::user::User;

const FIELDS: [&str; 3] = ["public_metadata", "private_metadata", "unsafe_metadata"];

/// `PATCH /users/{id}/metadata`.
pub fn merge(call: &mut Call<'_>) -> Result<Answer, Failure> {
    let body = call.body()?;
    let mut changed = call.user(call.param(0))?.clone();
    for field in FIELDS {
        if let Some(given) = object(&body, field)? {
            merge_into(place(&mut changed, field), given);
        }
    }
    call.edit(|user| *user = changed)
}

/// `PUT /users/{id}/metadata`.
pub fn replace(call: &mut Call<'_>) -> Result<Answer, Failure> {
    let body = call.body()?;
    let mut changed = call.user(call.param(0))?.clone();
    set(&mut changed, &body)?;
    call.edit(|user| *user = changed)
}

/// Each that is given replaces what was.
pub fn set(user: &mut User, body: &Map<String, Value>) -> Result<(), Failure> {
    for field in FIELDS {
        if let Some(given) = object(body, field)? {
            given.clone_into(place(user, field));
        }
    }
    Ok(())
}

fn place<'u>(user: &'u mut User, field: &str) -> &'u mut Map<String, Value> {
    match field {
        "public_metadata" => &mut user.public_metadata,
        "private_metadata" => &mut user.private_metadata,
        _ => &mut user.unsafe_metadata,
    }
}

fn object<'b>(body: &'b Map<String, Value>, field: &str) -> Result<Option<&'b Map<String, Value>>, Failure> {
    match body.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(given)) => Ok(Some(given)),
        Some(_) => Err(Failure::invalid(field, "must be an object")),
    }
}

fn merge_into(own: &mut Map<String, Value>, given: &Map<String, Value>) {
    for (key, value) in given {
        match (own.get_mut(key), value) {
            (_, Value::Null) => {
                own.remove(key);
            }
            (Some(Value::Object(inner)), Value::Object(given)) => merge_into(inner, given),
            _ => {
                own.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_given_is_merged_deeply_and_null_takes_out() {
        let mut own = json!({ "a": { "b": 1, "c": 2 }, "d": 3 })
            .as_object()
            .unwrap()
            .clone();
        let given = json!({ "a": { "b": null, "e": 4 }, "d": { "f": 5 } });
        merge_into(&mut own, given.as_object().unwrap());
        assert_eq!(
            Value::from(own),
            json!({ "a": { "c": 2, "e": 4 }, "d": { "f": 5 } })
        );
    }
}
