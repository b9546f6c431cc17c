//! The users and keys that are there from the start: the same ones every time, made from an index.

use sha2::{Digest, Sha256};

use super::instance::Instance;
use super::user::{Address, Kind, User, id_of};

/// 2023-01-01T00:00:00Z, in milliseconds.
const FIRST: i64 = 1_672_531_200_000;
/// Ten minutes between sign-ups: 100,000 of them stay within two years.
const BETWEEN: i64 = 600_000;

const NAMES: [(&str, Option<&str>); 8] = [
    ("Ada", Some("Lovelace")),
    ("Zoë", Some("Åkesson")),
    ("Grace", Some("Hopper")),
    ("Miles", Some("O'Brien, Jr.")),
    ("小龙", Some("李")),
    ("Emmy", None),
    ("🦀", Some("Ferris")),
    ("Alan", Some("Turing")),
];

/// Of a production instance, whose limits are the wider ones.
pub fn key(instance: usize) -> String {
    let key = id_of("sandbox", number("key", instance));
    format!("sk_live_{key}")
}

pub fn users(instance: &mut Instance, how_many: usize) {
    (0..how_many).for_each(|index| instance.insert(user(index)));
}

fn user(index: usize) -> User {
    let now = FIRST + BETWEEN * index as i64;
    let mut user = User::new(id_of("user", number("user", index)), now);
    let (first, last) = NAMES.get(index % NAMES.len()).copied().unwrap_or_default();
    user.first_name = Some(first.to_owned());
    user.last_name = last.map(str::to_owned);
    if !index.is_multiple_of(10) {
        let mut email = Address::new(&format!("user{index}@example.com"), true, now);
        email.id = id_of("idn", number("idn", index));
        user.add(Kind::Email, email);
    }
    if index.is_multiple_of(7) {
        user.username = Some(format!("user{index}"));
        user.public_metadata.insert("plan".into(), "pro".into());
    }
    user
}

fn number(kind: &str, index: usize) -> u128 {
    let digest = Sha256::digest(format!("clerk {kind} {index}"));
    let mut first = [0; 16];
    first.copy_from_slice(&digest.as_slice()[..16]);
    u128::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_the_same_at_every_start() {
        assert_eq!(user(3).view(), user(3).view());
        assert_ne!(key(0), key(1));
        assert!(key(0).starts_with("sk_live_"));
    }
}
