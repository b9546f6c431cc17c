//! Whose a request is, and what usertap's own requests show.

use toml::Spanned;

use super::super::caller::{CredentialRule, Part};
use super::super::descriptor::{KeyShown, Setting, TokenRule};
use super::super::form::{CredentialForm, IdentityForm, KeyForm, OwnForm, Reader, Text, TokenForm};
use super::super::login::LoginRule;
use super::super::own::OwnHeader;
use super::super::shown::Places;
use super::super::template::Template;

impl Reader<'_> {
    pub(super) fn part(&mut self, form: IdentityForm) -> Part {
        let is_said = form.fingerprint || form.upstream;
        if form.settings.is_empty() && form.default.is_none() && !is_said {
            let text = "nothing says which value is usertap's own: add settings, default, fingerprint = true or upstream = true";
            self.mistake(form.part.span().start, text);
        }
        Part {
            part: form.part.into_inner(),
            headers: self.places(&form.headers),
            query: form.query,
            path: form.path.map(|path| path.into_inner()),
            upstream: form.upstream,
            claims: form.claims,
            default: form.default,
            fingerprint: form.fingerprint,
        }
    }

    pub(super) fn credential(&mut self, form: Spanned<CredentialForm>) -> CredentialRule {
        let at = form.span().start;
        let form = form.into_inner();
        let when = form.when.map(|when| (self.places(&when.headers), when.values));
        let headers = self.places(&form.headers);
        if headers.is_empty() && !form.anyone {
            self.mistake(
                at,
                "a [[credential]] needs `headers`, where it stands, or anyone = true",
            );
        }
        let is_own = |name: &Text| {
            let unless = form.unless_headers.iter();
            unless
                .map(Text::get_ref)
                .any(|unless| unless.eq_ignore_ascii_case(name.get_ref()))
        };
        if form.headers.iter().any(is_own) {
            self.mistake(
                at,
                "the credential itself stands in a header of `unless_headers`: it would never count, so take that out",
            );
        }
        CredentialRule {
            is: form.is,
            headers,
            anyone: form.anyone,
            own_only: form.own_only,
            scheme: form.scheme,
            prefix: form.prefix,
            key: form.key,
            when,
            unless: self.places(&form.unless_headers),
        }
    }

    pub(super) fn own(
        &mut self,
        form: OwnForm,
        settings: &[Setting],
        identity: &[Part],
    ) -> Option<OwnHeader> {
        let value = Template::parse(form.value.get_ref());
        let known = |name: &str| settings.iter().any(|setting| setting.name == name);
        let part = |name: &str| identity.iter().any(|part| part.part == name);
        let special = |name: &str| matches!(name, "token" | "upstream");
        for name in value
            .names()
            .filter(|name| !known(name) && !part(name) && !special(name))
        {
            let text =
                format!("`{{{name}}}` is no part of the identity, no setting, not `key` and not `token`");
            self.mistake(form.value.span().start, text);
        }
        let colon = form.value.get_ref().contains("}:");
        if colon && form.value.get_ref().starts_with("Basic ") {
            let text = "`Basic` shows its user and password in base64: write them as [key] shown = \"{user}:{key}\", \
                        basic = true, and this as `Basic {key}`";
            self.mistake(form.value.span().start, text);
        }
        let unless = form.unless_default;
        if let Some(unless) = unless.as_ref().filter(|unless| !part(unless.get_ref())) {
            self.mistake(
                unless.span().start,
                "`unless_default` names a part of the identity; this is none",
            );
        }
        let name = self.header(&form.header)?;
        Some(OwnHeader {
            name,
            value,
            unless_default: unless.map(|text| text.into_inner()),
        })
    }

    pub(super) fn token(&mut self, form: TokenForm) -> TokenRule {
        TokenRule {
            headers: self.places(&form.headers),
            scheme: form.scheme,
            id: self.pointer(&form.id),
        }
    }

    fn places(&mut self, names: &[Text]) -> Places {
        let names = self.headers(names);
        Places::among(&mut self.shown, names)
    }

    pub(super) fn key_opens(
        &mut self,
        key: Option<&Spanned<KeyForm>>,
        credentials: &[CredentialRule],
    ) -> Option<String> {
        let opens = key?.get_ref().opens.as_ref()?;
        if credentials.iter().any(|rule| rule.key && !rule.own_only) {
            let text = "`opens` is for a provider that answers any key: only usertap's own can be tried with it, so add \
                        own_only = true to each [[credential]] with key = true";
            self.mistake(opens.span().start, text);
        }
        if !opens.get_ref().starts_with('/') {
            let text = "`opens` is a path below the first prefix: \"/schemas/_User\"";
            self.mistake(opens.span().start, text);
        }
        Some(opens.get_ref().clone())
    }

    pub(super) fn key_shown(
        &mut self,
        key: Option<&Spanned<KeyForm>>,
        settings: &[Setting],
    ) -> Option<KeyShown> {
        let at = key?.span().start;
        let form = key?.get_ref();
        let Some(shown) = &form.shown else {
            if form.basic {
                self.mistake(
                    at,
                    "`basic` says how `shown` is written: add shown = \"{user}:{key}\"",
                );
            }
            return None;
        };
        let names: Vec<&str> = settings.iter().map(|setting| setting.name.as_str()).collect();
        let made_of = self.template(shown, &names);
        if !made_of.names().any(|name| name == "key") {
            self.mistake(
                shown.span().start,
                "`shown` is made of the key: put {key} into it",
            );
        }
        if form.basic && !form.limits.is_empty() {
            let text = "`limits` go by what the key that is shown begins with, and of base64 that says nothing: take `limits` out, \
                        and give [provider] those that hold for all";
            self.mistake(at, text);
        }
        Some(KeyShown {
            made_of,
            basic: form.basic,
        })
    }

    /// A key that nobody shows tells nobody's requests, and usertap's own are sent without it.
    pub(super) fn check_key(
        &mut self,
        key: Option<&Spanned<KeyForm>>,
        (identity, credentials): (&[Part], &[CredentialRule]),
        (own, login): (&[OwnHeader], Option<&LoginRule>),
    ) {
        let at = key.map_or(0, |key| key.span().start);
        let fingerprint = identity.iter().find(|part| part.fingerprint);
        if let Some(part) = fingerprint.filter(|_| !credentials.iter().any(|rule| rule.key)) {
            let text = format!(
                "`{}` is the fingerprint of the server key, and no [[credential]] says where requests show that: add one \
                 with key = true",
                part.part
            );
            self.mistake(at, text);
        }
        let names = own.iter().flat_map(|own| own.value.names());
        let mut names = names.chain(login.into_iter().flat_map(LoginRule::names));
        let is_needed = key.is_some_and(|key| !key.get_ref().optional);
        if is_needed && !names.any(|name| name == "key") {
            let text = "usertap's own requests do not show the key: add an [[own]] header with {key} in its value, or [login]";
            self.mistake(at, text);
        }
    }
}
