//! usertap: a caching, recording proxy between an app and its auth provider's user API.

pub mod clock;
pub mod config;
pub mod provider;
pub mod record;
pub mod sandbox;
pub mod tasks;
pub mod upstream;
pub mod user;
