//! One binary for all tests: what an app or an operator sees, against real parts.

mod cache;
mod clerk;
mod console;
mod embedded;
mod feed;
mod processes;
mod provider;
mod proxy;
mod readme;
mod record;
mod sandbox;
mod settings;
mod shapes;
mod stack;
mod support;
mod tidy;
mod webhooks;
