//! The routes of a provider file.

use super::super::form::{DoneForm, Rank, Reader, RouteForm, TellForm, Text};
use super::super::pointer::Pointer;
use super::super::route::{Carries, Pattern, Route, RouteTenant};
use super::super::source::Source;
use super::super::tell::{Done, Kind, Shown, Tell};
use super::super::{Proof, Rate};
use super::duration;

impl Reader<'_> {
    /// The more literal ones first.
    pub(super) fn routes(&mut self, forms: Vec<RouteForm>, prefixes: &[&str], has_token: bool) -> Vec<Route> {
        let mut routes: Vec<Route> = Vec::new();
        for form in forms {
            let at = form.on.span().start;
            self.check_prefixes(&form.on, prefixes);
            let Some(route) = self.route(form, has_token) else {
                continue;
            };
            if routes.iter().any(|other| other.pattern.clashes(&route.pattern)) {
                self.mistake(at, format!("`{}` stands there twice: take one out", route.name));
            }
            routes.push(route);
        }
        routes.sort_by(|one, other| one.pattern.order(&other.pattern));
        routes
    }

    /// With a prefix before it a route would be looked for below that twice.
    fn check_prefixes(&mut self, on: &Text, prefixes: &[&str]) {
        let path = on.get_ref().split_once(' ').map_or("", |(_, path)| path);
        let stands = |prefix: &str| {
            path.strip_prefix(prefix)
                .is_some_and(|rest| rest.starts_with('/'))
        };
        if let Some(prefix) = prefixes
            .iter()
            .find(|prefix| !prefix.is_empty() && stands(prefix))
        {
            let text = format!("a route stands below the prefixes: take `{prefix}` out");
            self.mistake(on.span().start, text);
        }
    }

    fn route(&mut self, form: RouteForm, has_token: bool) -> Option<Route> {
        let at = form.on.span().start;
        let pattern = self.pattern(&form.on);
        if let Some(pattern) = &pattern {
            named(&form).for_each(|text| self.check_source(text, pattern, has_token));
        }
        let user = self.sources(&form.user);
        let tells: Vec<Option<Tell>> = form
            .tells
            .into_iter()
            .map(|tell| self.tell(at, &user, tell))
            .collect();
        let tells: Vec<Tell> = tells.into_iter().flatten().collect();
        if user.iter().any(|source| !source.is_in_request()) {
            self.mistake(
                at,
                "`user` says where the request names the user: an answer cannot",
            );
        }
        let pattern = pattern?;
        let writes = form.writes.unwrap_or(!pattern.method.is_safe());
        let cache = form.cache.and_then(|text| self.kept(&text, &pattern, writes));
        let user_limit = form.user_limit.and_then(|text| self.user_limit(&text, &user));
        let own_path = own_place(&pattern, &user).filter(|_| form.own_path);
        if form.own_path && own_path.is_none() {
            self.mistake(
                at,
                "`own_path` needs a path that ends in the user's id, as /users/{id}, or a `user` from the query",
            );
        }
        Some(Route {
            name: form.on.into_inner().into(),
            carries: carries(&tells),
            needs_request_body: form.tenant.is_some() || needs_request_body(&user, &tells),
            writes,
            unnamed: form.silent.into(),
            judges: form.judges.unwrap_or(!tells.is_empty()),
            cache,
            user_limit,
            own_path,
            user,
            tells,
            hides: form.hides,
            tenant: form.tenant.map(|form| RouteTenant {
                form: form.form,
                separator: form.separator,
            }),
            pattern,
        })
    }

    fn user_limit(&mut self, text: &Text, user: &[Source]) -> Option<Rate> {
        if user.is_empty() {
            let what = "a limit for each user needs the user: say with `user` where the request names it";
            self.mistake(text.span().start, what);
        }
        self.rate(text).map(|limit| limit.rate)
    }

    fn check_source(&mut self, text: &Text, pattern: &Pattern, has_token: bool) {
        let at = text.span().start;
        let Some(source) = Source::parse(text.get_ref()) else {
            return;
        };
        let is_missing = |source: &&Source| match source {
            Source::Path(name) => !pattern.params().any(|param| param == &**name),
            _ => false,
        };
        if let Some(Source::Path(name)) = source.parts().chain([&source]).find(is_missing) {
            let what = format!("the route's path has no {{{name}}}: name one that it has");
            self.mistake(at, what);
        }
        match source {
            Source::Caller | Source::AnswerToken(_) if !has_token => {
                self.mistake(at, "a token names the user here: add [token] with headers and id");
            }
            _ => {}
        }
    }

    fn tell(&mut self, at: usize, user: &[Source], form: TellForm) -> Option<Tell> {
        let rank = form.rank;
        let unsettled = form.unsettled;
        let when_form = form.when_form.clone().unwrap_or_default();
        let when_query = form.when_query.clone().unwrap_or_default();
        let unless_query = form.unless_query.clone();
        let mut kinds = self.kinds(at, &form);
        if kinds.len() > 1 || (kinds.is_empty() && nothing(&form)) {
            let text = "each of `tells` has exactly one of whole, partial, list, deleted, touched, mentioned";
            self.mistake(at, text);
        }
        let kind = kinds.pop()?;
        let of_list = form.item.is_some() || form.consistency.is_some() || !form.empty_has.is_empty();
        if !matches!(kind, Kind::List { .. }) && of_list {
            self.mistake(at, "`item`, `consistency` and `empty_has` belong to a `list`");
        }
        if !matches!(kind, Kind::Partial { .. }) && form.fields.is_some() {
            self.mistake(at, "`fields` belong to a `partial`");
        }
        match &kind {
            Kind::Deleted(from, _) => self.check_deletion(at, rank, user, from),
            _ if form.done.is_some() => self.mistake(at, "`done` belongs to a `deleted`"),
            _ => {}
        }
        Some(Tell {
            kind,
            rank,
            unsettled,
            when_form,
            when_query,
            unless_query,
        })
    }

    /// Without a server's credential a user can delete nobody but itself.
    fn check_deletion(&mut self, at: usize, rank: Option<Rank>, user: &[Source], from: &[Source]) {
        let named = from.iter().flat_map(|source| match source {
            Source::Named => user,
            one => std::slice::from_ref(one),
        });
        let others = named.filter(|source| **source != Source::Caller).count();
        if rank != Some(Rank::Server) && others > 0 {
            let text = "only a server deletes others: add for = \"server\" to this `deleted`, or take its id \
                        from `caller` alone";
            self.mistake(at, text);
        }
    }

    fn done(&mut self, at: usize, form: Option<&DoneForm>) -> Done {
        match form {
            Some(DoneForm::Word(word)) if word == "empty" => return Done::Empty,
            Some(DoneForm::Values(values)) => {
                let shown = values
                    .iter()
                    .map(|(at, value)| Some((Pointer::parse(at)?, shown(value))));
                if let Some(all) = shown.collect::<Option<Vec<_>>>() {
                    return Done::Shows(all);
                }
            }
            _ => {}
        }
        let text = "`deleted` needs `done`, what its answer is once it is done: \"empty\", or what the body shows by \
                    pointer, { \"/success\" = true }";
        self.mistake(at, text);
        Done::Empty
    }

    fn kinds(&mut self, at: usize, form: &TellForm) -> Vec<Kind> {
        let mut kinds = Vec::new();
        kinds.extend(form.whole.as_ref().map(|at| Kind::Whole(self.single_pointer(at))));
        kinds.extend(form.partial.as_ref().map(|at| Kind::Partial {
            at: self.single_pointer(at),
            fields: form.fields.clone(),
        }));
        if let Some(from) = &form.deleted {
            kinds.push(Kind::Deleted(
                self.sources(from),
                self.done(at, form.done.as_ref()),
            ));
        }
        kinds.extend(
            form.touched
                .as_ref()
                .map(|from| Kind::Touched(self.sources(from))),
        );
        kinds.extend(
            form.mentioned
                .as_ref()
                .map(|from| Kind::Mentioned(self.sources(from))),
        );
        if let Some(at) = &form.list {
            let at = self.single_pointer(at);
            let item = form
                .item
                .as_ref()
                .map_or_else(Pointer::default, |item| self.single_pointer(item));
            let proof = self.consistency(form.consistency.as_ref());
            let empty_has = form.empty_has.iter().map(|has| self.single_pointer(has));
            let empty_has = empty_has.collect();
            kinds.push(Kind::List {
                at,
                item,
                proof,
                empty_has,
            });
        }
        kinds
    }

    /// Nothing said proves nothing.
    fn consistency(&mut self, text: Option<&Text>) -> Proof {
        let Some(text) = text else { return Proof::Never };
        match text.get_ref().as_str() {
            "at-sending" => Proof::AtSending,
            "unknown" => Proof::Never,
            lag => duration(lag).map_or_else(|| self.no_consistency(text), Proof::Lagging),
        }
    }

    fn no_consistency(&mut self, text: &Text) -> Proof {
        let what = "`consistency` is at-sending, unknown, or how old a list may be, as 30s";
        self.mistake(text.span().start, what);
        Proof::Never
    }
}

/// `{id}` stands for the id of the user who is deleted.
fn shown(value: &serde_json::Value) -> Shown {
    match value.as_str() {
        Some("{id}") => Shown::Id,
        _ => Shown::Value(value.clone()),
    }
}

/// Everything in a route that names an id.
fn named(form: &RouteForm) -> impl Iterator<Item = &Text> {
    let tells = form
        .tells
        .iter()
        .flat_map(|tell| [&tell.deleted, &tell.touched, &tell.mentioned]);
    form.user.iter().chain(tells.flatten().flatten())
}

fn nothing(form: &TellForm) -> bool {
    let ids = [&form.deleted, &form.touched, &form.mentioned];
    form.whole.is_none()
        && form.partial.is_none()
        && form.list.is_none()
        && ids.iter().all(|ids| ids.is_none())
}

fn carries(tells: &[Tell]) -> Carries {
    let has = |wanted: fn(&Kind) -> bool| tells.iter().any(|tell| wanted(&tell.kind));
    if has(|kind| matches!(kind, Kind::List { .. })) {
        Carries::Users
    } else if has(|kind| matches!(kind, Kind::Whole(_) | Kind::Partial { .. })) {
        Carries::User
    } else if tells.is_empty() {
        Carries::Nothing
    } else {
        Carries::Ids
    }
}

/// Where the one user stands of whom a route is.
fn own_place(pattern: &Pattern, user: &[Source]) -> Option<Source> {
    let in_query = || {
        user.iter()
            .find(|source| matches!(source, Source::Query(_)))
            .cloned()
    };
    in_query().or_else(|| pattern.params().last().map(|name| Source::Path(name.into())))
}

fn needs_request_body(user: &[Source], tells: &[Tell]) -> bool {
    let told = tells.iter().flat_map(|tell| tell.sources());
    let form = tells.iter().any(|tell| !tell.when_form.is_empty());
    form || user.iter().chain(told).any(Source::needs_request_body)
}
