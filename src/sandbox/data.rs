//! What callers write about users: the fields of a create or an update.

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use uuid::Uuid;

use super::failure::Failure;
use super::user::Account;

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
    pub sign_up: SignUpScores,
}

#[derive(Clone, Copy, Deserialize)]
pub struct SignUpScores {
    pub bot: u8,
    pub free_trial_abuse: u8,
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
