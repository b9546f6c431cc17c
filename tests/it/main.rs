//! One binary for all tests: what an app or an operator sees, against real parts.

mod embedded;
mod proxy;
mod record;
mod support;
