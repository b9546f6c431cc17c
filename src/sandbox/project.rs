//! One tenant: its users, teams, sessions and codes, and the two indexes that keep them fast.
//!
//! A user changes only through [`Project::edit`], so that the order of the list and the addresses
//! that sign in can never disagree with the users.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use serde_json::{Value, json};
use uuid::Uuid;

use super::token::opaque;
use super::user::User;
use super::view::{KeyOrder, View};
use super::webhooks::Webhooks;

#[derive(Debug, Clone)]
pub struct Keys {
    pub project_id: String,
    pub publishable_client_key: String,
    pub secret_server_key: String,
    pub super_secret_admin_key: String,
    /// Of further sets; what a key is for stands in its beginning.
    pub others: Vec<String>,
}

impl Keys {
    /// As the provider makes them.
    pub fn random() -> Keys {
        let key = |kind: &str| format!("{kind}_{}", opaque());
        Keys {
            project_id: Uuid::new_v4().to_string(),
            publishable_client_key: key("pck"),
            secret_server_key: key("ssk"),
            super_secret_admin_key: key("sak"),
            others: Vec::new(),
        }
    }

    /// Whether a key is this one or another of its kind.
    pub fn accepts(&self, own: &str, given: &str) -> bool {
        let of_kind = own.split('_').next() == given.split('_').next();
        own == given || of_kind && self.others.iter().any(|other| other == given)
    }
}

pub struct Project {
    pub keys: Keys,
    pub display_name: String,
    users: HashMap<Uuid, User>,
    /// Of the list: `signed_up_at`, then id.
    order: BTreeSet<(i64, Uuid)>,
    /// Who signs in with an address.
    sign_in: HashMap<String, Uuid>,
    pub teams: BTreeMap<Uuid, Team>,
    /// By refresh token.
    pub sessions: HashMap<String, Session>,
    pub codes: HashMap<String, Code>,
    /// The last code that went to an address.
    pub mailbox: HashMap<String, String>,
    pub require_email_verification: bool,
    pub personal_teams: bool,
    /// Whether users may delete themselves.
    pub client_user_deletion: bool,
    pub deleted: bool,
    pub webhooks: Webhooks,
}

pub struct Team {
    pub id: Uuid,
    pub display_name: String,
    pub profile_image_url: Option<String>,
    pub created_at: i64,
    pub client_metadata: Value,
    pub client_read_only_metadata: Value,
    pub server_metadata: Value,
    pub members: BTreeSet<Uuid>,
}

pub struct Session {
    pub id: Uuid,
    pub user: Uuid,
    pub created_at: i64,
}

/// Something that was mailed or handed out, good for one use.
#[derive(Debug, Clone)]
pub struct Code {
    pub purpose: Purpose,
    pub used: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    SignIn { email: String },
    ResetPassword { user: Uuid },
    VerifyChannel { user: Uuid, channel: Uuid },
    SecondFactor { user: Uuid },
    Oauth { user: Uuid, is_new: bool },
    Invitation { team: Uuid, id: Uuid },
    CliLogin { polling_code: String },
    CliPoll { refresh_token: Option<String> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Ascending,
    Descending,
}

impl Project {
    pub fn new(keys: Keys) -> Project {
        let webhooks = Webhooks::new(&keys.super_secret_admin_key);
        Project {
            webhooks,
            keys,
            display_name: "Sandbox".to_owned(),
            users: HashMap::new(),
            order: BTreeSet::new(),
            sign_in: HashMap::new(),
            teams: BTreeMap::new(),
            sessions: HashMap::new(),
            codes: HashMap::new(),
            mailbox: HashMap::new(),
            require_email_verification: false,
            personal_teams: false,
            client_user_deletion: false,
            deleted: false,
        }
    }

    pub fn user(&self, id: Uuid) -> Option<&User> {
        self.users.get(&id)
    }

    pub fn insert(&mut self, user: User) {
        self.order.insert((user.signed_up_at, user.id));
        for address in sign_in_addresses(&user) {
            self.sign_in.insert(address.to_owned(), user.id);
        }
        self.users.insert(user.id, user);
    }

    /// For good, with its sessions and memberships; its teams stay.
    pub fn remove(&mut self, id: Uuid) -> Option<User> {
        let user = self.take(id)?;
        self.end_sessions(id);
        let mut teams = Vec::new();
        for team in self.teams.values_mut() {
            if team.members.remove(&id) {
                teams.push(team.id);
            }
        }
        self.tell_of_deletion(id, &teams);
        Some(user)
    }

    /// None if there is no such user.
    pub fn edit<T>(&mut self, id: Uuid, change: impl FnOnce(&mut User) -> T) -> Option<T> {
        let mut user = self.take(id)?;
        let result = change(&mut user);
        self.insert(user);
        Some(result)
    }

    /// An event about a user, whole, as it is now.
    pub fn tell_of_user(&self, kind: &str, id: Uuid) {
        if let Some(user) = self.user(id) {
            self.webhooks.tell(kind, || {
                json!(self.user_view(user, View::Server, KeyOrder::Forward))
            });
        }
    }

    pub fn tell_of_team(&self, kind: &str, id: Uuid) {
        if let Some(team) = self.teams.get(&id) {
            self.webhooks.tell(kind, || team.view(View::Server));
        }
    }

    pub fn tell_of_member(&self, kind: &str, team: Uuid, user: Uuid) {
        self.webhooks
            .tell(kind, || json!({ "team_id": team, "user_id": user }));
    }

    fn tell_of_deletion(&self, id: Uuid, teams: &[Uuid]) {
        let of = |team: &Uuid| json!({ "id": team });
        self.webhooks.tell(
            "user.deleted",
            || json!({ "id": id, "teams": teams.iter().map(of).collect::<Vec<_>>() }),
        );
        for team in teams {
            self.tell_of_member("team_membership.deleted", *team, id);
        }
    }

    fn take(&mut self, id: Uuid) -> Option<User> {
        let user = self.users.remove(&id)?;
        self.order.remove(&(user.signed_up_at, id));
        for address in sign_in_addresses(&user) {
            self.sign_in.remove(address);
        }
        Some(user)
    }

    /// The one user whom an address signs in.
    pub fn signs_in(&self, address: &str) -> Option<&User> {
        self.users.get(self.sign_in.get(address)?)
    }

    pub fn ids(&self) -> Vec<Uuid> {
        self.order.iter().map(|(_, id)| *id).collect()
    }

    /// From `start` on, it included; from the very first without one. None if there is no such user.
    pub fn walk(
        &self,
        start: Option<Uuid>,
        direction: Direction,
    ) -> Option<Box<dyn Iterator<Item = &User> + '_>> {
        let start = match start {
            None => Bound::Unbounded,
            Some(id) => Bound::Included((self.users.get(&id)?.signed_up_at, id)),
        };
        let user = |(_, id): &(i64, Uuid)| self.users.get(id);
        Some(match direction {
            Direction::Ascending => Box::new(self.order.range((start, Bound::Unbounded)).filter_map(user)),
            Direction::Descending => {
                Box::new(self.order.range((Bound::Unbounded, start)).rev().filter_map(user))
            }
        })
    }

    pub fn end_sessions(&mut self, user: Uuid) {
        self.sessions.retain(|_, session| session.user != user);
    }

    pub fn remove_all(&mut self) {
        self.deleted = true;
        self.users.clear();
        self.order.clear();
        self.sign_in.clear();
        self.sessions.clear();
        self.teams.clear();
    }

    /// Takes a team away from whoever is or was in it: the selection goes with the membership.
    pub fn deselect(&mut self, team: Uuid, member: Uuid) {
        self.edit(member, |user| {
            if user.selected_team == Some(team) {
                user.selected_team = None;
            }
        });
    }
}

fn sign_in_addresses(user: &User) -> impl Iterator<Item = &str> {
    user.channels
        .iter()
        .filter(|channel| channel.used_for_auth)
        .map(|channel| channel.value.as_str())
}

impl Team {
    pub fn new(display_name: &str, now: i64) -> Team {
        Team {
            id: Uuid::new_v4(),
            display_name: display_name.to_owned(),
            profile_image_url: None,
            created_at: now,
            client_metadata: Value::Null,
            client_read_only_metadata: Value::Null,
            server_metadata: Value::Null,
            members: BTreeSet::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::seed;

    fn project() -> Project {
        let mut project = Project::new(seed::keys(0));
        for (at, id) in [(5, 1), (5, 0), (7, 9)] {
            project.insert(User::new(Uuid::from_u128(id), at));
        }
        project
    }

    fn walked(project: &Project, start: Option<u128>, direction: Direction) -> Vec<u128> {
        let start = start.map(Uuid::from_u128);
        project
            .walk(start, direction)
            .unwrap()
            .map(|user| user.id.as_u128())
            .collect()
    }

    #[test]
    fn the_list_is_by_sign_up_then_id_and_starts_with_the_cursor() {
        let project = project();
        assert_eq!(walked(&project, None, Direction::Ascending), [0, 1, 9]);
        assert_eq!(walked(&project, Some(1), Direction::Ascending), [1, 9]);
        assert_eq!(walked(&project, Some(1), Direction::Descending), [1, 0]);
        assert!(
            project
                .walk(Some(Uuid::from_u128(4)), Direction::Ascending)
                .is_none()
        );
    }

    #[test]
    fn an_edit_moves_the_user_in_the_list_and_its_address_with_it() {
        let mut project = project();
        project.edit(Uuid::from_u128(0), |user| {
            user.signed_up_at = 8;
            user.make_primary("a@example.com").used_for_auth = true;
        });
        assert_eq!(walked(&project, None, Direction::Ascending), [1, 9, 0]);
        assert_eq!(project.signs_in("a@example.com").unwrap().id.as_u128(), 0);
        project.remove(Uuid::from_u128(0));
        assert!(project.signs_in("a@example.com").is_none());
    }
}
