//! Where a user's fields stand.

use super::super::caller::Part;
use super::super::form::{Reader, TextForm, TimeForm, UserForm};
use super::super::known::Known;
use super::super::route::Route;
use super::super::template::Template;
use super::super::view::{TextAt, TimeAt, UserMap};

impl Reader<'_> {
    pub(super) fn user(&mut self, form: UserForm, routes: &[Route], identity: &[Part]) -> UserMap {
        let read = form.read;
        let template = Template::parse(read.get_ref());
        if !routes.iter().any(|route| route.reads_user_at(read.get_ref())) {
            self.mistake(
                read.span().start,
                "`read` needs a [[route]] on GET of that path that tells `whole`",
            );
        }
        let is_part = |name: &str| identity.iter().any(|part| part.part == name);
        let names: Vec<&str> = template.names().filter(|name| !is_part(name)).collect();
        if !read.get_ref().starts_with('/') || names != ["id"] {
            self.mistake(
                read.span().start,
                "`read` is the path of one user: write it as /users/{id}",
            );
        }
        UserMap {
            known: Known::default(),
            id: self.place(&form.id),
            name: form.name.iter().map(|text| self.text_at(text)).collect(),
            email: form.email.iter().map(|text| self.text_at(text)).collect(),
            created_at: form.created_at.map(|time| self.time_at(time)),
            updated_at: form.updated_at.map(|time| self.time_at(time)),
            version: form.version.map(|time| self.time_at(time)),
            deleted_at: form.deleted_at.map(|text| self.place(&text)),
            volatile: form
                .volatile
                .iter()
                .map(|text| self.inner_pointer(text))
                .collect(),
            drop: form.drop.iter().map(|text| self.inner_pointer(text)).collect(),
            whole_has: form.whole_has.iter().map(|text| self.pointer(text)).collect(),
            read: template,
            nobody: form.nobody,
        }
    }

    fn text_at(&mut self, form: &TextForm) -> TextAt {
        let said: Vec<&str> = form.at.iter().map(|text| text.get_ref().as_str()).collect();
        TextAt {
            said: said.join(" and "),
            places: form.at.iter().map(|text| self.place(text)).collect(),
        }
    }

    fn time_at(&mut self, form: TimeForm) -> TimeAt {
        TimeAt {
            said: form.at.get_ref().clone(),
            at: self.place(&form.at),
            unit: form.unit,
        }
    }
}
