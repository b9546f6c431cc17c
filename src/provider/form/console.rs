//! What people see of a provider and may do there, as it is written.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Text;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct ConsoleForm {
    pub title: Option<String>,
    pub project: Option<ProjectForm>,
    pub create: Option<Text>,
    pub edit: Option<Text>,
    pub delete: Option<Text>,
    /// Pointer to what an error says to people.
    pub problem: Option<Text>,
    #[serde(default)]
    pub field: Vec<FieldForm>,
    #[serde(default)]
    pub link: Vec<LinkForm>,
    #[serde(default)]
    pub step: Vec<StepForm>,
    #[serde(default)]
    pub snippet: Vec<SnippetForm>,
}

/// A request that tells what the tenant is called.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct ProjectForm {
    pub read: Text,
    pub name: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct FieldForm {
    pub label: String,
    /// Pointer to its value in the user.
    pub at: Text,
    /// Pointer to its place in a request, where that is another.
    pub to: Option<Text>,
    pub kind: FieldKind,
    pub hint: Option<String>,
    /// Only when a user is made, or only when one is changed.
    pub only: Option<Only>,
    #[serde(default)]
    pub required: bool,
    /// Goes along wherever this field is sent.
    #[serde(default)]
    pub with: BTreeMap<String, serde_json::Value>,
}

/// How a field is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldKind {
    Text,
    Email,
    Switch,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::provider) enum Only {
    Create,
    Edit,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct LinkForm {
    pub label: String,
    pub url: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct StepForm {
    pub text: Text,
    pub url: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct SnippetForm {
    pub title: String,
    pub text: Text,
}
