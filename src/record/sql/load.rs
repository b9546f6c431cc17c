//! What the database holds of users, as the judgements need it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Nullable, Text, Timestamptz};

use super::super::batch::{Aside, Loaded};
use super::super::by_hand::NOBODYS;
use super::super::merge::{Known, Standing};
use super::{Conn, Id, Sql};
use crate::db::DbError;
use crate::db::columns::Columns;
use crate::db::statement::{Bind, load, statement};
use crate::user::{ContentHash, Position, Tick, UserId, json};

/// What users are loaded for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loading {
    /// To be judged: nothing is locked, and the columns of rows are left out.
    Look,
    /// To be told of: they are held already.
    Held,
    /// To be written: states are locked until the transaction ends.
    ForUpdate,
}

#[derive(QueryableByName)]
struct LoadedRow {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = BigInt)]
    position: i64,
    #[diesel(sql_type = Text)]
    standing: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    version: Option<i64>,
    #[diesel(sql_type = Nullable<Binary>)]
    content: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Binary>)]
    volatile: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    volatile_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<BigInt>)]
    doubt: Option<i64>,
    #[diesel(sql_type = Nullable<Binary>)]
    refused: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Bool>)]
    waits: Option<bool>,
    /// Another process wrote the state while this one waited for its lock: the state is the new
    /// one, what was joined to it is not.
    #[diesel(sql_type = Bool)]
    moved: bool,
    #[diesel(sql_type = Bool)]
    has_row: bool,
    #[diesel(embed)]
    columns: Columns,
    #[diesel(sql_type = Nullable<Text>)]
    raw: Option<String>,
}

impl Sql {
    /// What is known of these users; those without a state are strangers.
    pub async fn load(
        &self,
        conn: &mut Conn,
        ids: &[&UserId],
        loading: Loading,
        with_raw: bool,
    ) -> Result<BTreeMap<UserId, Loaded>, DbError> {
        let sql = match loading {
            Loading::Look => &self.look,
            Loading::Held => &self.tell,
            Loading::ForUpdate => &self.lock,
        };
        let mut rows = Self::load_rows(sql, conn, ids, with_raw).await?;
        if loading == Loading::ForUpdate && rows.iter().any(|row| row.moved) {
            rows = Self::load_rows(&self.tell, conn, ids, with_raw).await?;
        }
        let mut found: BTreeMap<UserId, Loaded> =
            ids.iter().map(|id| ((*id).clone(), Loaded::stranger())).collect();
        for row in rows {
            if let Some(id) = UserId::parse(&row.id, self.names.id_type) {
                found.insert(id, row.loaded());
            }
        }
        Ok(found)
    }

    /// Whose state another transaction holds just now.
    pub async fn held(&self, conn: &mut Conn, ids: &[&UserId]) -> Result<BTreeSet<UserId>, DbError> {
        let ids: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
        let held: Vec<Id> = load(statement(&self.held).bind::<Array<Text>, _>(ids), conn).await?;
        let id = |row: Id| UserId::parse(&row.id, self.names.id_type);
        Ok(held.into_iter().filter_map(id).collect())
    }

    async fn load_rows(
        sql: &str,
        conn: &mut Conn,
        ids: &[&UserId],
        with_raw: bool,
    ) -> Result<Vec<LoadedRow>, DbError> {
        let texts: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
        let query = statement(sql)
            .bind::<Array<Text>, _>(texts)
            .bind::<Bool, _>(with_raw)
            .bind::<Binary, _>(NOBODYS.0.as_slice());
        Ok(load(query, conn).await?)
    }
}

impl LoadedRow {
    fn loaded(self) -> Loaded {
        let content = hash(self.content.as_deref());
        Loaded {
            // As if the row were there: what the change rows say of the user.
            told: standing(&self.standing, content, true),
            known: Known {
                position: Position(self.position),
                mark: Tick::default(),
                standing: standing(&self.standing, content, self.has_row),
                version: self.version,
                doubt: self.doubt.map(Position),
            },
            has_state: true,
            volatile: hash(self.volatile.as_deref()),
            volatile_at: self.volatile_at,
            refused: hash(self.refused.as_deref()),
            aside: match self.waits {
                None => Aside::No,
                Some(false) => Aside::Due,
                Some(true) => Aside::Waits,
            },
            row: self.has_row.then_some(self.columns),
            raw: self.raw.and_then(|raw| json::exact(&raw)),
        }
    }
}

fn hash(bytes: Option<&[u8]>) -> Option<ContentHash> {
    bytes.and_then(|bytes| bytes.try_into().ok()).map(ContentHash)
}

/// A row that somebody removed by hand is no row, whatever the state says.
pub fn standing(word: &str, content: Option<ContentHash>, has_row: bool) -> Standing {
    match (word, content) {
        ("deleted", _) if has_row => Standing::Deleted,
        ("deleted" | "purged", _) => Standing::Purged,
        ("present", Some(content)) if has_row => Standing::Present(content),
        ("skeleton" | "present", _) if has_row => Standing::Skeleton,
        _ => Standing::None,
    }
}
