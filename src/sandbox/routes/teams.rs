//! `/teams`: whose changes show in every user that has the team selected.

use http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::access::Access;
use super::super::answer::{Answer, Outcome, unpaged};
use super::super::call::Call;
use super::super::failure::Failure;
use super::super::project::Team;
use super::{ANY, Route, keyed};

pub const ROUTES: &[Route] = &[
    keyed(Method::GET, "/teams", ANY, list),
    keyed(Method::POST, "/teams", ANY, create),
    keyed(Method::GET, "/teams/{id}", ANY, read),
    keyed(Method::PATCH, "/teams/{id}", ANY, update),
    keyed(Method::DELETE, "/teams/{id}", ANY, delete),
];

fn list(call: &mut Call<'_>) -> Outcome {
    let by_client = (call.caller.access == Access::Client).then_some("me");
    let member = call
        .request
        .query("user_id")
        .or(by_client)
        .map(|id| call.named(id))
        .transpose()?;
    let wanted = |team: &&Team| member.is_none_or(|member| team.members.contains(&member));
    let teams = call.project.teams.values().filter(wanted);
    Ok(unpaged(teams.map(|team| team.view(call.view())).collect()))
}

fn create(call: &mut Call<'_>) -> Outcome {
    let body = call.body()?;
    let mut team = Team::new(&call.text(&body, "display_name")?, call.now);
    let by_client = (call.caller.access == Access::Client).then_some("me");
    let creator = body.get("creator_user_id").and_then(Value::as_str).or(by_client);
    team.members.extend(creator.map(|id| call.named(id)).transpose()?);
    apply(&mut team, &body);
    let shown = team.view(call.view());
    let (id, members) = (team.id, team.members.clone());
    call.project.teams.insert(id, team);
    call.project.tell_of_team("team.created", id);
    for member in members {
        call.project.tell_of_member("team_membership.created", id, member);
    }
    Ok(Answer::created(&shown))
}

fn apply(team: &mut Team, body: &Value) {
    if let Some(name) = body.get("display_name").and_then(Value::as_str) {
        team.display_name = name.to_owned();
    }
    if let Some(url) = body.get("profile_image_url") {
        team.profile_image_url = url.as_str().map(str::to_owned);
    }
    for (name, field) in [
        ("client_metadata", &mut team.client_metadata),
        ("client_read_only_metadata", &mut team.client_read_only_metadata),
        ("server_metadata", &mut team.server_metadata),
    ] {
        if let Some(value) = body.get(name) {
            *field = value.clone();
        }
    }
}

/// A team that is there and, for a client, one's own.
pub fn named(call: &Call<'_>, id: &str) -> Result<Uuid, Failure> {
    let not_found = || Failure::team_not_found(id);
    let team = call.project.teams.get(&call.uuid(id)?).ok_or_else(not_found)?;
    let member = call.caller.user.is_some_and(|user| team.members.contains(&user));
    if call.caller.access == Access::Client && !member {
        Err(not_found())
    } else {
        Ok(team.id)
    }
}

fn show(call: &Call<'_>, id: Uuid) -> Outcome {
    let team = call
        .project
        .teams
        .get(&id)
        .ok_or_else(|| Failure::team_not_found(&id.to_string()))?;
    Ok(Answer::ok(&team.view(call.view())))
}

fn read(call: &mut Call<'_>) -> Outcome {
    let team = named(call, call.param(0))?;
    show(call, team)
}

fn update(call: &mut Call<'_>) -> Outcome {
    let id = named(call, call.param(0))?;
    let body = call.body()?;
    if let Some(team) = call.project.teams.get_mut(&id) {
        apply(team, &body);
    }
    call.project.tell_of_team("team.updated", id);
    show(call, id)
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let id = named(call, call.param(0))?;
    let members = call
        .project
        .teams
        .remove(&id)
        .map(|team| team.members)
        .unwrap_or_default();
    for member in members {
        call.project.deselect(id, member);
    }
    call.project.webhooks.tell("team.deleted", || json!({ "id": id }));
    Ok(Answer::success())
}
