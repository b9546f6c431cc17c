//! How usertap gets its own token.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::caller::Part;
use super::super::descriptor::Setting;
use super::super::form::{LoginForm, Reader, Text};
use super::super::login::{LoginBody, LoginRule};
use super::super::template::Template;
use super::duration;

/// Where nothing says how long a token lasts.
const LASTS: Duration = Duration::from_secs(300);

impl Reader<'_> {
    pub(super) fn login(
        &mut self,
        form: LoginForm,
        settings: &[Setting],
        identity: &[Part],
    ) -> Option<LoginRule> {
        let at = form.path.span().start;
        let parts: Vec<&str> = identity.iter().map(|part| part.part.as_str()).collect();
        let others = settings.iter().map(|setting| setting.name.as_str());
        let others = others.chain(["upstream"]).filter(|name| !parts.contains(name));
        let known: Vec<&str> = parts.iter().copied().chain(others).collect();
        self.template(&form.path, &parts);
        if !form.path.get_ref().starts_with('/') {
            self.mistake(
                at,
                "`path` is where the token is asked for: write it as /oauth/token",
            );
        }
        let body = match (form.json, form.form) {
            (Some(fields), None) => LoginBody::Json(self.templates(&fields, &known)),
            (None, Some(fields)) => LoginBody::Form(self.templates(&fields, &known)),
            _ => {
                self.mistake(at, "[login] has its body either as `json` or as `form`");
                return None;
            }
        };
        let lasts_for = form.lasts_for.map_or(Some(LASTS), |text| {
            let lasts = duration(text.get_ref());
            if lasts.is_none() {
                self.mistake(
                    text.span().start,
                    "`lasts_for` is how long a token lasts: write it as 1h",
                );
            }
            lasts
        });
        let lasts_for = lasts_for?;
        Some(LoginRule {
            path: form.path.into_inner(),
            body,
            token: self.single_pointer(&form.token),
            lasts: form.lasts.map(|at| self.single_pointer(&at)),
            lasts_for,
        })
    }

    fn templates(&mut self, fields: &BTreeMap<String, Text>, known: &[&str]) -> Vec<(String, Template)> {
        let fields = fields.iter();
        fields
            .map(|(name, value)| (name.clone(), self.template(value, known)))
            .collect()
    }
}
