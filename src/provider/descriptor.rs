//! The form that a provider file fills in, and the check of it.

use crate::user::IdType;

/// A provider file, checked and compiled.
#[derive(Debug)]
pub struct Provider {
    pub name: String,
    pub id_type: IdType,
    /// The provider's own base URL.
    pub upstream: Option<String>,
}

/// One mistake in a provider file: where, what, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub line: usize,
    pub text: String,
}

impl Provider {
    /// A provider that is compiled in.
    pub fn builtin(_name: &str) -> Option<Provider> {
        todo!()
    }

    /// Reads a provider file; all its mistakes at once.
    pub fn parse(_text: &str) -> Result<Provider, Vec<Mistake>> {
        todo!()
    }
}
