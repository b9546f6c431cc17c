//! What a row of the users' table says of its user, defined once for all who read it.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Nullable, Text, Timestamptz};
use serde::Serialize;

use super::time::Time;
use crate::user::{Profile, time};

/// The columns but `id` and `raw_json`; all null where there is no row. As JSON they are a part of the feed's `after`.
#[derive(Debug, Clone, Default, PartialEq, Eq, QueryableByName, Serialize)]
pub struct Columns {
    #[diesel(sql_type = Nullable<Text>)]
    pub name: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub email: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = Time)]
    #[serde(serialize_with = "time::serialize")]
    pub created_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = Time)]
    #[serde(serialize_with = "time::serialize")]
    pub updated_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = Time)]
    #[serde(serialize_with = "time::serialize")]
    pub deleted_at: Option<DateTime<Utc>>,
}

/// [`Columns`] of a row `u`. Cast to what they are: a statement whose result is of another type than it was
/// (somebody has changed that of a column) fails for as long as its connection lives.
pub const COLUMNS: &str = "u.name::text, u.email::text, u.created_at::timestamptz, u.updated_at::timestamptz, \
    u.deleted_at::timestamptz";

/// In place of [`COLUMNS`] where nobody reads them.
pub const NO_COLUMNS: &str = "NULL::text AS name, NULL::text AS email, NULL::timestamptz AS created_at, \
    NULL::timestamptz AS updated_at, NULL::timestamptz AS deleted_at";

/// Of a row `u` without `raw_json`, in bytes: names and addresses may be as long as whoever bears them likes.
pub const WEIGHT: &str = "coalesce(octet_length(u.name), 0) + coalesce(octet_length(u.email), 0)";

impl From<Profile> for Columns {
    /// Of a user who is there.
    fn from(profile: Profile) -> Columns {
        Columns {
            name: profile.name,
            email: profile.email,
            created_at: profile.created_at,
            updated_at: profile.updated_at,
            deleted_at: None,
        }
    }
}
