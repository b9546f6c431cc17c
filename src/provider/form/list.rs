//! The listing, as it is written.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use serde::Deserialize;

use super::{CodesForm, Text};

/// Texts of a query; in a body any JSON.
type ParamsForm = BTreeMap<String, serde_json::Value>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct ListForm {
    pub on: Text,
    pub size: Option<SizeForm>,
    #[serde(default)]
    pub query: ParamsForm,
    #[serde(default)]
    pub optional: ParamsForm,
    /// Parameters, over those of `query`, with which the newest users come first.
    pub newest: Option<ParamsForm>,
    pub unknown_parameter: Option<CodesForm>,
    pub paging: PagingForm,
    pub total: Option<TotalForm>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct SizeForm {
    pub param: String,
    pub value: NonZeroU32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "lowercase")]
pub(in crate::provider) enum PagingForm {
    Offset {
        param: String,
    },
    Page {
        param: String,
        #[serde(default)]
        first: u64,
        /// What is answered to a page behind the last, where that is no empty list.
        behind_last: Option<LostForm>,
    },
    Cursor {
        param: String,
        /// Pointer into the answer's body.
        next: Option<String>,
        /// Or pointer into the page's last item.
        last_item: Option<String>,
        /// The cursor is the id of the page's own first user.
        #[serde(default)]
        inclusive: bool,
        /// How the parameter is written: `{cursor}` stands in it.
        text: Option<String>,
        /// What is answered where the cursor's user is gone: the cursor is then that user's id.
        lost: Option<LostForm>,
    },
    Link {
        lost: Option<LostForm>,
    },
    Window {
        /// The query's parameter that holds the window, and how it is written: `{from}` is the time of
        /// creation at which it begins.
        param: String,
        within: String,
        page: String,
        #[serde(default)]
        first: u64,
        /// So many users can be walked to in a window.
        most: u64,
        /// Pointer to the time of creation in an item, a text.
        created_at: String,
        /// Each page begins at the time of the last user of the one before.
        #[serde(default)]
        steps: bool,
    },
}

/// Without codes the statuses are enough.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct LostForm {
    pub statuses: Vec<u16>,
    #[serde(default)]
    pub codes: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct TotalForm {
    pub body: Option<Text>,
    pub header: Option<Text>,
    /// A path of its own whose answer's `body` is the number.
    pub path: Option<Text>,
}
