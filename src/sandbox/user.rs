//! A user as the provider keeps one.

use serde_json::{Value, json};
use uuid::Uuid;

pub struct User {
    pub id: Uuid,
    pub display_name: Option<String>,
    pub profile_image_url: Option<String>,
    /// E-mail addresses; at most one is primary.
    pub channels: Vec<Channel>,
    /// Milliseconds since 1970; a new one when an anonymous user signs up.
    pub signed_up_at: i64,
    /// Milliseconds since 1970; moves with every sign-in and refresh.
    pub last_active_at: i64,
    pub client_metadata: Value,
    pub client_read_only_metadata: Value,
    pub server_metadata: Value,
    pub password: Option<String>,
    pub otp: bool,
    pub passkey: bool,
    pub totp_secret: Option<String>,
    pub is_anonymous: bool,
    pub restricted_by_admin: bool,
    pub restricted_reason: Option<String>,
    pub restricted_private_details: Option<String>,
    pub country_code: Option<String>,
    /// Sign-up scores from 0 to 100: bot, abuse of free trials.
    pub risk: (u8, u8),
    pub oauth: Vec<Account>,
    pub selected_team: Option<Uuid>,
}

#[derive(Debug, Clone)]
pub struct Channel {
    pub id: Uuid,
    /// An address, in lower case.
    pub value: String,
    pub primary: bool,
    pub verified: bool,
    pub used_for_auth: bool,
}

/// An account at an OAuth provider.
#[derive(Debug, Clone)]
pub struct Account {
    pub id: Uuid,
    pub provider: String,
    pub account_id: String,
    pub email: Option<String>,
    pub allow_sign_in: bool,
    pub allow_connected: bool,
}

impl User {
    pub fn new(id: Uuid, now: i64) -> User {
        User {
            id,
            display_name: None,
            profile_image_url: None,
            channels: Vec::new(),
            signed_up_at: now,
            last_active_at: now,
            client_metadata: Value::Null,
            client_read_only_metadata: Value::Null,
            server_metadata: Value::Null,
            password: None,
            otp: false,
            passkey: false,
            totp_secret: None,
            is_anonymous: false,
            restricted_by_admin: false,
            restricted_reason: None,
            restricted_private_details: None,
            country_code: None,
            risk: (0, 0),
            oauth: Vec::new(),
            selected_team: None,
        }
    }

    pub fn primary(&self) -> Option<&Channel> {
        self.channels.iter().find(|channel| channel.primary)
    }

    pub fn primary_mut(&mut self) -> Option<&mut Channel> {
        self.channels.iter_mut().find(|channel| channel.primary)
    }

    pub fn channel_mut(&mut self, id: Uuid) -> Option<&mut Channel> {
        self.channels.iter_mut().find(|channel| channel.id == id)
    }

    /// Makes an address the primary one, adding it if it is new; the old one stays, demoted.
    pub fn make_primary(&mut self, value: &str) -> &mut Channel {
        self.demote_primary();
        let at = self
            .channels
            .iter()
            .position(|channel| channel.value == value)
            .unwrap_or_else(|| {
                self.channels.push(Channel::new(value));
                self.channels.len() - 1
            });
        let channel = &mut self.channels[at];
        channel.primary = true;
        channel
    }

    pub fn demote_primary(&mut self) {
        for channel in &mut self.channels {
            channel.primary = false;
        }
    }

    /// Why the user may not do everything; null if nothing stands in the way.
    pub fn restriction(&self, require_email_verification: bool) -> Value {
        let verified = self.primary().is_some_and(|channel| channel.verified);
        let reason = if self.is_anonymous {
            "anonymous"
        } else if require_email_verification && !verified {
            "email_not_verified"
        } else if self.restricted_by_admin {
            "restricted_by_administrator"
        } else {
            return Value::Null;
        };
        json!({ "type": reason })
    }

    /// Whether a list's `query` finds the user: its id, or a part of its name or of an address.
    pub fn matches(&self, query: &str) -> bool {
        let query = query.to_lowercase();
        let in_name = self
            .display_name
            .as_ref()
            .is_some_and(|name| name.to_lowercase().contains(&query));
        in_name
            || self.channels.iter().any(|channel| channel.value.contains(&query))
            || self.id.to_string() == query
    }
}

impl Channel {
    pub fn new(value: &str) -> Channel {
        Channel {
            id: Uuid::new_v4(),
            value: value.to_owned(),
            primary: false,
            verified: false,
            used_for_auth: false,
        }
    }
}
