//! The console and the rows over HTTP: who gets in, what is done, what is shown. The browser's own tests
//! are in `tests/browser`.

pub mod browser;
mod claims;
mod connect;
mod guard;
mod pages;
mod rows;
mod writes;
