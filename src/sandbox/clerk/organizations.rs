//! `/organizations` and who is in them.

use serde_json::{Map, Value, json};

use super::super::answer::Answer;
use super::failure::Failure;
use super::instance::{Membership, Organization};
use super::ok;
use super::routes::{Call, deleted, text};
use super::user::{User, new_id};

pub fn create(call: &mut Call<'_>) -> Result<Answer, Failure> {
    let body = call.body()?;
    let mut organization = Organization {
        id: new_id("org"),
        name: text(&body, "name")?,
        created_at: call.now,
        members: Default::default(),
    };
    if let Some(creator) = body.get("created_by").and_then(Value::as_str) {
        call.user(creator)?;
        let membership = membership("org:admin", call.now);
        organization.members.insert(creator.to_owned(), membership);
    }
    let view = organization.view();
    call.instance
        .organizations
        .insert(organization.id.clone(), organization);
    ok(&view)
}

pub fn read(call: &mut Call<'_>) -> Result<Answer, Failure> {
    ok(&organization(call)?.view())
}

pub fn delete(call: &mut Call<'_>) -> Result<Answer, Failure> {
    let id = call.param(0).to_owned();
    call.instance
        .organizations
        .remove(&id)
        .ok_or_else(Failure::not_found)?;
    deleted("organization", &id)
}

pub fn members(call: &mut Call<'_>) -> Result<Answer, Failure> {
    let organization = organization(call)?;
    let views = organization
        .members
        .keys()
        .map(|user| shown(call, organization, user));
    list(views.collect::<Result<_, _>>()?)
}

pub fn of_user(call: &mut Call<'_>) -> Result<Answer, Failure> {
    let user = call.user(call.param(0))?.id.clone();
    let all = call.instance.organizations.values();
    let own = all.filter(|organization| organization.members.contains_key(&user));
    let views = own.map(|organization| shown(call, organization, &user));
    list(views.collect::<Result<_, _>>()?)
}

pub fn join(call: &mut Call<'_>) -> Result<Answer, Failure> {
    let body = call.body()?;
    let (user, role) = (text(&body, "user_id")?, text(&body, "role")?);
    call.user(&user)?;
    let now = call.now;
    let organization = organization_mut(call)?;
    if organization.members.contains_key(&user) {
        let text = "already a member of the organization";
        return Err(Failure::new(400, "already_a_member_in_organization", text));
    }
    organization.members.insert(user.clone(), membership(&role, now));
    show(call, &user)
}

pub fn set_role(call: &mut Call<'_>) -> Result<Answer, Failure> {
    let role = text(&call.body()?, "role")?;
    change(call, |membership| membership.role = role)
}

pub fn set_metadata(call: &mut Call<'_>) -> Result<Answer, Failure> {
    let given = call
        .body()?
        .remove("public_metadata")
        .unwrap_or_else(|| json!({}));
    change(call, |membership| membership.public_metadata = given)
}

pub fn leave(call: &mut Call<'_>) -> Result<Answer, Failure> {
    let user = call.param(1).to_owned();
    let left = show(call, &user)?;
    organization_mut(call)?.members.remove(&user);
    Ok(left)
}

fn change(call: &mut Call<'_>, change: impl FnOnce(&mut Membership)) -> Result<Answer, Failure> {
    let user = call.param(1).to_owned();
    let member = organization_mut(call)?.members.get_mut(&user);
    change(member.ok_or_else(Failure::not_found)?);
    show(call, &user)
}

fn show(call: &Call<'_>, user: &str) -> Result<Answer, Failure> {
    ok(&shown(call, organization(call)?, user)?)
}

fn organization<'c>(call: &'c Call<'_>) -> Result<&'c Organization, Failure> {
    let found = call.instance.organizations.get(call.param(0));
    found.ok_or_else(Failure::not_found)
}

fn organization_mut<'c>(call: &'c mut Call<'_>) -> Result<&'c mut Organization, Failure> {
    let id = call.param(0).to_owned();
    let found = call.instance.organizations.get_mut(&id);
    found.ok_or_else(Failure::not_found)
}

fn membership(role: &str, now: i64) -> Membership {
    Membership {
        id: new_id("orgmem"),
        role: role.to_owned(),
        public_metadata: Map::new().into(),
        created_at: now,
    }
}

fn shown(call: &Call<'_>, organization: &Organization, user: &str) -> Result<Value, Failure> {
    let member = organization.members.get(user).ok_or_else(Failure::not_found)?;
    Ok(json!({
        "object": "organization_membership", "id": member.id, "role": member.role, "permissions": [],
        "public_metadata": member.public_metadata, "private_metadata": {},
        "created_at": member.created_at, "updated_at": member.created_at,
        "organization": organization.view(), "public_user_data": public(call.user(user)?),
    }))
}

/// A part of a user, under another name.
fn public(user: &User) -> Value {
    json!({
        "user_id": user.id, "first_name": user.first_name, "last_name": user.last_name,
        "image_url": format!("https://img.clerk.example/{}", user.id), "has_image": user.has_image,
        "identifier": user.emails.first().map(|email| &email.value),
    })
}

fn list(views: Vec<Value>) -> Result<Answer, Failure> {
    ok(&json!({ "total_count": views.len(), "data": views }))
}

impl Organization {
    fn view(&self) -> Value {
        json!({
            "object": "organization", "id": self.id, "name": self.name, "slug": null, "image_url": "",
            "has_image": false, "members_count": self.members.len(), "max_allowed_memberships": 5,
            "admin_delete_enabled": true, "public_metadata": {}, "private_metadata": {},
            "created_by": null, "created_at": self.created_at, "updated_at": self.created_at,
        })
    }
}
