//! What tells of changes elsewhere: the secrets of the provider's webhooks, and polling.

use std::time::Duration;

use super::super::tenant::Kind;
use super::{Check, value};
use crate::provider::SigningSecret;

impl Check<'_> {
    /// `None` only with a mistake.
    pub fn poll_every(&mut self) -> Option<Option<Duration>> {
        let every = self.value("POLL_EVERY", value::every)?;
        let provider = self.settings.provider.as_ref()?;
        if every.is_some() && !provider.can_be_polled() {
            let text = "this provider's file does not say how to ask what has changed ([poll]): take it out, and use \
                        webhooks or RECONCILE_EVERY";
            self.wrong("POLL_EVERY", text);
            return None;
        }
        Some(every)
    }

    /// Every one that counts; none where webhooks are not taken in. `None` only with a mistake.
    pub fn webhook_secrets(&mut self) -> Option<Vec<SigningSecret>> {
        let theirs = self.settings.provider_settings.iter();
        let theirs = theirs.filter(|setting| setting.kind == Kind::WebhookSecret);
        let names = theirs.filter_map(|setting| setting.env.first().cloned());
        let names: Vec<String> = std::iter::once(OWN.to_owned()).chain(names).collect();
        let written: Vec<&String> = names
            .iter()
            .filter(|name| self.settings.text(name).is_some())
            .collect();
        if let [first, second, ..] = written[..]
            && self.settings.text(first) != self.settings.text(second)
        {
            self.wrong(
                second,
                &format!("says something else than {first}: take one of them out"),
            );
            return None;
        }
        let Some(name) = written.first() else {
            return Some(Vec::new());
        };
        let provider = self.settings.provider.clone()?;
        self.value(name, |text| {
            let secrets = secrets(text).map(|text| provider.signing_secret(text).map_err(str::to_owned));
            let secrets = secrets.collect::<Result<Vec<_>, _>>()?;
            match secrets.is_empty() {
                true => Err("holds no secret: write one, or several separated by commas".to_owned()),
                false => Ok(secrets),
            }
        })
    }
}

const OWN: &str = "WEBHOOK_SECRET";

/// Separated by commas. Some providers hand theirs out with the scheme's version before it,
/// `v1,whsec_…`: that is no secret of its own.
fn secrets(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split(',').map(str::trim);
    parts.filter(|part| !part.is_empty() && *part != "v1")
}
