//! Whose request it is.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use secrecy::ExposeSecret;
use subtle::ConstantTimeEq;

use super::form::Rank;
use super::shown::{Places, Shown};
use super::source::field;
use super::{Matched, Provider, RequestHead, Tenant, canon};

/// Who asks, as far as the request says; the provider's answer says whether it is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    Ours(Credential),
    Foreign(Foreign),
}

impl From<Result<Credential, Foreign>> for Caller {
    fn from(judged: Result<Credential, Foreign>) -> Caller {
        match judged {
            Ok(credential) => Caller::Ours(credential),
            Err(foreign) => Caller::Foreign(foreign),
        }
    }
}

impl Caller {
    /// What it shows of this tenant's.
    pub fn credential(self) -> Option<Credential> {
        match self {
            Caller::Ours(credential) => Some(credential),
            Caller::Foreign(_) => None,
        }
    }

    /// Whether a request on no known route, or one that names nobody or two, can be heard as this
    /// tenant's: only one that names another tenant alone cannot.
    pub fn may_be_ours(self) -> bool {
        self != Caller::Foreign(Foreign::Tenant)
    }
}

/// What the caller shows for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// The very server key that usertap is configured with.
    OwnServer,
    /// A server's key, which one is for the provider to judge.
    Server,
    /// A browser or device, with or without a user's token.
    Client,
}

/// Why an exchange is nobody's business here. All three are `foreign-tenant` to the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// Another project, branch or key.
    Tenant,
    /// An identity header twice, or two generations of it that differ.
    Repeated,
    /// Nothing says whose it is.
    Unnamed,
}

/// One part of a tenant's identity.
#[derive(Debug)]
pub(super) struct Part {
    pub part: String,
    /// One header for each generation of SDKs, in the same order for every part.
    pub headers: Places,
    pub query: Option<String>,
    /// A parameter of the route's path.
    pub path: Option<String>,
    /// It is the provider's address: whatever is forwarded there is this tenant's.
    pub upstream: bool,
    pub claims: Vec<String>,
    pub default: Option<String>,
    /// It is the fingerprint of the server key that the caller shows.
    pub fingerprint: bool,
}

/// What a caller shows, and what it counts for.
#[derive(Debug)]
pub(super) struct CredentialRule {
    pub is: Rank,
    pub headers: Places,
    /// Whoever reaches the provider at all.
    pub anyone: bool,
    /// Only with the very key that usertap has.
    pub own_only: bool,
    pub scheme: Option<String>,
    /// What nothing parts from it.
    pub prefix: Option<String>,
    /// It is the kind of key that usertap itself has.
    pub key: bool,
    pub when: Option<(Places, Vec<String>)>,
    /// With one of these it counts for nothing.
    pub unless: Places,
}

/// Whose a source of identity says that the request is.
type Says<'t> = Result<Option<Cow<'t, [u8]>>, Foreign>;

impl Provider {
    /// Judges a request by what it shows, by its query and, where the route needs it, its body.
    pub fn caller(
        &self,
        tenant: &Tenant,
        matched: &Matched<'_>,
        (shown, query): (&Shown<'_>, Option<&str>),
        body: Option<&[u8]>,
    ) -> Caller {
        self.judge(tenant, matched, (shown, query), body).into()
    }

    /// Whether who shows nothing at all is this tenant's own: its provider asks for no key.
    pub fn takes_anyone(&self, tenant: &Tenant) -> bool {
        tenant.key.is_none() && self.credentials.iter().any(|rule| rule.anyone)
    }

    /// The same by the head alone, on whatever path.
    pub fn caller_by_head(&self, tenant: &Tenant, head: &RequestHead<'_>) -> Caller {
        self.judge_head(tenant, head).into()
    }

    /// Whether this is the very key, of a provider where it is exchanged for a token, so that no request to it
    /// shows the key. For what usertap answers itself.
    pub fn shows_exchanged_key(&self, tenant: &Tenant, headers: &HeaderMap) -> bool {
        let mut lines = headers.get_all(AUTHORIZATION).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return false;
        };
        let key = without_scheme(line.as_bytes(), Some("Bearer"));
        self.login.is_some() && key.is_some_and(|key| tenant.has_key(key))
    }

    fn judge(
        &self,
        tenant: &Tenant,
        matched: &Matched<'_>,
        (shown, query): (&Shown<'_>, Option<&str>),
        body: Option<&[u8]>,
    ) -> Result<Credential, Foreign> {
        let (credential, key) = self.credential(tenant, shown)?;
        let named = matched.route.tenant.as_ref();
        let named = named.map(|rule| (rule, body.and_then(|body| field(body, &rule.form))));
        if matches!(named, Some((_, None))) {
            return Err(Foreign::Unnamed);
        }
        let in_form = |at: usize| {
            let (rule, text) = named.as_ref()?;
            part_of(text.as_deref()?, &rule.separator, at, self.identity.len())
        };
        self.is_ours(tenant, shown, query, key, in_form, |name| matched.param(name))?;
        Ok(credential)
    }

    fn judge_head(&self, tenant: &Tenant, head: &RequestHead<'_>) -> Result<Credential, Foreign> {
        let shown = self.shown(head.headers);
        let (credential, key) = self.credential(tenant, &shown)?;
        self.is_ours(tenant, &shown, head.query, key, |_| None, |_| None)?;
        Ok(credential)
    }

    fn is_ours<'m>(
        &self,
        tenant: &Tenant,
        shown: &Shown<'_>,
        query: Option<&str>,
        key: Option<&[u8]>,
        in_form: impl Fn(usize) -> Option<String>,
        in_path: impl Fn(&str) -> Option<&'m str>,
    ) -> Result<(), Foreign> {
        self.same_in_all_generations(shown)?;
        let told_apart = self
            .identity
            .iter()
            .enumerate()
            .filter(|(_, part)| !part.upstream);
        for (at, part) in told_apart {
            let says = [
                shown.single(&part.headers)?.map(Cow::Borrowed),
                part.query
                    .as_deref()
                    .map_or(Ok(None), |name| in_query(query, name))?,
                in_form(at).map(|text| text.into_bytes().into()),
                part.path
                    .as_deref()
                    .and_then(&in_path)
                    .map(|text| text.as_bytes().into()),
                key.filter(|_| part.fingerprint)
                    .map(|key| fingerprint(key).into_bytes().into()),
            ];
            part.is_ours(tenant, &says)?;
        }
        Ok(())
    }

    /// What the caller shows, and the key itself where it is one like usertap's own.
    fn credential<'h>(
        &self,
        tenant: &Tenant,
        shown: &Shown<'h>,
    ) -> Result<(Credential, Option<&'h [u8]>), Foreign> {
        for rule in &self.credentials {
            let Some(key) = rule.shown(shown)? else {
                continue;
            };
            let own = rule.key && (tenant.has_key(key) || (rule.anyone && tenant.key.is_none()));
            if rule.own_only && !own {
                continue;
            }
            let credential = match rule.is {
                Rank::Client => Credential::Client,
                Rank::Server if own => Credential::OwnServer,
                Rank::Server => Credential::Server,
            };
            return Ok((credential, Some(key).filter(|_| rule.key)));
        }
        Ok((Credential::Client, None))
    }

    /// A provider reads one generation of headers; which one, nobody here knows. So each that
    /// names anything must name the same tenant, defaults included.
    fn same_in_all_generations(&self, shown: &Shown<'_>) -> Result<(), Foreign> {
        let of_part = |part| shown.generations(part);
        let named = || self.identity.iter().flat_map(of_part);
        let first = named().next();
        if named().all(|at| Some(at) == first) {
            return Ok(());
        }
        let same = |part: &Part| {
            let mut values = named().filter_map(|at| shown.of_generation(part, at));
            let first = values.next();
            values.all(|value| Some(value) == first)
        };
        if self.identity.iter().all(same) {
            Ok(())
        } else {
            Err(Foreign::Repeated)
        }
    }
}

impl Part {
    fn is_ours(&self, tenant: &Tenant, says: &[Option<Cow<'_, [u8]>>]) -> Result<(), Foreign> {
        let ours = tenant.part(&self.part);
        let mut said = says.iter().flatten().peekable();
        if said.peek().is_none() {
            let default = self.default.as_deref().ok_or(Foreign::Unnamed)?;
            return if ours == Some(default) {
                Ok(())
            } else {
                Err(Foreign::Tenant)
            };
        }
        let ours = ours.map(str::as_bytes);
        let all = said.all(|value| ours == Some(&**value));
        if all { Ok(()) } else { Err(Foreign::Tenant) }
    }
}

impl CredentialRule {
    pub(super) fn shown<'h>(&self, shown: &Shown<'h>) -> Result<Option<&'h [u8]>, Foreign> {
        if shown.has(&self.unless) {
            return Ok(None);
        }
        if self.anyone {
            return Ok(Some(b""));
        }
        let key = shown.single(&self.headers)?;
        let key = key.and_then(|value| without_scheme(value, self.scheme.as_deref()));
        let prefix = self.prefix.as_deref().unwrap_or_default();
        let key = key.and_then(|value| value.strip_prefix(prefix.as_bytes()));
        let key = key.filter(|key| !key.is_empty() || prefix.is_empty());
        let Some((names, values)) = &self.when else {
            return Ok(key);
        };
        let when = shown.single(names)?.unwrap_or_default();
        let fits = values.iter().any(|value| value.as_bytes() == when);
        Ok(key.filter(|_| fits))
    }
}

impl Tenant {
    /// The value of one part of the identity.
    pub fn part(&self, name: &str) -> Option<&str> {
        let found = self.identity.iter().find(|(part, _)| part == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether the provider takes what this one asks for the other's.
    pub fn asks_as(&self, other: &Tenant) -> bool {
        let same_key = match &other.key {
            Some(key) => self.has_key(key.expose_secret().as_bytes()),
            None => self.key.is_none(),
        };
        let named = (&self.provider, &self.identity) == (&other.provider, &other.identity);
        same_key
            && named
            && self
                .settings
                .iter()
                .all(|setting| other.settings.contains(setting))
    }

    fn has_key(&self, shown: &[u8]) -> bool {
        let own = self.key.as_ref();
        own.is_some_and(|own| own.expose_secret().as_bytes().ct_eq(shown).into())
    }
}

/// What names a key without showing it: 128 bits of its SHA-256, in hex.
pub(super) fn fingerprint(key: &[u8]) -> String {
    format!("{:?}", canon::hash(key))
}

/// The credential behind `Bearer` or the like; nothing if it is shown under another scheme.
pub(super) fn without_scheme<'h>(value: &'h [u8], scheme: Option<&str>) -> Option<&'h [u8]> {
    let Some(scheme) = scheme else { return Some(value) };
    let (head, rest) = value.split_at_checked(scheme.len())?;
    let rest = rest.strip_prefix(b" ")?;
    head.eq_ignore_ascii_case(scheme.as_bytes())
        .then_some(rest.trim_ascii())
}

fn in_query<'q>(query: Option<&'q str>, name: &str) -> Says<'q> {
    let query = query.unwrap_or_default().as_bytes();
    let mut values = url::form_urlencoded::parse(query).filter(|(key, _)| key == name);
    let first = values.next().map(|(_, value)| bytes_of(value));
    if values.next().is_some() {
        Err(Foreign::Repeated)
    } else {
        Ok(first)
    }
}

fn bytes_of(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => text.as_bytes().into(),
        Cow::Owned(text) => text.into_bytes().into(),
    }
}

/// The part at `at` of several joined ones; the last takes what is left.
fn part_of(joined: &str, separator: &str, at: usize, parts: usize) -> Option<String> {
    let part = joined.splitn(parts.max(1), separator).nth(at)?;
    Some(part.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_is_taken_off_only_if_it_is_the_one() {
        assert_eq!(
            without_scheme(b"bearer  sk_1", Some("Bearer")),
            Some(&b"sk_1"[..])
        );
        assert_eq!(without_scheme(b"Basic sk_1", Some("Bearer")), None);
        assert_eq!(without_scheme(b"sk", Some("Bearer")), None);
        assert_eq!(without_scheme(b"sk_1", None), Some(&b"sk_1"[..]));
    }

    #[test]
    fn a_fingerprint_does_not_show_the_key() {
        let print = fingerprint(b"sk_live_1");
        assert_eq!(print.len(), 32);
        assert!(print.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
