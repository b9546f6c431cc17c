//! usertap: a caching, recording proxy between an app and its auth provider's user API.

pub mod admin;
pub mod backfill;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod db;
pub mod probe;
pub mod provider;
pub mod proxy;
pub mod record;
pub mod refetch;
pub mod sandbox;
pub mod serve;
pub mod station;
pub mod status;
pub mod tasks;
pub mod telemetry;
pub mod upstream;
pub mod user;
