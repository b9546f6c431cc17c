//! What the provider's API sets up, as it is written.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Text;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct ProcedureForm {
    /// What it does, for people.
    pub does: String,
    #[serde(default)]
    pub ask: Vec<AskForm>,
    pub request: Vec<CallForm>,
    /// Variables of the environment and their values: templates.
    #[serde(default)]
    pub gives: BTreeMap<String, Text>,
    /// A page at the provider that goes on.
    pub opens: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct AskForm {
    pub name: String,
    pub label: String,
    pub hint: Option<String>,
    #[serde(default)]
    pub secret: bool,
    pub default: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct CallForm {
    pub on: Text,
    #[serde(default)]
    pub at_root: bool,
    #[serde(default)]
    pub own: bool,
    pub basic: Option<BasicForm>,
    #[serde(default)]
    pub headers: BTreeMap<String, Text>,
    pub body: Option<serde_json::Value>,
    /// Names for what the answer gives, and the pointers to it.
    #[serde(default)]
    pub takes: BTreeMap<String, Text>,
    #[serde(default)]
    pub may_fail: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct BasicForm {
    pub user: Text,
    pub password: Text,
}
