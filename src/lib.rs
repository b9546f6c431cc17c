//! usertap: a recording proxy between an app and its auth provider's user API.
//!
//! The app points its provider's SDK at usertap. Every answer that tells of a user (a read, a
//! create, a sign-up that carries only an id, a deletion) leaves only once the row that says the
//! same is committed to the app's own Postgres, in `neon_identity.users_sync`. So a foreign key
//! to a user who signed up a millisecond ago holds.
//!
//! # Code map
//!
//! By data flow: a module is a station that the data passes. One noun flows, the
//! [`user::Observation`]; whoever comes to know something of a user makes one, and the one
//! [`record::Recorder`] takes it. Each line below knows only lines above it.
//!
//! | module | what it is |
//! |---|---|
//! | [`clock`], [`tasks`] | the only reader of the clock; the only spawner of tasks |
//! | [`random`] | what nobody can guess, and names that nothing else has |
//! | [`gathered`] | a connection's small writes, in one piece |
//! | [`descriptors`] | how many files and connections may be open, and whether they have run out |
//! | [`failpoint`] | where a test can end the process; nothing in a release build |
//! | [`user`] | the vocabulary: ids, views, observations, positions; pure |
//! | [`provider`] | a provider is data: one file of facts each, and what they mean for a request or an answer; pure |
//! | [`config`] | from what was written to what it means, every mistake at once |
//! | [`telemetry`] | structured logs |
//! | [`db`] | how to reach Postgres, the migrations, reads, a Postgres of our own |
//! | [`upstream`] | the way to the provider: one pooled client, one budget |
//! | [`cache`] | answers kept for those they were fetched for, ended by every change |
//! | [`record`] | who wins ([`record::merge`]), one writer, group commit; the only place that writes `users_sync` and `changes` |
//! | [`feed`] | every change in order, to any number of consumers: one tail, pages, streams, slots, retention |
//! | [`probe`] | whether the provider is there and takes the key |
//! | [`sandbox`] | a stand-in for the provider, to try and to test against |
//! | [`reader`] | one user, read with the tenant's own key |
//! | [`proxy`], [`webhook`], [`poll`], [`refetch`], [`backfill`] | the five that make observations; none knows another, none knows SQL |
//! | [`station`] | one tenant's parts, put together |
//! | [`ensure`] | one user's row, fetched first where it is missing |
//! | [`status`], [`metrics`], [`console`], [`admin`], [`serve`] | what a running process says, to programs and to people, and where it listens |
//! | [`cli`], [`commands`] | what was asked for, and a page for each command |
//!
//! [`proxy`] is the file to read first: one request from top to bottom. `tests/it/tidy.rs` holds
//! this map to what the files really import.
//!
//! # Two walks
//!
//! **A request.** A read may be answered from the cache by its credential-bound key, end → match its
//! route, judge whose it is → a write's users are noted on disk → headers out, the stamp of the attempt
//! taken just before its first byte → what tells of no user streams through → else the answer is
//! held up to a limit, its users extracted, submitted → where a row would change, wait for the
//! commit (and for the re-read where only an id was told) → end what is kept of those it changed, or
//! keep it → the answer leaves as it came.
//!
//! **A backfill page.** [`backfill::plan`] says the next page → the provider is asked after apps
//! and re-reads had their turn → the same extraction with the list's route → rows, changes and
//! the checkpoint in one transaction → the next page, fetched meanwhile.
//!
//! # What must never be
//!
//! - An answer that says `committed` before the commit, or a row older than one that was there.
//! - Two places that decide who wins, or that write the users' table.
//! - An answer of the provider's that is changed, or does not reach the app, because of its
//!   recording.
//! - A row planted or deleted by an exchange of another tenant, or one that the provider refused.
//! - A body, token, key or address in a log, an error or a file.
//! - A queue without a bound, a wait without a deadline, a body without a limit, a panic on
//!   anything from outside.

#![forbid(unsafe_code)]

/// glibc's allocator costs a forwarded request a quarter of its processor time: a body, its JSON and
/// its headers are many small pieces that one thread takes and another gives back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub mod admin;
pub mod backfill;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod console;
pub mod db;
pub mod descriptors;
pub mod ensure;
pub mod failpoint;
pub mod feed;
pub mod gathered;
pub mod metrics;
pub mod poll;
pub mod probe;
pub mod provider;
pub mod proxy;
pub mod random;
pub mod reader;
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
pub mod webhook;
