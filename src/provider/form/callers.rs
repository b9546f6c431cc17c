//! What callers show, as it is written.

use serde::Deserialize;

use super::Text;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::provider) enum Rank {
    Server,
    Client,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct CredentialForm {
    pub is: Rank,
    #[serde(default)]
    pub headers: Vec<Text>,
    /// Whoever reaches the provider at all is this.
    #[serde(default)]
    pub anyone: bool,
    /// Only where it is the very key that usertap has.
    #[serde(default)]
    pub own_only: bool,
    pub scheme: Option<String>,
    pub prefix: Option<String>,
    #[serde(default)]
    pub key: bool,
    pub when: Option<WhenForm>,
    /// Only where none of these stands there.
    #[serde(default)]
    pub unless_headers: Vec<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct WhenForm {
    pub headers: Vec<Text>,
    pub values: Vec<String>,
}
