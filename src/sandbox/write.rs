//! The effect of what callers write: users come to be and change.

use uuid::Uuid;

use super::data::UserData;
use super::failure::Failure;
use super::project::{Project, Team};
use super::user::{Account, User};

impl Project {
    /// # Errors
    /// If the address signs in somebody else, or fields contradict one another.
    pub fn create_user(&mut self, data: UserData, now: i64) -> Result<Uuid, Failure> {
        let mut user = User::new(Uuid::new_v4(), now);
        self.check(&user, &data)?;
        let id = user.id;
        user.apply(data, now);
        self.insert(user);
        self.tell_of_user("user.created", id);
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
        self.tell_of_user("user.updated", id);
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
        self.tell_of_team("team.created", id);
        self.tell_of_member("team_membership.created", id, user);
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
