//! One instance of Clerk's: the users of a secret key, in the order of the list, and their
//! organizations.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use serde_json::{Value, json};

use super::super::webhooks::Webhooks;
use super::user::{Address, Kind, User};

pub struct Instance {
    pub key: String,
    users: HashMap<String, User>,
    /// Of the list: `created_at`, then id.
    order: BTreeSet<(i64, String)>,
    /// Who has an e-mail address or a phone number, by its own id and by its text.
    holders: HashMap<String, String>,
    pub organizations: BTreeMap<String, Organization>,
    pub webhooks: Webhooks,
    /// Where its endpoints are managed, once it is made.
    pub svix_app: Option<String>,
}

pub struct Organization {
    pub id: String,
    pub name: String,
    pub created_at: i64,
    /// By user.
    pub members: BTreeMap<String, Membership>,
}

pub struct Membership {
    pub id: String,
    pub role: String,
    pub public_metadata: Value,
    pub created_at: i64,
}

impl Instance {
    pub fn new(key: String) -> Instance {
        Instance {
            webhooks: Webhooks::new(&key),
            svix_app: None,
            key,
            users: HashMap::new(),
            order: BTreeSet::new(),
            holders: HashMap::new(),
            organizations: BTreeMap::new(),
        }
    }

    pub fn user(&self, id: &str) -> Option<&User> {
        self.users.get(id)
    }

    pub fn insert(&mut self, user: User) {
        self.order.insert((user.created_at, user.id.clone()));
        for address in user.emails.iter().chain(&user.phones) {
            self.holders.insert(address.id.clone(), user.id.clone());
            self.holders.insert(address.value.clone(), user.id.clone());
        }
        self.users.insert(user.id.clone(), user);
    }

    /// A user who was not there before.
    pub fn create(&mut self, user: User) {
        self.webhooks.tell("user.created", || user.view());
        self.insert(user);
    }

    /// For good, with its memberships.
    pub fn remove(&mut self, id: &str) -> Option<User> {
        let user = self.take(id)?;
        for organization in self.organizations.values_mut() {
            organization.members.remove(id);
        }
        self.webhooks.tell(
            "user.deleted",
            || json!({ "id": id, "object": "user", "deleted": true }),
        );
        Some(user)
    }

    /// Changes a user, whose `updated_at` moves on. None if there is no such user.
    pub fn edit<T>(&mut self, id: &str, now: i64, change: impl FnOnce(&mut User) -> T) -> Option<T> {
        let mut user = self.take(id)?;
        let result = change(&mut user);
        user.updated_at = now.max(user.updated_at + 1);
        self.webhooks.tell("user.updated", || user.view());
        self.insert(user);
        Some(result)
    }

    fn take(&mut self, id: &str) -> Option<User> {
        let user = self.users.remove(id)?;
        self.order.remove(&(user.created_at, user.id.clone()));
        for address in user.emails.iter().chain(&user.phones) {
            self.holders.remove(&address.id);
            self.holders.remove(&address.value);
        }
        Some(user)
    }

    /// Who has this address, named by its id or its text.
    pub fn holder(&self, address: &str) -> Option<&User> {
        self.users.get(self.holders.get(address)?)
    }

    pub fn address(&self, kind: Kind, id: &str) -> Option<(&User, &Address)> {
        let user = self.holder(id)?;
        let all = match kind {
            Kind::Email => &user.emails,
            Kind::Phone => &user.phones,
        };
        Some((user, all.iter().find(|address| address.id == id)?))
    }

    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// In the order of creation, after this user.
    pub fn after(&self, user: Option<&User>, newest_first: bool) -> Box<dyn Iterator<Item = &User> + '_> {
        let bound = user.map_or(Bound::Unbounded, |user| {
            Bound::Excluded((user.created_at, user.id.clone()))
        });
        let of = |(_, id): &(i64, String)| self.users.get(id);
        match newest_first {
            true => Box::new(self.order.range((Bound::Unbounded, bound)).rev().filter_map(of)),
            false => Box::new(self.order.range((bound, Bound::Unbounded)).filter_map(of)),
        }
    }
}
