//! What is shown of a user: all of it with a server key, less with a client's.
//!
//! The order of keys differs from answer to answer, as the provider's does: who compares users as
//! text finds out here.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};
use uuid::Uuid;

use super::project::{Project, Team};
use super::user::{Account, Channel, User};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    Client,
    Server,
}

/// Of one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOrder {
    Forward,
    Backward,
}

/// A JSON object whose keys are written in the order of its answer.
pub struct Object {
    fields: Vec<(&'static str, Value)>,
    order: KeyOrder,
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = self.fields.iter().map(|(name, value)| (name, value));
        match self.order {
            KeyOrder::Forward => serializer.collect_map(fields),
            KeyOrder::Backward => serializer.collect_map(fields.rev()),
        }
    }
}

/// A page of a list. The cursor is the id of the first user of the next one.
pub struct Page {
    pub items: Vec<Object>,
    pub next: Option<Uuid>,
    pub order: KeyOrder,
}

impl Serialize for Page {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        if self.order == KeyOrder::Forward {
            map.serialize_entry("items", &self.items)?;
        }
        map.serialize_entry("is_paginated", &true)?;
        map.serialize_entry("pagination", &json!({ "next_cursor": self.next }))?;
        if self.order == KeyOrder::Backward {
            map.serialize_entry("items", &self.items)?;
        }
        map.end()
    }
}

/// Only a server key sees these.
const SERVER_ONLY: [&str; 6] = [
    "primary_email_auth_enabled",
    "server_metadata",
    "last_active_at_millis",
    "restricted_by_admin_private_details",
    "country_code",
    "risk_scores",
];

impl Project {
    pub fn user_view(&self, user: &User, view: View, order: KeyOrder) -> Object {
        let mut fields = self.fields(user, view);
        if view == View::Client {
            fields.retain(|(name, _)| !SERVER_ONLY.contains(name));
        }
        Object { fields, order }
    }

    fn fields(&self, user: &User, view: View) -> Vec<(&'static str, Value)> {
        let primary = user.primary();
        let restriction = user.restriction(self.require_email_verification);
        let team = user.selected_team.and_then(|id| self.teams.get(&id));
        vec![
            ("id", json!(user.id)),
            ("display_name", json!(user.display_name)),
            ("primary_email", json!(primary.map(|channel| &channel.value))),
            (
                "primary_email_verified",
                json!(primary.is_some_and(|channel| channel.verified)),
            ),
            (
                "primary_email_auth_enabled",
                json!(primary.is_some_and(|channel| channel.used_for_auth)),
            ),
            ("profile_image_url", json!(user.profile_image_url)),
            ("signed_up_at_millis", json!(user.signed_up_at)),
            ("client_metadata", user.client_metadata.clone()),
            (
                "client_read_only_metadata",
                user.client_read_only_metadata.clone(),
            ),
            ("server_metadata", user.server_metadata.clone()),
            ("has_password", json!(user.password.is_some())),
            ("otp_auth_enabled", json!(user.otp)),
            ("auth_with_email", json!(user.password.is_some() || user.otp)),
            ("requires_totp_mfa", json!(user.totp_secret.is_some())),
            ("passkey_auth_enabled", json!(user.passkey)),
            (
                "oauth_providers",
                user.oauth.iter().map(account_in_user).collect(),
            ),
            ("selected_team_id", json!(team.map(|team| team.id))),
            ("selected_team", team.map_or(Value::Null, |team| team.view(view))),
            ("last_active_at_millis", json!(user.last_active_at)),
            ("is_anonymous", json!(user.is_anonymous)),
            ("is_restricted", json!(!restriction.is_null())),
            ("restricted_reason", restriction),
            ("restricted_by_admin", json!(user.restricted_by_admin)),
            ("restricted_by_admin_reason", json!(user.restricted_reason)),
            (
                "restricted_by_admin_private_details",
                json!(user.restricted_private_details),
            ),
            ("country_code", json!(user.country_code)),
            (
                "risk_scores",
                json!({ "sign_up": { "bot": user.risk.0, "free_trial_abuse": user.risk.1 } }),
            ),
        ]
    }
}

fn account_in_user(account: &Account) -> Value {
    json!({ "id": account.provider, "account_id": account.account_id, "email": account.email })
}

impl Team {
    pub fn view(&self, view: View) -> Value {
        let mut team = json!({
            "id": self.id,
            "display_name": self.display_name,
            "profile_image_url": self.profile_image_url,
            "client_metadata": self.client_metadata,
            "client_read_only_metadata": self.client_read_only_metadata,
        });
        if let (View::Server, Some(fields)) = (view, team.as_object_mut()) {
            fields.insert("created_at_millis".into(), json!(self.created_at));
            fields.insert("server_metadata".into(), self.server_metadata.clone());
        }
        team
    }
}

impl Channel {
    pub fn view(&self, user: Uuid) -> Value {
        json!({
            "user_id": user,
            "id": self.id,
            "type": "email",
            "value": self.value,
            "is_primary": self.primary,
            "is_verified": self.verified,
            "used_for_auth": self.used_for_auth,
        })
    }
}

impl Account {
    pub fn view(&self, user: Uuid) -> Value {
        json!({
            "user_id": user,
            "id": self.id,
            "type": self.provider,
            "provider_config_id": self.provider,
            "account_id": self.account_id,
            "email": self.email,
            "allow_sign_in": self.allow_sign_in,
            "allow_connected_accounts": self.allow_connected,
        })
    }
}
