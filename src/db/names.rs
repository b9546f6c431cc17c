//! Schema names chosen at run time, quoted once.

use super::columns::COLUMNS;
use super::instances::SILENCE;
use super::users_table::{IS_MADE, TRIGGERS};
use crate::user::IdType;

/// Where one tenant's tables are, and the type of its ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Unquoted schema of `users_sync`.
    pub users_schema: String,
    /// Unquoted schema of usertap's own tables.
    pub state_schema: String,
    pub id_type: IdType,
}

impl Names {
    /// Puts the names into a statement: `{users}` is the quoted users table, `{state}` the quoted
    /// schema of usertap's own tables, `{id}` the SQL type of `users_sync.id`; `{users_name}` is the users
    /// table's name as a string, `{channel}` that of [`Names::channel`]; `{silence}` is for how long the process
    /// `i` was not heard, `{is_made}` whether the table that `m` notes is the one that usertap made, `{triggers}` the
    /// names of usertap's own on it, `{columns}` what the row `u` says of its user.
    pub fn sql(&self, statement: &str) -> String {
        let users = format!("{}.users_sync", quoted(&self.users_schema));
        let users_name = format!("'{}'", users.replace('\'', "''"));
        let state = quoted(&self.state_schema);
        let channel = format!("'{}'", self.channel());
        let names = [
            ("{users}", &*users),
            ("{users_name}", &users_name),
            ("{state}", &*state),
            ("{id}", self.id_type.sql()),
            ("{channel}", &*channel),
            ("{silence}", SILENCE),
            ("{is_made}", IS_MADE),
            ("{triggers}", TRIGGERS),
            ("{columns}", COLUMNS),
        ];
        let mut sql = String::with_capacity(statement.len() * 2);
        let mut rest = statement;
        // In one pass: a schema may be called `{id}`.
        while let Some((before, from)) = rest.find('{').and_then(|at| rest.split_at_checked(at)) {
            let named = names.iter().find(|(name, _)| from.starts_with(name));
            let (name, text) = named.copied().unwrap_or(("{", "{"));
            sql.push_str(before);
            sql.push_str(text);
            rest = from.strip_prefix(name).unwrap_or_default();
        }
        sql.push_str(rest);
        sql
    }

    /// The key of the advisory lock under which positions are given out: one for each schema.
    pub fn position_lock(&self) -> i64 {
        lock_key("position", &self.state_schema)
    }

    /// Where a commit of changes is told: the last position, or `sql` for rows changed by hand.
    pub fn channel(&self) -> String {
        format!("usertap_{:016x}", lock_key("changes", &self.state_schema))
    }

    /// The key of the lock under which one process numbers what was changed by hand.
    pub fn by_hand_lock(&self) -> i64 {
        lock_key("by hand", &self.state_schema)
    }

    /// The key of the lock under which a process takes a larger part of the provider's limit.
    pub fn share_lock(&self) -> i64 {
        lock_key("share", &self.state_schema)
    }

    /// The key of the lock that keeps two migrations apart.
    pub fn migration_lock(&self) -> i64 {
        lock_key("migrate", &self.state_schema)
    }
}

/// An identifier in SQL.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn lock_key(purpose: &str, schema: &str) -> i64 {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(format!("usertap {purpose} {schema}"));
    digest
        .iter()
        .take(8)
        .fold(0_i64, |key, byte| key << 8 | i64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted() {
        let names = Names {
            users_schema: "My \"Auth".into(),
            state_schema: "usertap".into(),
            id_type: IdType::Uuid,
        };
        let sql = names.sql("SELECT 1 FROM {users}, {state}.meta WHERE id = $1::{id}");
        assert_eq!(
            sql,
            "SELECT 1 FROM \"My \"\"Auth\".users_sync, \"usertap\".meta WHERE id = $1::uuid"
        );
    }

    #[test]
    fn a_schema_may_have_any_name() {
        let names = Names {
            users_schema: "{state}".into(),
            state_schema: "{id}".into(),
            id_type: IdType::Text,
        };
        assert_eq!(
            names.sql("{users} {state}.m '{}' {id}"),
            "\"{state}\".users_sync \"{id}\".m '{}' text"
        );
    }

    #[test]
    fn each_schema_has_its_own_locks() {
        assert_ne!(lock_key("position", "a"), lock_key("position", "b"));
        assert_ne!(lock_key("position", "a"), lock_key("migrate", "a"));
    }
}
