//! The users and keys that are there from the start: the same ones every time, made from an index.

use serde_json::json;
use uuid::Uuid;

use super::project::{Keys, Project};
use super::user::{Account, Channel, User};

/// 2023-01-01T00:00:00Z, in milliseconds.
const FIRST_SIGN_UP: i64 = 1_672_531_200_000;
/// Ten minutes between sign-ups: 100,000 of them stay within two years.
const BETWEEN_SIGN_UPS: i64 = 600_000;

const NAMES: [&str; 8] = [
    "Ada Lovelace",
    "Zoë Åkesson",
    "Grace Hopper",
    "O'Brien, Miles",
    "李小龙",
    "Emmy Noether",
    "🦀 Ferris",
    "Alan Turing",
];

/// The password of seeded users who have one.
pub const PASSWORD: &str = "correct horse battery";

pub fn keys(project: usize) -> Keys {
    let id = id(project, Kind::Project);
    let key = |prefix: &str, kind| {
        let (a, b) = (id_from(project, kind), id_from(project, kind.wrapping_add(100)));
        format!("{prefix}_{:.45}", format!("{}{}", a.simple(), b.simple()))
    };
    Keys {
        project_id: id.to_string(),
        publishable_client_key: key("pck", 11),
        secret_server_key: key("ssk", 12),
        super_secret_admin_key: key("sak", 13),
        others: Vec::new(),
    }
}

pub fn users(project: &mut Project, count: usize) {
    for index in 0..count {
        project.insert(user(index));
    }
}

/// Of every ten, one is anonymous and one more has no address; some are restricted, some have
/// metadata, some sign in by OAuth or a password, some share the millisecond of their sign-up.
fn user(index: usize) -> User {
    let shared = usize::from(index % 7 == 3);
    let step = i64::try_from(index - shared).unwrap_or_default();
    let mut user = User::new(id(index, Kind::User), FIRST_SIGN_UP + step * BETWEEN_SIGN_UPS);
    user.is_anonymous = index % 10 == 9;
    if !user.is_anonymous {
        name(&mut user, index);
        address(&mut user, index);
        standing(&mut user, index);
    }
    user
}

fn name(user: &mut User, index: usize) {
    if index % 4 != 3 {
        let name = NAMES.get(index % NAMES.len()).copied().unwrap_or_default();
        user.display_name = Some(format!("{name} {index}"));
    }
    if index.is_multiple_of(5) {
        user.client_metadata = json!({ "theme": "dark", "visits": index });
        user.server_metadata = json!({ "plan": if index.is_multiple_of(2) { "pro" } else { "free" } });
    }
    if index % 6 == 1 {
        user.profile_image_url = Some(format!("https://images.example.com/{index}.png"));
    }
}

fn address(user: &mut User, index: usize) {
    if index % 10 == 8 {
        return;
    }
    let channel = Channel {
        id: id(index, Kind::Channel),
        value: format!("user{index}@example.com"),
        primary: true,
        verified: !index.is_multiple_of(3),
        used_for_auth: true,
    };
    user.channels.push(channel);
    user.otp = index.is_multiple_of(2);
    user.password = (index % 10 == 1).then(|| PASSWORD.to_owned());
}

fn standing(user: &mut User, index: usize) {
    if index % 50 == 17 {
        user.restricted_by_admin = true;
        user.restricted_reason = Some("unpaid".to_owned());
    }
    if index % 12 == 5 {
        user.oauth.push(Account {
            id: id(index, Kind::Account),
            provider: "github".to_owned(),
            account_id: (1_000_000 + index).to_string(),
            email: user.primary().map(|channel| channel.value.clone()),
            allow_sign_in: true,
            allow_connected: true,
        });
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Project = 1,
    User,
    Channel,
    Account,
}

fn id(index: usize, kind: Kind) -> Uuid {
    id_from(index, kind as u64)
}

fn id_from(index: usize, kind: u64) -> Uuid {
    let seed = (index as u64) << 16 | kind << 1;
    let bytes = u128::from(mix(seed)) << 64 | u128::from(mix(seed | 1));
    uuid::Builder::from_random_bytes(bytes.to_be_bytes()).into_uuid()
}

/// SplitMix64: looks random, is the same on every machine and in every version.
fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn there_are_exactly_as_many_as_asked_for_of_every_kind() {
        let mut project = Project::new(keys(0));
        users(&mut project, 5_000);
        let ids = project.ids();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 5_000);
        let every = || ids.iter().map(|id| project.user(*id).unwrap());
        assert_eq!(every().filter(|user| user.is_anonymous).count(), 500);
        assert!(every().any(|user| user.restricted_by_admin && user.primary().is_some()));
        assert!(every().any(|user| user.primary().is_none() && !user.is_anonymous));
    }

    #[test]
    fn keys_look_like_the_providers_and_are_the_same_every_time() {
        let keys = keys(0);
        assert!(keys.secret_server_key.starts_with("ssk_") && keys.secret_server_key.len() == 49);
        assert_eq!(keys.secret_server_key, super::keys(0).secret_server_key);
        assert_ne!(keys.secret_server_key, super::keys(1).secret_server_key);
        assert_ne!(keys.secret_server_key[4..], keys.publishable_client_key[4..]);
    }
}
