//! Making, changing and deleting a user: written, looked over, then sent through the proxy like any
//! app's request, so that it is recorded like any other write.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde_json::Value;

use super::guard::{Form, Visitor};
use super::page::{Frame, Live, page, proof, query, segment};
use super::pieces::{Mood, away, notice};
use super::Console;
use crate::config::Deleted;
use crate::db::rows::{self, Row};
use crate::provider::console::{Deed, Field, FieldKind};
use crate::proxy::Through;
use crate::user::{UserId, json};

/// What is about to be done, and to whom.
struct Draft<'a> {
    console: &'a Console,
    visitor: &'a Visitor,
    deed: Deed,
    id: Option<&'a UserId>,
    /// The user as the row has it; null for a new one.
    user: &'a Value,
}

/// A field as it was written.
struct Entry<'a> {
    field: &'a Field,
    /// What stands in the form.
    text: String,
    /// What it means, or why it means nothing.
    read: Result<Value, &'static str>,
}

pub async fn new(State(console): State<Console>, Extension(visitor): Extension<Visitor>) -> Response {
    let draft = Draft::of_new(&console, &visitor);
    draft.shows(&draft.entries(None), None)
}

pub async fn create(
    State(console): State<Console>,
    Extension(visitor): Extension<Visitor>,
    Extension(form): Extension<Form>,
) -> Response {
    Draft::of_new(&console, &visitor).goes_on(&form).await
}

pub async fn edit(
    State(console): State<Console>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
) -> Response {
    match known(&console, &visitor, &id).await {
        Err(response) => response,
        Ok((id, user)) => {
            let draft = Draft::of(&console, &visitor, Deed::Edit, &id, &user);
            draft.shows(&draft.entries(None), None)
        }
    }
}

pub async fn save(
    State(console): State<Console>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
    Extension(form): Extension<Form>,
) -> Response {
    match known(&console, &visitor, &id).await {
        Err(response) => response,
        Ok((id, user)) => Draft::of(&console, &visitor, Deed::Edit, &id, &user).goes_on(&form).await,
    }
}

pub async fn ask_delete(
    State(console): State<Console>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
) -> Response {
    match known(&console, &visitor, &id).await {
        Err(response) => response,
        Ok((id, user)) => Draft::of(&console, &visitor, Deed::Delete, &id, &user).asks(&[], None),
    }
}

pub async fn delete(
    State(console): State<Console>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
) -> Response {
    match known(&console, &visitor, &id).await {
        Err(response) => response,
        Ok((id, user)) => Draft::of(&console, &visitor, Deed::Delete, &id, &user).done(&[]).await,
    }
}

/// The user whose row it is.
async fn known(console: &Console, visitor: &Visitor, id: &str) -> Result<(UserId, Value), Response> {
    let gone = || Redirect::to(&format!("/users/{}", segment(id))).into_response();
    let id = UserId::parse(id, console.station.config.id_type).ok_or_else(gone)?;
    match rows::one(&console.station.database, &id).await {
        Ok(Some(row)) => Ok((id, whole(&row))),
        Ok(None) => Err(gone()),
        Err(error) => {
            let frame = Frame {
                place: "/users",
                title: "User",
                live: Live::No,
            };
            let body = html! { h1 { "Not now" } (away(&error)) };
            Err((StatusCode::SERVICE_UNAVAILABLE, page(console, visitor, &frame, body)).into_response())
        }
    }
}

fn whole(row: &Row) -> Value {
    json::read(&row.raw_json).unwrap_or_default()
}

impl<'a> Draft<'a> {
    fn of(console: &'a Console, visitor: &'a Visitor, deed: Deed, id: &'a UserId, user: &'a Value) -> Draft<'a> {
        let id = Some(id);
        Draft {
            console,
            visitor,
            deed,
            id,
            user,
        }
    }

    fn of_new(console: &'a Console, visitor: &'a Visitor) -> Draft<'a> {
        Draft {
            console,
            visitor,
            deed: Deed::Create,
            id: None,
            user: &Value::Null,
        }
    }

    /// From the form, once looked over from the page that asks; else looked over now.
    async fn goes_on(&self, form: &Form) -> Response {
        let entries = self.entries(Some(form));
        if entries.iter().any(|entry| entry.read.is_err()) {
            return self.shows(&entries, None);
        }
        let changes: Vec<&Entry<'_>> = entries.iter().filter(|entry| self.is_change(entry)).collect();
        match form.get("step") {
            "do" => self.done(&changes).await,
            _ if changes.is_empty() => self.shows(&entries, Some("Nothing was changed.")),
            "again" => self.shows(&entries, None),
            _ => self.asks(&changes, Some(form)),
        }
    }

    fn fields(&self) -> impl Iterator<Item = &'a Field> {
        self.console.station.config.provider.fields(self.deed)
    }

    fn entries(&self, form: Option<&Form>) -> Vec<Entry<'a>> {
        let entry = |field: &'a Field| {
            let text = match form {
                Some(form) => form.get(&field.name).replace("\r\n", "\n"),
                None => spelled(field.kind, &field.value(self.user)),
            };
            let read = read(field, &text, self.deed);
            Entry { field, text, read }
        };
        self.fields().map(entry).collect()
    }

    /// What a new user does not have need not be said.
    fn is_change(&self, entry: &Entry<'_>) -> bool {
        let before = match self.deed {
            Deed::Create if entry.field.kind == FieldKind::Switch => Value::Bool(false),
            _ => entry.field.value(self.user),
        };
        entry.read.as_ref().is_ok_and(|value| *value != before)
    }

    fn frame(&self) -> Frame<'static> {
        let title = match self.deed {
            Deed::Create => "New user",
            Deed::Edit => "Edit user",
            Deed::Delete => "Delete user",
        };
        Frame {
            place: "/users",
            title,
            live: Live::No,
        }
    }

    fn path(&self) -> String {
        match (self.id, self.deed) {
            (None, _) => "/users/new".into(),
            (Some(id), Deed::Delete) => format!("/users/{}/delete", segment(id.as_str())),
            (Some(id), _) => format!("/users/{}/edit", segment(id.as_str())),
        }
    }

    fn back(&self) -> String {
        self.id.map_or("/users".into(), |id| format!("/users/{}", segment(id.as_str())))
    }

    fn page(&self, body: Markup) -> Markup {
        let frame = self.frame();
        let body = html! {
            p.crumbs {
                a href="/users" { "Users" }
                @if let Some(id) = self.id { " / " a href=(self.back()) { (id) } }
            }
            h1 { (frame.title) }
            (body)
        };
        page(self.console, self.visitor, &frame, body)
    }

    /// The form to write in.
    fn shows(&self, entries: &[Entry<'_>], note: Option<&str>) -> Response {
        if !self.console.station.config.provider.can(self.deed) {
            return self.page(html! { p { "The provider's file does not say how." } }).into_response();
        }
        let first_wrong = entries.iter().position(|entry| entry.read.is_err());
        let body = html! {
            @if let Some(note) = note { (notice(Mood::Warn, html! { p role="status" { (note) } })) }
            @if first_wrong.is_some() {
                (notice(Mood::Bad, html! { p { "Not all of it can be read: see the marked fields." } }))
            }
            form.write method="post" action=(self.path()) {
                (proof(self.visitor))
                @for (at, entry) in entries.iter().enumerate() { (field(entry, first_wrong == Some(at))) }
                div.actions {
                    button.primary type="submit" { "Look it over" }
                    a.button href=(self.back()) { "Cancel" }
                }
            }
        };
        self.page(body).into_response()
    }

    /// What is about to be done.
    fn asks(&self, changes: &[&Entry<'_>], form: Option<&Form>) -> Response {
        let title = self.console.station.config.provider.title();
        let (question, button) = match self.deed {
            Deed::Create => (format!("Make this user at {title}?"), "Make the user"),
            Deed::Edit => (format!("Change this at {title}?"), "Change the user"),
            Deed::Delete => (format!("Delete this user at {title}?"), "Delete the user"),
        };
        let body = html! {
            section.card aria-labelledby="question" {
                header { h2 #question { (question) } }
                @if self.deed == Deed::Delete { (self.what_goes()) }
                @else { (self.what_changes(changes)) }
                p.note { "It goes through the proxy with the server key, and is recorded like any other write." }
                div.actions {
                    form method="post" action=(self.path()) {
                        (proof(self.visitor))
                        (carried(form, self.fields(), "do"))
                        button.danger[self.deed == Deed::Delete].primary[self.deed != Deed::Delete] type="submit" { (button) }
                    }
                    @if form.is_some() {
                        form method="post" action=(self.path()) {
                            (proof(self.visitor))
                            (carried(form, self.fields(), "again"))
                            button type="submit" { "Write again" }
                        }
                    }
                    a.button href=(self.back()) { "Leave it" }
                }
            }
        };
        self.page(body).into_response()
    }

    fn what_changes(&self, changes: &[&Entry<'_>]) -> Markup {
        html! {
            table.compare {
                caption.unseen { "What changes" }
                thead {
                    tr { th scope="col" { "Field" } @if self.deed == Deed::Edit { th scope="col" { "Now" } } th scope="col" { "Then" } }
                }
                tbody {
                    @for entry in changes {
                        tr {
                            th scope="row" { (entry.field.label) }
                            @if self.deed == Deed::Edit {
                                td data-label="Now" { (value(&entry.field.value(self.user))) }
                            }
                            td data-label="Then" { (value(entry.read.as_ref().unwrap_or(&Value::Null))) }
                        }
                    }
                }
            }
        }
    }

    fn what_goes(&self) -> Markup {
        let row = match self.console.station.config.deleted {
            Deleted::Keep => "The row stays, with deleted_at set; your own rows that refer to it stay as they are.".to_owned(),
            Deleted::Purge { after } if after.is_zero() => {
                "The row is removed, and what your foreign keys say ON DELETE happens to your own rows.".to_owned()
            }
            Deleted::Purge { after } => format!(
                "The row stays with deleted_at set and is removed after {}; then what your foreign keys say ON DELETE \
                 happens to your own rows.",
                super::pieces::long(i64::try_from(after.as_secs()).unwrap_or(i64::MAX))
            ),
        };
        html! {
            dl.wide {
                dt { "Id" } dd.mono { @if let Some(id) = self.id { (id) } }
                @for field in self.console.station.config.provider.fields(Deed::Edit).take(2) {
                    dt { (field.label) } dd { (value(&field.value(self.user))) }
                }
            }
            p { "The provider cannot undo it. " (row) }
        }
    }

    /// Through the proxy.
    async fn done(&self, changes: &[&Entry<'_>]) -> Response {
        let config = &self.console.station.config;
        let values: Vec<(&Field, Value)> = changes
            .iter()
            .filter_map(|entry| Some((entry.field, entry.read.clone().ok()?)))
            .collect();
        let Some((request, body)) = config.provider.write(&config.tenant, self.deed, self.id, &values) else {
            return self.failed("there is no server key, or the provider's file does not say how");
        };
        let through = match self.console.door.send(request, body).await {
            Ok(through) => through,
            Err(fault) => return self.failed(&fault.to_string()),
        };
        match config.provider.problem(through.status, &through.headers, &through.body) {
            Some(problem) => self.failed(&refusal(&through, &problem)),
            None => self.told(&through),
        }
    }

    fn told(&self, through: &Through) -> Response {
        let config = &self.console.station.config;
        let word = match self.deed {
            Deed::Create => "created",
            Deed::Edit => "edited",
            Deed::Delete => "deleted",
        };
        let recorded = through.headers.get("x-usertap-recorded").and_then(|value| value.to_str().ok());
        let told = query(&[("said", word), ("recorded", recorded.unwrap_or_default())]);
        let id = self.id.cloned().or_else(|| config.provider.id_told(&through.body, config.id_type));
        let to = id.map_or("/users".to_owned(), |id| format!("/users/{}?{told}", segment(id.as_str())));
        Redirect::to(&to).into_response()
    }

    fn failed(&self, why: &str) -> Response {
        let body = html! {
            (notice(Mood::Bad, html! { p { strong { "Not done: " } (why) } }))
            p { a.button href=(self.path()) { "Try again" } " " a.button href=(self.back()) { "Leave it" } }
        };
        (StatusCode::BAD_GATEWAY, self.page(body)).into_response()
    }
}

fn refusal(through: &Through, problem: &str) -> String {
    let own = through.headers.get("x-usertap-error").and_then(|word| word.to_str().ok());
    match (own, problem) {
        (Some(word), problem) => format!("{problem} ({word})"),
        (None, "") => "the provider refused it and did not say why".into(),
        (None, problem) => format!("the provider says: {problem}"),
    }
}

/// The form as it was posted, to be posted once more.
fn carried<'f>(form: Option<&Form>, fields: impl Iterator<Item = &'f Field>, step: &str) -> Markup {
    html! {
        input type="hidden" name="step" value=(step);
        @if let Some(form) = form {
            @for field in fields { input type="hidden" name=(field.name) value=(form.get(&field.name)); }
        }
    }
}

fn field(entry: &Entry<'_>, focus: bool) -> Markup {
    let Entry { field, text, read } = entry;
    let (id, note) = (format!("f-{}", field.name), format!("n-{}", field.name));
    let wrong = read.as_ref().err();
    let invalid = wrong.map(|_| "true");
    let described = (field.hint.is_some() || wrong.is_some()).then_some(&note);
    html! {
        div.field {
            @if field.kind == FieldKind::Switch {
                label.switch for=(id) {
                    input #(id) type="checkbox" name=(field.name) value="true" checked[text == "true"] aria-describedby=[described];
                    " " (field.label)
                }
            } @else {
                label for=(id) { (field.label) @if field.required { " (needed)" } }
                @match field.kind {
                    FieldKind::Json => {
                        textarea #(id) name=(field.name) rows="5" spellcheck="false" autofocus[focus]
                            aria-invalid=[invalid] aria-describedby=[described] { (text) }
                    }
                    _ => {
                        input #(id) name=(field.name) value=(text) autocomplete="off" spellcheck="false" autofocus[focus]
                            type=(if field.kind == FieldKind::Email { "email" } else { "text" })
                            required[field.required] aria-invalid=[invalid] aria-describedby=[described];
                    }
                }
            }
            @if described.is_some() {
                p.note #(note) {
                    @if let Some(wrong) = wrong { strong.wrong { (wrong) " " } }
                    @if let Some(hint) = &field.hint { (hint) }
                }
            }
        }
    }
}

fn value(value: &Value) -> Markup {
    html! {
        @match value {
            Value::Null => { span.none { "nothing" } }
            Value::Bool(true) => { "yes" }
            Value::Bool(false) => { "no" }
            Value::String(text) => { span.value { (text) } }
            other => { span.value { (other) } }
        }
    }
}

fn spelled(kind: FieldKind, value: &Value) -> String {
    match (kind, value) {
        (_, Value::Null) => String::new(),
        (FieldKind::Json, value) => serde_json::to_string_pretty(value).unwrap_or_default(),
        (_, Value::String(text)) => text.clone(),
        (_, value) => value.to_string(),
    }
}

fn read(field: &Field, text: &str, deed: Deed) -> Result<Value, &'static str> {
    let text = match field.kind {
        FieldKind::Text => text,
        _ => text.trim(),
    };
    match field.kind {
        FieldKind::Switch => Ok(Value::Bool(text == "true")),
        _ if text.is_empty() && field.required && deed == Deed::Create => Err("It is needed."),
        _ if text.is_empty() => Ok(Value::Null),
        FieldKind::Json => serde_json::from_str(text).map_err(|_| "It is not JSON: write it as {\"plan\": \"pro\"}."),
        FieldKind::Email if !text.contains('@') => Err("It is not an email address."),
        _ => Ok(Value::from(text)),
    }
}
