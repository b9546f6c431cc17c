//! What an app or an operator sees of usertap.

mod embedded;
mod settings;
