//! What callers write about users: the fields of a create or an update, and their effect.

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use uuid::Uuid;

use super::failure::Failure;
use super::project::{Project, Team};
use super::user::{Account, User};

/// The body of POST or PATCH. The outer option is whether the field was given, the inner one null.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UserData {
    #[serde(deserialize_with = "given")]
    pub display_name: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    pub primary_email: Option<Option<String>>,
    pub primary_email_verified: Option<bool>,
    pub primary_email_auth_enabled: Option<bool>,
    #[serde(deserialize_with = "given")]
    pub profile_image_url: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    pub client_metadata: Option<Value>,
    #[serde(deserialize_with = "given")]
    pub client_read_only_metadata: Option<Value>,
    #[serde(deserialize_with = "given")]
    pub server_metadata: Option<Value>,
    #[serde(deserialize_with = "given")]
    pub password: Option<Option<String>>,
    pub password_hash: Option<String>,
    pub otp_auth_enabled: Option<bool>,
    pub passkey_auth_enabled: Option<bool>,
    #[serde(deserialize_with = "given")]
    pub totp_secret_base64: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    pub selected_team_id: Option<Option<Uuid>>,
    pub is_anonymous: Option<bool>,
    pub restricted_by_admin: Option<bool>,
    #[serde(deserialize_with = "given")]
    pub restricted_by_admin_reason: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    pub restricted_by_admin_private_details: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    pub country_code: Option<Option<String>>,
    pub risk_scores: Option<RiskScores>,
    pub oauth_providers: Option<Vec<OauthData>>,
}

#[derive(Clone, Copy, Deserialize)]
pub struct RiskScores {
    sign_up: SignUpScores,
}

#[derive(Clone, Copy, Deserialize)]
struct SignUpScores {
    bot: u8,
    free_trial_abuse: u8,
}

#[derive(Deserialize)]
pub struct OauthData {
    id: String,
    account_id: String,
    #[serde(default)]
    email: Option<String>,
}

fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Fields that a user may set with client access.
const CLIENT_FIELDS: [&str; 8] = [
    "display_name",
    "profile_image_url",
    "client_metadata",
    "selected_team_id",
    "totp_secret_base64",
    "otp_auth_enabled",
    "passkey_auth_enabled",
    "primary_email",
];

impl UserData {
    /// # Errors
    /// SCHEMA_ERROR, or 500 for what the provider's database refuses.
    pub fn parse(body: Value) -> Result<UserData, Failure> {
        let refused = [
            "client_metadata",
            "client_read_only_metadata",
            "server_metadata",
            "display_name",
        ]
        .iter()
        .any(|field| body.get(field).is_some_and(holds_nul));
        if refused {
            return Err(Failure::internal());
        }
        let mut data: UserData =
            serde_json::from_value(body).map_err(|error| Failure::schema(format!("body: {error}")))?;
        data.normalize()?;
        Ok(data)
    }

    /// # Errors
    /// As [`UserData::parse`], and for fields that clients may not set.
    pub fn parse_from_client(body: Value) -> Result<UserData, Failure> {
        let unknown = body
            .as_object()
            .and_then(|body| body.keys().find(|key| !CLIENT_FIELDS.contains(&key.as_str())));
        if let Some(field) = unknown {
            return Err(Failure::schema(format!(
                "body contains unknown properties: {field}"
            )));
        }
        let data = UserData::parse(body)?;
        let image = data.profile_image_url.as_ref().and_then(Option::as_ref);
        if image.is_some_and(|url| !url.starts_with("data:image/")) {
            return Err(Failure::schema(
                "body.profile_image_url must be a valid base64 image",
            ));
        }
        Ok(data)
    }

    fn normalize(&mut self) -> Result<(), Failure> {
        if let Some(Some(name)) = &self.display_name
            && name.chars().count() > 256
        {
            return Err(Failure::schema(
                "body.display_name must be at most 256 characters",
            ));
        }
        if let Some(Some(email)) = &mut self.primary_email {
            *email = normal_address(email)?;
        }
        if let Some(name) = &mut self.display_name {
            name.take_if(|name| name.is_empty());
        }
        if let Some(Some(image)) = &mut self.profile_image_url
            && image.starts_with("data:image/")
        {
            *image = format!("https://images.example.com/{}.png", Uuid::new_v4());
        }
        Ok(())
    }
}

/// Lower case, and recognizably an address.
pub fn normal_address(address: &str) -> Result<String, Failure> {
    let address = address.trim().to_lowercase();
    match address.split_once('@') {
        Some((name, host)) if !name.is_empty() && !host.is_empty() => Ok(address),
        _ => Err(Failure::schema("primary_email must be a valid email")),
    }
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(fields) => fields
            .iter()
            .any(|(name, value)| name.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

impl Project {
    /// # Errors
    /// If the address signs in somebody else, or fields contradict one another.
    pub fn create_user(&mut self, data: UserData, now: i64) -> Result<Uuid, Failure> {
        let mut user = User::new(Uuid::new_v4(), now);
        self.check(&user, &data)?;
        let id = user.id;
        user.apply(data, now);
        self.insert(user);
        Ok(id)
    }

    /// # Errors
    /// As for a create; USER_NOT_FOUND.
    pub fn update_user(&mut self, id: Uuid, data: UserData, now: i64) -> Result<(), Failure> {
        self.check(self.user(id).ok_or_else(Failure::user_not_found)?, &data)?;
        let password_changes = data.password.is_some() || data.password_hash.is_some();
        self.edit(id, |user| user.apply(data, now))
            .ok_or_else(Failure::user_not_found)?;
        if password_changes {
            self.end_sessions(id);
        }
        Ok(())
    }

    /// The team a user gets on signing up, if the project is set so. It comes after the answer has
    /// been made up: the caller must have taken the user's view before.
    pub fn add_personal_team(&mut self, user: Uuid, now: i64) {
        let Some(owner) = self.user(user).filter(|_| self.personal_teams) else {
            return;
        };
        let address = owner.primary().map(|channel| &channel.value);
        let name = owner
            .display_name
            .as_ref()
            .or(address)
            .map(|name| format!("{name}'s Team"));
        let mut team = Team::new(name.as_deref().unwrap_or("Personal Team"), now);
        team.members.insert(user);
        let id = team.id;
        self.teams.insert(id, team);
        self.edit(user, |user| user.selected_team = Some(id));
    }

    fn check(&self, user: &User, data: &UserData) -> Result<(), Failure> {
        self.check_address(user, data)?;
        if let Some(Some(team)) = data.selected_team_id {
            let member = self
                .teams
                .get(&team)
                .is_some_and(|team| team.members.contains(&user.id));
            if !member {
                return Err(Failure::membership_not_found(
                    &team.to_string(),
                    &user.id.to_string(),
                ));
            }
        }
        if data.passkey_auth_enabled == Some(true) {
            return Err(Failure::text(400, "Cannot manually enable passkey auth"));
        }
        let explained = [
            &data.restricted_by_admin_reason,
            &data.restricted_by_admin_private_details,
        ]
        .iter()
        .any(|text| matches!(text, Some(Some(_))));
        if explained && !data.restricted_by_admin.unwrap_or(user.restricted_by_admin) {
            return Err(Failure::text(
                400,
                "restricted_by_admin_reason requires restricted_by_admin=true",
            ));
        }
        Ok(())
    }

    fn check_address(&self, user: &User, data: &UserData) -> Result<(), Failure> {
        let old = user.primary();
        let email = match &data.primary_email {
            Some(email) => email.as_deref(),
            None => old.map(|channel| channel.value.as_str()),
        };
        let for_auth = data
            .primary_email_auth_enabled
            .unwrap_or(old.is_some_and(|channel| channel.used_for_auth));
        let Some(email) = email else {
            let removed = data.primary_email == Some(None);
            let demanded =
                data.primary_email_auth_enabled == Some(true) || data.primary_email_verified == Some(true);
            return if demanded && !removed {
                Err(Failure::text(
                    400,
                    "primary_email_auth_enabled cannot be true without primary_email",
                ))
            } else {
                Ok(())
            };
        };
        let somebody_else = self.signs_in(email).is_some_and(|other| other.id != user.id);
        if for_auth && somebody_else {
            Err(Failure::email_exists(email))
        } else {
            Ok(())
        }
    }
}

impl User {
    fn apply(&mut self, data: UserData, now: i64) {
        self.apply_address(&data);
        self.apply_authentication(&data);
        self.apply_restriction(&data);
        set(&mut self.display_name, data.display_name);
        set(&mut self.profile_image_url, data.profile_image_url);
        set(&mut self.client_metadata, data.client_metadata);
        set(
            &mut self.client_read_only_metadata,
            data.client_read_only_metadata,
        );
        set(&mut self.server_metadata, data.server_metadata);
        set(&mut self.country_code, data.country_code);
        set(&mut self.selected_team, data.selected_team_id);
        set(
            &mut self.oauth,
            data.oauth_providers
                .map(|all| all.into_iter().map(Account::from).collect()),
        );
        set(
            &mut self.risk,
            data.risk_scores
                .map(|risk| (risk.sign_up.bot, risk.sign_up.free_trial_abuse)),
        );
        if self.is_anonymous && data.is_anonymous == Some(false) {
            self.signed_up_at = now;
        }
        set(&mut self.is_anonymous, data.is_anonymous);
    }

    fn apply_address(&mut self, data: &UserData) {
        let for_auth = self.primary().is_some_and(|channel| channel.used_for_auth);
        match &data.primary_email {
            Some(None) => return self.demote_primary(),
            Some(Some(email)) => self.make_primary(email).used_for_auth = for_auth,
            None => {}
        }
        if let Some(channel) = self.primary_mut() {
            set(&mut channel.verified, data.primary_email_verified);
            set(&mut channel.used_for_auth, data.primary_email_auth_enabled);
        }
    }

    fn apply_authentication(&mut self, data: &UserData) {
        set(&mut self.password, data.password.clone());
        if let Some(hash) = &data.password_hash {
            self.password = Some(hash.clone());
        }
        set(&mut self.totp_secret, data.totp_secret_base64.clone());
        set(&mut self.otp, data.otp_auth_enabled);
        set(&mut self.passkey, data.passkey_auth_enabled);
    }

    fn apply_restriction(&mut self, data: &UserData) {
        set(&mut self.restricted_by_admin, data.restricted_by_admin);
        set(
            &mut self.restricted_reason,
            data.restricted_by_admin_reason.clone(),
        );
        set(
            &mut self.restricted_private_details,
            data.restricted_by_admin_private_details.clone(),
        );
        if !self.restricted_by_admin {
            self.restricted_reason = None;
            self.restricted_private_details = None;
        }
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

impl From<OauthData> for Account {
    fn from(data: OauthData) -> Account {
        Account {
            id: Uuid::new_v4(),
            provider: data.id,
            account_id: data.account_id,
            email: data.email,
            allow_sign_in: true,
            allow_connected: true,
        }
    }
}
