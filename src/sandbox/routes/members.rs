//! Memberships, invitations, and the member profiles that hold whole users.

use http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::answer::{Answer, Outcome, unpaged};
use super::super::call::Call;
use super::super::failure::Failure;
use super::super::project::Purpose;
use super::super::view::View;
use super::{ANY, Route, SERVER, keyed, teams};

pub const ROUTES: &[Route] = &[
    keyed(Method::POST, "/team-memberships/{team}/{user}", SERVER, join),
    keyed(Method::DELETE, "/team-memberships/{team}/{user}", ANY, leave),
    keyed(Method::POST, "/team-invitations/send-code", ANY, invite),
    keyed(Method::POST, "/team-invitations/accept", ANY, accept_code),
    keyed(Method::POST, "/team-invitations/{id}/accept", ANY, accept_by_id),
    keyed(Method::GET, "/team-member-profiles", ANY, profiles),
    keyed(Method::GET, "/team-member-profiles/{team}/{user}", ANY, profile),
];

fn add(call: &mut Call<'_>, team: Uuid, user: Uuid) -> bool {
    let of_team = call.project.teams.get_mut(&team);
    let is_new = of_team.is_some_and(|team| team.members.insert(user));
    if is_new {
        call.project.tell_of_member("team_membership.created", team, user);
    }
    is_new
}

fn join(call: &mut Call<'_>) -> Outcome {
    let team = teams::named(call, call.param(0))?;
    let user = call.named(call.param(1))?;
    if !add(call, team, user) {
        return Err(Failure::membership_exists());
    }
    Ok(Answer::created(&json!({ "team_id": team, "user_id": user })))
}

fn leave(call: &mut Call<'_>) -> Outcome {
    let team = teams::named(call, call.param(0))?;
    let user = call.named(call.param(1))?;
    let left = call
        .project
        .teams
        .get_mut(&team)
        .is_some_and(|team| team.members.remove(&user));
    if !left {
        return Err(Failure::membership_not_found(
            &team.to_string(),
            &user.to_string(),
        ));
    }
    call.project.deselect(team, user);
    call.project.tell_of_member("team_membership.deleted", team, user);
    Ok(Answer::success())
}

fn invite(call: &mut Call<'_>) -> Outcome {
    let body = call.body()?;
    let team = teams::named(call, &call.text(&body, "team_id")?)?;
    let email = call.text(&body, "email")?;
    let id = Uuid::new_v4();
    call.mail(&email, Purpose::Invitation { team, id });
    Ok(Answer::ok(&json!({ "success": true, "id": id })))
}

fn accept_code(call: &mut Call<'_>) -> Outcome {
    let user = call.me()?;
    let code = call.text(&call.body()?, "code")?;
    let team = call.redeem(&code, |purpose| match purpose {
        Purpose::Invitation { team, .. } => Some(*team),
        _ => None,
    })?;
    add(call, team, user);
    Ok(Answer::ok(&json!({})))
}

fn accept_by_id(call: &mut Call<'_>) -> Outcome {
    let user = call.me()?;
    let wanted = call.uuid(call.param(0))?;
    let invited = call
        .project
        .codes
        .iter()
        .find_map(|(code, issued)| match issued.purpose {
            Purpose::Invitation { team, id } if id == wanted => Some((code.clone(), team)),
            _ => None,
        });
    let (code, team) = invited.ok_or_else(Failure::code_not_found)?;
    call.redeem(&code, |_| Some(()))?;
    add(call, team, user);
    Ok(Answer::ok(&json!({})))
}

fn profiles(call: &mut Call<'_>) -> Outcome {
    let team = call
        .request
        .query("team_id")
        .map(|id| teams::named(call, id))
        .transpose()?;
    let user = call
        .request
        .query("user_id")
        .map(|id| call.named(id))
        .transpose()?;
    let fits = |wanted: Option<Uuid>, id| wanted.is_none_or(|wanted| wanted == id);
    let wanted = call.project.teams.values().filter(|found| fits(team, found.id));
    let members = wanted.flat_map(|team| team.members.iter().map(|member| (team.id, *member)));
    let shown = members.filter(|(_, member)| fits(user, *member));
    Ok(unpaged(
        shown
            .filter_map(|(team, member)| one(call, team, member))
            .collect(),
    ))
}

fn profile(call: &mut Call<'_>) -> Outcome {
    let team = teams::named(call, call.param(0))?;
    let user = if call.param(1) == "me" {
        call.me()?
    } else {
        call.uuid(call.param(1))?
    };
    let member = call
        .project
        .teams
        .get(&team)
        .is_some_and(|team| team.members.contains(&user));
    let shown = if member { one(call, team, user) } else { None };
    let not_found = || Failure::membership_not_found(&team.to_string(), &user.to_string());
    Ok(Answer::ok(&shown.ok_or_else(not_found)?))
}

/// With a server key, the whole user stands in it.
fn one(call: &Call<'_>, team: Uuid, member: Uuid) -> Option<Value> {
    let user = call.project.user(member)?;
    let mut profile = json!({
        "team_id": team,
        "user_id": member,
        "display_name": user.display_name,
        "profile_image_url": user.profile_image_url,
    });
    if call.view() == View::Server {
        let whole = call.project.user_view(user, View::Server, call.order);
        profile
            .as_object_mut()?
            .insert("user".into(), serde_json::to_value(whole).ok()?);
    }
    Some(profile)
}
