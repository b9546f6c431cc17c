//! What a row that somebody changed by hand comes to.
//!
//! Pure: given what the feed last told of the user and what stands in the table now, the change
//! that must follow. The provider's truth comes back by the read that every such change owes:
//! whatever was written by hand equals nothing that the provider can show. What a trigger of the users'
//! own made of another row is their word: told, and left so.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::batch::{DoubtWrite, Loaded, State, Write, state_of};
use super::change::{Change, Kind, nonce, spelled};
use super::merge::Standing;
use crate::db::columns::Columns;
use crate::user::time::told;
use crate::user::{ContentHash, Origin, Source, UserId};

/// What was noted of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    pub id: UserId,
    /// The columns before the first of the changes, as JSON.
    pub before: Option<String>,
    pub raw_differs: bool,
    /// How many changes were noted, and by how many transactions: between two of these the row was seen otherwise
    /// than it was and is.
    pub changes: i64,
    pub transactions: i64,
    /// By a trigger of the users' own, in a transaction of the recorder's.
    pub is_nested: bool,
}

/// No user has this content: SHA-256 gives it to nothing that anybody has found.
pub const NOBODYS: ContentHash = ContentHash([0; 16]);

/// The write that tells of it and owes a read.
pub fn write(noted: &Noted, loaded: &Loaded) -> Write {
    let kind = kind(noted, loaded);
    let before = noted.before.as_deref().and_then(columns);
    let now = loaded.row.clone().unwrap_or_default();
    let differing = changed(
        before.as_ref().unwrap_or(&Columns::default()),
        &now,
        noted.raw_differs,
    );
    // What was taken back before anybody saw it is none. Of a nested one it is known that the feed's last word is another.
    let is_seen = noted.transactions > 1 || noted.is_nested || !differing.is_empty();
    let is_told = kind.is_some_and(|kind| kind != Kind::Updated || is_seen);
    let change = kind.filter(|_| is_told).map(|kind| Change {
        kind,
        changed: if kind == Kind::Created {
            Vec::new()
        } else {
            differing
        },
        before: before.as_ref().filter(|_| kind != Kind::Purged).map(spelled),
        source: Arc::new(Source {
            origin: Origin::Sql,
            route: "".into(),
            request_id: "".into(),
        }),
        nonce: nonce(),
    });
    let write = Write::doubted(loaded, state_after(loaded));
    match noted.is_nested {
        true => as_wanted(Write { change, ..write }, loaded),
        false => Write { change, ..write },
    }
}

/// What a trigger wants is not put back: two rows that it keeps apart would take turns for ever.
fn as_wanted(write: Write, loaded: &Loaded) -> Write {
    let is_update = write
        .change
        .as_ref()
        .is_none_or(|change| change.kind == Kind::Updated);
    Write {
        state: if is_update { state_of(loaded) } else { write.state },
        doubt: DoubtWrite::Keep(loaded.known.doubt),
        ..write
    }
}

/// What happened, as a consumer must hear it who knows what the feed told so far, and may have taken a snapshot since.
fn kind(noted: &Noted, loaded: &Loaded) -> Option<Kind> {
    let is_deleted = loaded.row.as_ref().map(|row| row.deleted_at.is_some());
    match (loaded.told, is_deleted) {
        (Standing::None | Standing::Purged, None) => was_there(noted).then_some(Kind::Purged),
        (Standing::Purged, Some(_)) => Some(Kind::Restored),
        (Standing::None, Some(_)) => Some(Kind::Created),
        (_, None) => Some(Kind::Purged),
        (Standing::Deleted, Some(false)) => Some(Kind::Restored),
        (Standing::Skeleton | Standing::Present(_), Some(true)) => Some(Kind::Deleted),
        (_, Some(_)) => Some(Kind::Updated),
    }
}

/// A row that is noted was there, and somebody may know it: it was told and then judged to be gone by what the provider
/// said before its going was numbered, or it came and went between two looks and a snapshot had it. Told twice, it does no
/// harm.
fn was_there(noted: &Noted) -> bool {
    let is_at_once = noted.changes > 1 && noted.transactions == 1;
    noted.before.is_some() || !is_at_once
}

/// A tombstone stays one; a row that is gone by hand is nothing to the provider's truth.
fn state_after(loaded: &Loaded) -> State {
    let standing = match (&loaded.row, loaded.told.is_deleted()) {
        (None, true) => Standing::Purged,
        (None, false) => Standing::None,
        (Some(row), _) if row.deleted_at.is_some() => Standing::Deleted,
        (Some(_), _) => Standing::Present(NOBODYS),
    };
    State {
        standing,
        version: None,
        volatile: None,
        volatile_at: None,
        ..state_of(loaded)
    }
}

/// What was noted, whose times are as the session of whoever changed them spells times.
fn columns(noted: &str) -> Option<Columns> {
    let noted: Value = serde_json::from_str(noted).ok()?;
    let text = |name: &str| noted[name].as_str().map(str::to_owned);
    let time = |name: &str| noted[name].as_str()?.parse().ok();
    Some(Columns {
        name: text("name"),
        email: text("email"),
        created_at: time("created_at"),
        updated_at: time("updated_at"),
        deleted_at: time("deleted_at"),
    })
}

/// Names of the columns that differ from what stood there before.
fn changed(before: &Columns, now: &Columns, raw_differs: bool) -> Vec<&'static str> {
    // One that nobody is told of differs from none in nothing.
    let differs = |before: Option<DateTime<Utc>>, now: Option<DateTime<Utc>>| {
        before.and_then(told) != now.and_then(told)
    };
    let differing = [
        ("name", before.name != now.name),
        ("email", before.email != now.email),
        ("created_at", differs(before.created_at, now.created_at)),
        ("updated_at", differs(before.updated_at, now.updated_at)),
        ("deleted_at", differs(before.deleted_at, now.deleted_at)),
        ("raw_json", raw_differs),
    ];
    differing
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::batch::Aside;
    use super::super::memory::stranger;
    use super::*;
    use crate::user::IdType;

    fn loaded(told: Standing, name: Option<&str>) -> Loaded {
        let row = name.map(|name| Columns {
            name: Some(name.into()),
            ..Columns::default()
        });
        Loaded {
            known: stranger(),
            told,
            has_state: true,
            volatile: None,
            volatile_at: None,
            refused: None,
            aside: Aside::No,
            row,
            raw: None,
        }
    }

    fn told(told: Standing, name: Option<&str>, raw_differs: bool) -> Option<(Kind, Vec<&'static str>)> {
        let noted = Noted {
            id: UserId::parse("u", IdType::Text).unwrap(),
            before: Some(r#"{"name":"Ada"}"#.into()),
            raw_differs,
            changes: 1,
            transactions: 1,
            is_nested: false,
        };
        let write = write(&noted, &loaded(told, name));
        assert_eq!(write.doubt, DoubtWrite::Raise);
        write.change.map(|change| (change.kind, change.changed))
    }

    #[test]
    fn a_consumer_hears_what_it_must() {
        let present = Standing::Present(NOBODYS);
        assert_eq!(
            told(present, Some("Eve"), false),
            Some((Kind::Updated, vec!["name"]))
        );
        assert_eq!(
            told(present, Some("Ada"), true),
            Some((Kind::Updated, vec!["raw_json"]))
        );
        assert_eq!(told(present, Some("Ada"), false), None);
        for (before, now, kind) in [
            (present, None, Kind::Purged),
            (Standing::Deleted, None, Kind::Purged),
            (Standing::None, Some("Eve"), Kind::Created),
            (Standing::Purged, Some("Eve"), Kind::Restored),
            (Standing::Deleted, Some("Eve"), Kind::Restored),
        ] {
            assert_eq!(told(before, now, true).map(|(kind, _)| kind), Some(kind));
        }
    }

    #[test]
    fn what_a_trigger_wrote_is_told_and_owes_no_read() {
        let ada = Noted {
            id: UserId::parse("u", IdType::Text).unwrap(),
            before: Some(r#"{"name":"Ada"}"#.into()),
            raw_differs: false,
            changes: 1,
            transactions: 1,
            is_nested: true,
        };
        let present = Standing::Present(ContentHash([1; 16]));
        // Also where it is as it was: another name was told in between.
        for name in ["Eve", "Ada"] {
            let mut before = loaded(present, Some(name));
            before.known.standing = present;
            let write = write(&ada, &before);
            assert_eq!(write.change.map(|change| change.kind), Some(Kind::Updated));
            assert_eq!(
                (write.doubt, write.state.standing),
                (DoubtWrite::Keep(None), present)
            );
        }
        let gone = write(&ada, &loaded(present, None));
        assert_eq!(gone.change.map(|change| change.kind), Some(Kind::Purged));
        assert_eq!(
            (gone.doubt, gone.state.standing),
            (DoubtWrite::Keep(None), Standing::None)
        );
    }

    #[test]
    fn what_a_snapshot_may_have_shown_in_between_is_told() {
        let noted = |before: Option<&str>, changes, transactions| Noted {
            id: UserId::parse("u", IdType::Text).unwrap(),
            before: before.map(str::to_owned),
            raw_differs: false,
            changes,
            transactions,
            is_nested: false,
        };
        let told = |noted: &Noted, loaded: &Loaded| write(noted, loaded).change.map(|change| change.kind);
        let taken_back = loaded(Standing::Present(NOBODYS), Some("Ada"));
        let ada = Some(r#"{"name":"Ada"}"#);
        assert_eq!(told(&noted(ada, 2, 2), &taken_back), Some(Kind::Updated));
        assert_eq!(told(&noted(ada, 2, 1), &taken_back), None);
        for standing in [Standing::None, Standing::Purged] {
            let gone = loaded(standing, None);
            // The second may be noted already or not yet.
            assert_eq!(told(&noted(None, 2, 2), &gone), Some(Kind::Purged));
            assert_eq!(told(&noted(None, 1, 1), &gone), Some(Kind::Purged));
            assert_eq!(told(&noted(ada, 1, 1), &gone), Some(Kind::Purged));
            assert_eq!(told(&noted(None, 2, 1), &gone), None);
        }
    }

    #[test]
    fn a_tombstone_outlives_its_row() {
        assert_eq!(
            state_after(&loaded(Standing::Deleted, None)).standing,
            Standing::Purged
        );
        let present = loaded(Standing::Present(NOBODYS), None);
        assert_eq!(state_after(&present).standing, Standing::None);
    }
}
