//! One user, and how Clerk shows it.

use serde_json::{Map, Value, json};

#[derive(Debug, Clone)]
pub struct User {
    pub id: String,
    pub created_at: i64,
    /// Moves on with every change.
    pub updated_at: i64,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub username: Option<String>,
    pub external_id: Option<String>,
    pub emails: Vec<Address>,
    pub primary_email: Option<String>,
    pub phones: Vec<Address>,
    pub primary_phone: Option<String>,
    pub public_metadata: Map<String, Value>,
    pub private_metadata: Map<String, Value>,
    pub unsafe_metadata: Map<String, Value>,
    pub has_image: bool,
    pub password: Option<String>,
    pub banned: bool,
    pub locked: bool,
    pub last_sign_in_at: Option<i64>,
    pub last_active_at: Option<i64>,
}

/// An e-mail address or a phone number.
#[derive(Debug, Clone)]
pub struct Address {
    pub id: String,
    pub value: String,
    pub verified: bool,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Email,
    Phone,
}

impl Kind {
    /// In objects and their fields.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Email => "email_address",
            Kind::Phone => "phone_number",
        }
    }
}

impl Address {
    pub fn new(value: &str, verified: bool, now: i64) -> Address {
        Address {
            id: new_id("idn"),
            value: value.to_owned(),
            verified,
            created_at: now,
            updated_at: now,
        }
    }

    pub fn view(&self, kind: Kind) -> Value {
        let verification = self.verified.then(
            || json!({ "object": "verification_admin", "status": "verified", "strategy": "admin", "attempts": null, "expire_at": null }),
        );
        let mut view = json!({
            "id": self.id, "object": kind.name(), "reserved": false, "verification": verification,
            "linked_to": [], "created_at": self.created_at, "updated_at": self.updated_at,
        });
        if let Some(fields) = view.as_object_mut() {
            fields.insert(kind.name().into(), self.value.clone().into());
            if kind == Kind::Email {
                fields.insert("matches_sso_connection".into(), false.into());
            }
        }
        view
    }
}

impl User {
    pub fn new(id: String, now: i64) -> User {
        User {
            id,
            created_at: now,
            updated_at: now,
            first_name: None,
            last_name: None,
            username: None,
            external_id: None,
            emails: Vec::new(),
            primary_email: None,
            phones: Vec::new(),
            primary_phone: None,
            public_metadata: Map::new(),
            private_metadata: Map::new(),
            unsafe_metadata: Map::new(),
            has_image: false,
            password: None,
            banned: false,
            locked: false,
            last_sign_in_at: None,
            last_active_at: None,
        }
    }

    pub fn addresses(&mut self, kind: Kind) -> (&mut Vec<Address>, &mut Option<String>) {
        match kind {
            Kind::Email => (&mut self.emails, &mut self.primary_email),
            Kind::Phone => (&mut self.phones, &mut self.primary_phone),
        }
    }

    /// The first one becomes the primary one.
    pub fn add(&mut self, kind: Kind, address: Address) {
        let (all, primary) = self.addresses(kind);
        primary.get_or_insert_with(|| address.id.clone());
        all.push(address);
    }

    /// Whether it was there. The next one becomes the primary one.
    pub fn remove(&mut self, kind: Kind, id: &str) -> bool {
        let (all, primary) = self.addresses(kind);
        let before = all.len();
        all.retain(|address| address.id != id);
        if primary.as_deref() == Some(id) {
            *primary = all.first().map(|address| address.id.clone());
        }
        all.len() < before
    }

    pub fn view(&self) -> Value {
        let image = format!("https://img.clerk.example/{}", self.id);
        let emails: Vec<_> = self.emails.iter().map(|one| one.view(Kind::Email)).collect();
        let phones: Vec<_> = self.phones.iter().map(|one| one.view(Kind::Phone)).collect();
        json!({
            "id": self.id, "object": "user", "username": self.username,
            "first_name": self.first_name, "last_name": self.last_name, "locale": null,
            "image_url": image, "has_image": self.has_image,
            "primary_email_address_id": self.primary_email, "primary_phone_number_id": self.primary_phone,
            "primary_web3_wallet_id": null, "password_enabled": self.password.is_some(),
            "two_factor_enabled": false, "totp_enabled": false, "backup_code_enabled": false,
            "email_addresses": emails, "phone_numbers": phones, "web3_wallets": [], "passkeys": [],
            "external_accounts": [], "saml_accounts": [], "enterprise_accounts": [],
            "public_metadata": self.public_metadata, "private_metadata": self.private_metadata,
            "unsafe_metadata": self.unsafe_metadata, "external_id": self.external_id,
            "last_sign_in_at": self.last_sign_in_at, "banned": self.banned, "locked": self.locked,
            "lockout_expires_in_seconds": null, "verification_attempts_remaining": 100,
            "created_at": self.created_at, "updated_at": self.updated_at, "delete_self_enabled": true,
            "create_organization_enabled": true, "last_active_at": self.last_active_at,
            "mfa_enabled_at": null, "mfa_disabled_at": null, "legal_accepted_at": null,
            "deprovisioned": false,
        })
    }

    /// For `query` and the like: somewhere in a name or an address, whatever the case.
    pub fn matches(&self, query: &str) -> bool {
        let query = query.to_lowercase();
        let names = [&self.first_name, &self.last_name, &self.username]
            .into_iter()
            .flatten();
        let addresses = self.emails.iter().chain(&self.phones).map(|one| &one.value);
        let mut texts = names.chain(addresses).chain([&self.id]);
        texts.any(|text| text.to_lowercase().contains(&query))
    }
}

/// `user_` and 27 letters and digits, from so many bits.
pub fn id_of(kind: &str, mut number: u128) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut digits = ['0'; 27];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS
            .get((number % 62) as usize)
            .map_or('0', |digit| char::from(*digit));
        number /= 62;
    }
    format!("{kind}_{}", digits.iter().collect::<String>())
}

pub fn new_id(kind: &str) -> String {
    id_of(kind, uuid::Uuid::new_v4().as_u128())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_look_like_clerks() {
        let id = new_id("user");
        assert!(id.starts_with("user_") && id.len() == 32, "{id}");
        assert_ne!(id, new_id("user"));
    }

    #[test]
    fn an_address_that_goes_leaves_the_next_one_primary() {
        let mut user = User::new(new_id("user"), 1);
        user.add(Kind::Email, Address::new("a@example.com", true, 1));
        user.add(Kind::Email, Address::new("b@example.com", true, 1));
        let first = user.emails[0].id.clone();
        assert_eq!(user.primary_email.as_deref(), Some(&*first));
        assert!(user.remove(Kind::Email, &first) && !user.remove(Kind::Email, &first));
        assert_eq!(user.primary_email, Some(user.emails[0].id.clone()));
    }
}
