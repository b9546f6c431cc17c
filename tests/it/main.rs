//! The one test binary.

mod sandbox;
mod support;
