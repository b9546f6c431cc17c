//! One binary for all tests: what an app or an operator sees, against real parts.

mod embedded;
mod record;
mod record_property;
mod record_shared;
mod settings;
mod support;
