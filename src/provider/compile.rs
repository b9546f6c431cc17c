//! From the form as written to the provider as used: every mistake, with its line and a remedy.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use toml::Spanned;

use super::answer::{AnswerRule, AnswerWith, Dashboard, OwnErrors};
use super::caller::{CredentialRule, Part};
use super::descriptor::{Setting, WEBHOOKS};
use super::errors::{Codes, Errors};
use super::form::*;
use super::own::OwnHeader;
use super::pointer::Pointer;
use super::template::Template;
use super::{Mistake, Provider};
use crate::user::IdType;

mod cache;
mod callers;
mod console;
mod events;
mod leaves;
mod list;
mod login;
mod poll;
mod procedure;
mod rates;
mod routes;
mod user;

/// Reads a provider file; all its mistakes at once, in the order of their lines.
pub(super) fn compile(text: &str) -> Result<Provider, Vec<Mistake>> {
    let mut reader = Reader::new(text);
    let form = reader.form();
    match (reader.provider(form), reader.mistakes) {
        (Some(provider), mistakes) if mistakes.is_empty() => Ok(provider),
        (_, mut mistakes) => {
            mistakes.sort_by_key(|mistake| mistake.line);
            Err(mistakes)
        }
    }
}

impl Reader<'_> {
    fn provider(&mut self, form: Form) -> Option<Provider> {
        let settings = settings(&form);
        let key_rates = self.key_rates(form.key.as_ref().map(Spanned::get_ref));
        let head = self.required(form.provider, "[provider] with name, id_type and prefixes");
        let user = self.required(form.user, "[user] with id and read");
        let list = self.required(form.list, "[list] with on and paging");
        let own_errors = self.required(form.own_errors, "[own_errors] with body and headers");
        if form.identity.is_empty() {
            self.mistake(
                0,
                "[[identity]] is missing: say what tells one tenant's requests from another's",
            );
        }
        let identity: Vec<Part> = form.identity.into_iter().map(|part| self.part(part)).collect();
        let credentials: Vec<CredentialRule> = form
            .credential
            .into_iter()
            .map(|rule| self.credential(rule))
            .collect();
        let own: Vec<OwnHeader> = form
            .own
            .into_iter()
            .filter_map(|own| self.own(own, &settings, &identity))
            .collect();
        let login = form
            .login
            .and_then(|login| self.login(login, &settings, &identity));
        self.check_key(
            form.key.as_ref(),
            (&identity, &credentials),
            (&own, login.as_ref()),
        );
        let key_is_optional = form.key.as_ref().is_some_and(|key| key.get_ref().optional);
        let key_opens = self.key_opens(form.key.as_ref(), &credentials);
        let key_shown = self.key_shown(form.key.as_ref(), &settings);
        let token = form.token.map(|token| self.token(token));
        let answers = form
            .answer
            .into_iter()
            .filter_map(|answer| self.answer(answer))
            .collect();
        let errors = self.errors(form.errors);
        let cache = self.cache(form.cache);
        let prefixes = head.iter().flat_map(|head| &head.prefixes);
        let prefixes: Vec<&str> = prefixes.map(|prefix| prefix.get_ref().as_str()).collect();
        let routes = self.routes(form.route, &prefixes, token.is_some());
        let webhooks = form.webhooks.and_then(|webhooks| self.webhooks(webhooks));
        let events = self.event_map(form.events, &identity);
        let event_rules = form
            .event
            .into_iter()
            .map(|event| self.event_rule(event))
            .collect();
        let user = user.map(|user| self.user(user, &routes, &identity));
        let poll = form.poll.and_then(|poll| self.poll(poll, &routes));
        let list = list.and_then(|list| self.list(list, &routes));
        let own_errors = own_errors.map(|errors| self.own_errors(errors));
        let head = head?;
        if head.numeric_ids && head.id_type == IdType::Uuid {
            let text = "`numeric_ids` are no uuids: write id_type = \"text\"";
            self.mistake(head.name.span().start, text);
        }
        let name = self.name(head.name);
        let parts: Vec<&str> = identity.iter().map(|part| part.part.as_str()).collect();
        let dashboard = self.dashboard(&form.dashboard, &parts);
        let console = self.console(form.console, &name, &parts, &routes);
        let provision = form.provision.map(|form| self.procedure(form, &[]));
        let of_tenant = [&parts[..], &["key", "url", "random"]].concat();
        let subscribe = form.subscribe.map(|form| self.procedure(form, &of_tenant));
        Some(Provider {
            name,
            id_type: head.id_type,
            numeric_ids: head.numeric_ids,
            upstream: head.upstream.and_then(|url| self.base_url(url)),
            rates: head.limits.iter().filter_map(|limit| self.rate(limit)).collect(),
            key_rates,
            endpoint_limits: head.endpoint_limits,
            prefixes: head.prefixes.iter().map(|prefix| self.prefix(prefix)).collect(),
            not_ids: head.not_ids,
            id_form: head.id_form,
            userless: self.requests(&head.userless),
            apart: self.requests(&head.apart),
            links: self.headers(&head.links),
            identity,
            settings,
            credentials,
            own,
            login,
            key_is_optional,
            key_opens,
            key_shown,
            token,
            errors,
            own_errors: own_errors?,
            user: user?,
            list: list?,
            dashboard,
            console,
            provision,
            subscribe,
            cache,
            answers,
            webhooks,
            events,
            event_rules,
            poll,
            routes,
        })
    }

    fn required<T>(&mut self, section: Option<T>, what: &str) -> Option<T> {
        let already = self
            .mistakes
            .iter()
            .any(|mistake| mistake.text.starts_with(section_of(what)));
        if section.is_none() && !already {
            self.mistake(0, format!("{what} is missing: add it"));
        }
        section
    }

    fn name(&mut self, text: Text) -> String {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if text.get_ref().is_empty() || !text.get_ref().chars().all(is_part) {
            let what = "`name` is one word of letters, digits and `-`: write it as my-provider";
            self.mistake(text.span().start, what);
        }
        text.into_inner()
    }

    fn base_url(&mut self, text: Text) -> Option<String> {
        let valid = url::Url::parse(text.get_ref()).is_ok_and(|url| url.has_host());
        if !valid {
            self.mistake(
                text.span().start,
                "`upstream` is not a URL: write it as https://host",
            );
        }
        valid.then(|| text.into_inner())
    }

    fn prefix(&mut self, text: &Text) -> Vec<String> {
        let prefix = text.get_ref();
        if !prefix.is_empty() && (!prefix.starts_with('/') || prefix.ends_with('/')) {
            self.mistake(
                text.span().start,
                "a prefix is empty, or begins with a slash and ends without one",
            );
        }
        prefix
            .split('/')
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    }

    fn errors(&mut self, form: ErrorsForm) -> Errors {
        let has_code = form.code.is_some() || !form.code_headers.is_empty();
        if let Some(codes) = form
            .not_found
            .as_ref()
            .filter(|found| !found.codes.is_empty() && !has_code)
        {
            let text = "nothing says where an error's code stands, so `codes` fit none: add `code` or `code_headers`";
            self.mistake(codes.status.span().start, text);
        }
        Errors {
            status_headers: self.headers(&form.status_headers),
            code_headers: self.headers(&form.code_headers),
            codes_at: form
                .code
                .iter()
                .chain(&form.or_code)
                .map(|pointer| self.pointer(pointer))
                .collect(),
            success: self.success(form.success),
            empty_not_found: form.not_found.as_ref().is_some_and(|found| found.empty),
            not_found: form.not_found.and_then(|codes| self.not_found(codes)),
        }
    }

    fn success(&mut self, form: BTreeMap<Text, serde_json::Value>) -> Vec<(Pointer, serde_json::Value)> {
        let shows = form.into_iter();
        shows
            .map(|(at, value)| (self.single_pointer(&at), value))
            .collect()
    }

    /// A status that successes have too says nothing by itself.
    fn not_found(&mut self, form: NotFoundForm) -> Option<Codes> {
        let at = form.status.span().start;
        let NotFoundForm { status, codes, .. } = form;
        let codes = self.codes(CodesForm { status, codes })?;
        if codes.status.is_success() && codes.codes.is_empty() {
            let text = "a not-found that comes as a success needs its `codes`: every user who is read would count as gone";
            self.mistake(at, text);
        }
        Some(codes)
    }

    fn codes(&mut self, form: CodesForm) -> Option<Codes> {
        let status = StatusCode::from_u16(*form.status.get_ref());
        if status.is_err() {
            self.mistake(
                form.status.span().start,
                "`status` is an HTTP status: write it as 404",
            );
        }
        Some(Codes {
            status: status.ok()?,
            codes: form.codes,
        })
    }

    fn own_errors(&mut self, form: OwnErrorsForm) -> OwnErrors {
        let headers: Vec<_> = form
            .headers
            .iter()
            .filter_map(|header| self.header_value(header))
            .collect();
        let json = headers.iter().any(|(name, value)| {
            *name == http::header::CONTENT_TYPE && value.to_str().is_ok_and(|value| value.contains("json"))
        });
        OwnErrors {
            body: self.template(&form.body, &["status", "word", "text"]),
            json,
            headers,
            again_at: form.again_at.and_then(|name| self.header(&name)),
        }
    }

    fn header_value(&mut self, (name, value): (&String, &Text)) -> Option<(HeaderName, HeaderValue)> {
        let read = (HeaderName::try_from(name), HeaderValue::try_from(value.get_ref()));
        let (Ok(name), Ok(value)) = read else {
            self.mistake(
                value.span().start,
                format!("`{name}` and its value are no HTTP header"),
            );
            return None;
        };
        Some((name, value))
    }

    fn answer(&mut self, form: AnswerForm) -> Option<AnswerRule> {
        let redirect = form.redirect.map(StatusCode::from_u16);
        let with = match (form.body, redirect) {
            (Some(body), None) => AnswerWith::Body(self.template(&body, &["public"])),
            (None, Some(Ok(status))) if status.is_redirection() => AnswerWith::Redirect(status),
            _ => {
                self.mistake(
                    form.on.span().start,
                    "an answer has either `body` or `redirect = 307`",
                );
                return None;
            }
        };
        let unless_query = pairs(form.unless_query.unwrap_or_default());
        Some(AnswerRule {
            pattern: self.pattern(&form.on)?,
            unless_query,
            with,
        })
    }

    fn dashboard(&mut self, form: &DashboardForm, parts: &[&str]) -> Dashboard {
        let of_user = [parts, &["id"]].concat();
        Dashboard {
            user: form.user.as_ref().map(|link| self.template(link, &of_user)),
            users: form.users.as_ref().map(|link| self.template(link, parts)),
        }
    }
}

/// The words by which an earlier mistake in the same section is known.
fn section_of(what: &str) -> &str {
    what.split(' ').next().unwrap_or(what)
}

fn settings(form: &Form) -> Vec<Setting> {
    let fingerprint = form.identity.iter().any(|part| part.fingerprint);
    let parts = form
        .identity
        .iter()
        .filter(|part| !part.fingerprint && !part.upstream)
        .map(|part| Setting {
            name: part.part.get_ref().clone(),
            variables: part.settings.clone(),
            required: part.default.is_none(),
            secret: false,
            label: None,
            default: part.default.clone(),
        });
    let shown = form.key.as_ref().and_then(|key| key.get_ref().shown.as_ref());
    let shown = shown.map(|shown| Template::parse(shown.get_ref()));
    let is_shown = |name: &str| shown.iter().flat_map(Template::names).any(|shown| shown == name);
    let key = form.key.iter().map(Spanned::get_ref).map(|key| Setting {
        name: "key".to_owned(),
        variables: key.settings.clone(),
        required: fingerprint,
        secret: true,
        label: key.label.clone(),
        default: None,
    });
    let others = form.setting.iter().map(|setting| Setting {
        name: setting.name.clone(),
        variables: setting.settings.clone(),
        required: is_shown(&setting.name),
        secret: !setting.public,
        label: None,
        default: None,
    });
    let webhooks = form.webhooks.iter().filter(|form| !form.settings.is_empty());
    let webhooks = webhooks.map(|form| Setting {
        name: WEBHOOKS.to_owned(),
        variables: form.settings.clone(),
        required: false,
        secret: true,
        label: None,
        default: None,
    });
    parts.chain(key).chain(others).chain(webhooks).collect()
}

fn pairs(map: BTreeMap<String, String>) -> Vec<(String, String)> {
    map.into_iter().collect()
}

/// `10s`, `5m`, `1h`, `30d`.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok().filter(|n| *n > 0)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    Some(Duration::from_secs(number.checked_mul(seconds)?))
}
