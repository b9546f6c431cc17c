//! What is about to be done to a user: written, asked, done through the proxy, told.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde_json::Value;

use super::entry::{Entry, field, read, spelled, value};
use crate::config::Deleted;
use crate::console::Console;
use crate::console::guard::{Form, Visitor};
use crate::console::page::{Frame, Live, page, proof, query, segment};
use crate::console::pieces::{Mood, long, notice};
use crate::provider::console::{Deed, Field, FieldKind};
use crate::proxy::Through;
use crate::user::UserId;

/// What is about to be done, and to whom.
pub struct Draft<'a> {
    console: &'a Console,
    visitor: &'a Visitor,
    deed: Deed,
    id: Option<&'a UserId>,
    /// The user as the row has it; null for a new one.
    user: &'a Value,
}

impl<'a> Draft<'a> {
    pub fn of(
        console: &'a Console,
        visitor: &'a Visitor,
        deed: Deed,
        id: &'a UserId,
        user: &'a Value,
    ) -> Draft<'a> {
        let id = Some(id);
        Draft {
            console,
            visitor,
            deed,
            id,
            user,
        }
    }

    pub fn of_new(console: &'a Console, visitor: &'a Visitor) -> Draft<'a> {
        Draft {
            console,
            visitor,
            deed: Deed::Create,
            id: None,
            user: &Value::Null,
        }
    }

    /// From the form, once looked over from the page that asks; else looked over now.
    pub async fn goes_on(&self, form: &Form) -> Response {
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

    pub fn entries(&self, form: Option<&Form>) -> Vec<Entry<'a>> {
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
        self.id
            .map_or("/users".into(), |id| format!("/users/{}", segment(id.as_str())))
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
    pub fn shows(&self, entries: &[Entry<'_>], note: Option<&str>) -> Response {
        if !self.console.station.config.provider.can(self.deed) {
            return self
                .page(html! { p { "The provider's file does not say how." } })
                .into_response();
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
    pub fn asks(&self, changes: &[&Entry<'_>], form: Option<&Form>) -> Response {
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
            Deleted::Keep => {
                "The row stays, with deleted_at set; your own rows that refer to it stay as they are."
                    .to_owned()
            }
            Deleted::Purge { after } if after.is_zero() => {
                "The row is removed, and what your foreign keys say ON DELETE happens to your own rows."
                    .to_owned()
            }
            Deleted::Purge { after } => format!(
                "The row stays with deleted_at set and is removed after {}; then what your foreign keys say ON DELETE \
                 happens to your own rows.",
                long(i64::try_from(after.as_secs()).unwrap_or(i64::MAX))
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
    pub async fn done(&self, changes: &[&Entry<'_>]) -> Response {
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
        match config
            .provider
            .problem(through.status, &through.headers, &through.body)
        {
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
        let recorded = through
            .headers
            .get("x-usertap-recorded")
            .and_then(|value| value.to_str().ok());
        let told = query(&[("said", word), ("recorded", recorded.unwrap_or_default())]);
        let id = self
            .id
            .cloned()
            .or_else(|| config.provider.id_told(&through.body, config.id_type));
        let to = id.map_or("/users".to_owned(), |id| {
            format!("/users/{}?{told}", segment(id.as_str()))
        });
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
    let own = through
        .headers
        .get("x-usertap-error")
        .and_then(|word| word.to_str().ok());
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
