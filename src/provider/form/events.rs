//! The sections on events: how webhooks are signed, and what each event tells.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{LostForm, PagingForm, SizeForm, Text, Unit};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct WebhooksForm {
    pub signature: SignatureForm,
    /// Variables in which users already have the signing secret.
    #[serde(default)]
    pub settings: Vec<String>,
    pub tolerance: Option<Text>,
    pub id: Option<Text>,
    /// How the sender makes sure of the endpoint before it sends anything.
    pub challenge: Option<ChallengeForm>,
}

/// A GET whose answer is JSON with the header's value in it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct ChallengeForm {
    pub header: String,
    pub field: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, tag = "scheme", rename_all = "lowercase")]
pub(in crate::provider) enum SignatureForm {
    Standard {},
    Timed {
        header: String,
    },
    Plain {
        header: String,
        encoding: Encoding,
        prefix: Option<String>,
    },
    /// Nothing is signed: the secret itself stands in the header.
    Secret {
        header: String,
        prefix: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::provider) enum Encoding {
    Hex,
    Base64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct EventsForm {
    #[serde(rename = "type")]
    pub kind: Option<Text>,
    /// Where the events stand in a delivery of several.
    pub list: Option<Text>,
    #[serde(default)]
    pub tenant: BTreeMap<String, Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct EventForm {
    pub on: Vec<Text>,
    /// Only where these places have these values.
    #[serde(default)]
    pub when: BTreeMap<Text, String>,
    pub whole: Option<Text>,
    pub partial: Option<Text>,
    pub deleted: Option<Vec<Text>>,
    pub touched: Option<Vec<Text>>,
    pub mentioned: Option<Vec<Text>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "lowercase")]
pub(in crate::provider) enum PollForm {
    Log {
        path: String,
        #[serde(default)]
        query: BTreeMap<String, ValuesForm>,
        /// Events on a page.
        size: Option<SizeForm>,
        events: String,
        after: AfterForm,
        since: Option<SinceForm>,
        overlap: Option<String>,
        /// For how long events are kept.
        keeps: Option<String>,
        /// What is answered where the event to go on behind is not known.
        lost: Option<LostForm>,
    },
    Changed {
        on: String,
        #[serde(default)]
        query: BTreeMap<String, ValuesForm>,
        /// Users on a page.
        size: Option<SizeForm>,
        paging: PagingForm,
        at: PlainTimeForm,
        since: Option<SinceForm>,
        overlap: Option<String>,
    },
}

/// Of a parameter; several where it is repeated.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(in crate::provider) enum ValuesForm {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct AfterForm {
    pub param: String,
    pub id: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct SinceForm {
    pub param: String,
    #[serde(default = "bare_time")]
    pub text: String,
    pub unit: Unit,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct PlainTimeForm {
    pub at: String,
    pub unit: Unit,
}

fn bare_time() -> String {
    "{time}".to_owned()
}
