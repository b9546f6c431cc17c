//! The database: here, a Postgres of usertap's own.

pub mod embedded;
