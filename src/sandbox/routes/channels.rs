//! `/contact-channels`: addresses of a user. What they change in the user is told by no answer here.

use http::Method;
use serde_json::Value;
use uuid::Uuid;

use super::super::answer::{Answer, Outcome, unpaged};
use super::super::call::Call;
use super::super::data::normal_address;
use super::super::failure::Failure;
use super::super::project::Purpose;
use super::super::user::Channel;
use super::{ANY, Route, keyed};

pub const ROUTES: &[Route] = &[
    keyed(Method::GET, "/contact-channels", ANY, list),
    keyed(Method::POST, "/contact-channels", ANY, create),
    keyed(Method::POST, "/contact-channels/verify", ANY, verify),
    keyed(
        Method::POST,
        "/contact-channels/send-verification-code",
        ANY,
        send_to_address,
    ),
    keyed(Method::GET, "/contact-channels/{user}/{id}", ANY, read),
    keyed(Method::PATCH, "/contact-channels/{user}/{id}", ANY, update),
    keyed(Method::DELETE, "/contact-channels/{user}/{id}", ANY, delete),
    keyed(
        Method::POST,
        "/contact-channels/{user}/{id}/send-verification-code",
        ANY,
        send,
    ),
];

fn list(call: &mut Call<'_>) -> Outcome {
    let user = call.named(call.request.query("user_id").unwrap_or("me"))?;
    let channels = call.existing(user)?.channels.iter();
    Ok(unpaged(channels.map(|channel| channel.view(user)).collect()))
}

fn create(call: &mut Call<'_>) -> Outcome {
    let body = call.body()?;
    let user = call.named(&call.text(&body, "user_id")?)?;
    let value = normal_address(&call.text(&body, "value")?)?;
    if call
        .existing(user)?
        .channels
        .iter()
        .any(|channel| channel.value == value)
    {
        return Err(Failure::text(409, "Contact channel already exists"));
    }
    let channel = Channel::new(&value);
    let id = channel.id;
    refuse_taken(call, user, &value, &body)?;
    call.edit(user, |user| user.channels.push(channel))?;
    change(call, user, id, &body)?;
    show(call, user, id, 201)
}

fn refuse_taken(call: &Call<'_>, user: Uuid, value: &str, body: &Value) -> Result<(), Failure> {
    let wanted = body.get("used_for_auth") == Some(&Value::Bool(true));
    let taken = call.project.signs_in(value).is_some_and(|other| other.id != user);
    if wanted && taken {
        Err(Failure::channel_used_for_auth(value))
    } else {
        Ok(())
    }
}

fn change(call: &mut Call<'_>, user: Uuid, id: Uuid, body: &Value) -> Result<(), Failure> {
    let flag = |name: &str| body.get(name).and_then(Value::as_bool);
    let (primary, verified, used_for_auth) = (flag("is_primary"), flag("is_verified"), flag("used_for_auth"));
    call.edit(user, |user| {
        if primary == Some(true) {
            user.demote_primary();
        }
        let channel = user.channel_mut(id)?;
        channel.primary = primary.unwrap_or(channel.primary);
        channel.verified = verified.unwrap_or(channel.verified);
        channel.used_for_auth = used_for_auth.unwrap_or(channel.used_for_auth);
        Some(())
    })?
    .ok_or_else(not_found)
}

fn show(call: &Call<'_>, user: Uuid, id: Uuid, status: u16) -> Outcome {
    Ok(Answer::json(status, &find(call, user, id)?.view(user)))
}

fn find<'c>(call: &'c Call<'_>, user: Uuid, id: Uuid) -> Result<&'c Channel, Failure> {
    call.existing(user)?
        .channels
        .iter()
        .find(|channel| channel.id == id)
        .ok_or_else(not_found)
}

fn not_found() -> Failure {
    Failure::text(404, "Contact channel not found.")
}

fn addressed(call: &Call<'_>) -> Result<(Uuid, Uuid), Failure> {
    let user = call.named(call.param(0))?;
    let id = call.uuid(call.param(1))?;
    find(call, user, id)?;
    Ok((user, id))
}

fn read(call: &mut Call<'_>) -> Outcome {
    let (user, id) = addressed(call)?;
    show(call, user, id, 200)
}

fn update(call: &mut Call<'_>) -> Outcome {
    let (user, id) = addressed(call)?;
    let body = call.body()?;
    let old = find(call, user, id)?.value.clone();
    let value = body
        .get("value")
        .and_then(Value::as_str)
        .map(normal_address)
        .transpose()?;
    refuse_taken(call, user, value.as_ref().unwrap_or(&old), &body)?;
    if let Some(value) = value.filter(|value| *value != old) {
        call.edit(user, |user| {
            user.channel_mut(id)
                .map(|channel| (channel.value, channel.verified) = (value, false))
        })?;
    }
    change(call, user, id, &body)?;
    show(call, user, id, 200)
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let (user, id) = addressed(call)?;
    call.edit(user, |user| user.channels.retain(|channel| channel.id != id))?;
    Ok(Answer::success())
}

fn send(call: &mut Call<'_>) -> Outcome {
    let (user, channel) = addressed(call)?;
    let found = find(call, user, channel)?;
    if found.verified {
        return Err(Failure::email_already_verified());
    }
    let address = found.value.clone();
    call.mail(&address, Purpose::VerifyChannel { user, channel });
    Ok(Answer::success())
}

/// The old way of asking for one's own primary address.
fn send_to_address(call: &mut Call<'_>) -> Outcome {
    let user = call.me()?;
    let primary = call.existing(user)?.primary().ok_or_else(not_found)?.clone();
    if primary.verified {
        return Err(Failure::email_already_verified());
    }
    call.mail(
        &primary.value,
        Purpose::VerifyChannel {
            user,
            channel: primary.id,
        },
    );
    Ok(Answer::success())
}

fn verify(call: &mut Call<'_>) -> Outcome {
    let code = call.text(&call.body()?, "code")?;
    let (user, channel) = call.redeem(&code, |purpose| match purpose {
        Purpose::VerifyChannel { user, channel } => Some((*user, *channel)),
        _ => None,
    })?;
    call.edit(user, |user| {
        user.channel_mut(channel).map(|channel| channel.verified = true)
    })?;
    Ok(Answer::success())
}
