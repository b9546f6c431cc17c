//! usertap whole, before the sandbox and a real Postgres: what an app gets, and which rows stand
//! when it has got it.

mod away;
mod bad_input;
mod doubts;
mod endpoints;
mod foreign_keys;
mod key;
mod local;
mod purged;
mod races;
mod tenants;
mod traps;
