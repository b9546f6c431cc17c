//! What people see of a provider and may do there: every name in it is known, and every write is on a
//! route whose answer tells of its user.

use super::super::console::{Console, Field, Link, Snippet, Step, Write};
use super::super::form::{ConsoleForm, FieldForm, Reader, Text};
use super::super::pointer::Pointer;
use super::super::route::{Pattern, Route};
use super::super::template::Template;

impl Reader<'_> {
    /// `parts` are the names of the identity's parts.
    pub(super) fn console(
        &mut self,
        form: ConsoleForm,
        name: &str,
        parts: &[&str],
        routes: &[Route],
    ) -> Console {
        let project = form.project.map(|project| {
            let read = project.read.get_ref();
            if !read.starts_with('/') {
                self.mistake(
                    project.read.span().start,
                    "`read` is a path: write it as /projects/current",
                );
            }
            (read.clone(), self.single_pointer(&project.name))
        });
        let with = |more| [parts, &[more]].concat();
        let links = form.link.into_iter().map(|link| Link {
            label: link.label,
            url: self.template(&link.url, parts),
        });
        let links = links.collect();
        let steps = form.step.into_iter().map(|step| Step {
            text: self.template(&step.text, &with("public")),
            url: step.url.map(|url| self.template(&url, parts)),
        });
        let steps = steps.collect();
        let snippets = form.snippet.into_iter().map(|snippet| Snippet {
            title: snippet.title,
            text: self.template(&snippet.text, &with("base")),
        });
        let snippets = snippets.collect();
        Console {
            title: form.title.unwrap_or_else(|| name.to_owned()),
            project,
            create: form.create.and_then(|on| self.write(&on, false, routes)),
            edit: form.edit.and_then(|on| self.write(&on, true, routes)),
            delete: form.delete.and_then(|on| self.write(&on, true, routes)),
            problem: form.problem.map(|at| self.single_pointer(&at)),
            fields: form.field.into_iter().map(|field| self.field(field)).collect(),
            links,
            steps,
            snippets,
        }
    }

    fn write(&mut self, on: &Text, names_user: bool, routes: &[Route]) -> Option<Write> {
        let pattern = Pattern::parse(on.get_ref());
        let route = pattern.as_ref().and_then(|pattern| {
            routes
                .iter()
                .find(|route| route.pattern.clashes(pattern) && !route.tells.is_empty())
        });
        let (Some(pattern), Some(route)) = (pattern, route) else {
            let what = "a write needs a [[route]] of the same method and path that tells of its user";
            self.mistake(on.span().start, what);
            return None;
        };
        if names_user != pattern.params().eq(["id"]) {
            self.mistake(
                on.span().start,
                "only `{id}` stands in the path, and only where a user is changed",
            );
        }
        let path = on.get_ref().split_once(' ').map_or("", |(_, path)| path);
        Some(Write {
            method: pattern.method,
            path: Template::parse(path),
            whole: route.whole().cloned().unwrap_or_default(),
        })
    }

    fn field(&mut self, form: FieldForm) -> Field {
        let at = self.single_pointer(&form.at);
        let to = form.to.as_ref().map(|to| self.single_pointer(to));
        let with = form.with.into_iter().filter_map(|(at, value)| {
            let pointer = Pointer::parse(&at).filter(Pointer::is_single);
            if pointer.is_none() {
                self.mistake(
                    form.at.span().start,
                    "`with` has pointers and their values: { \"/a\" = true }",
                );
            }
            Some((pointer?, value))
        });
        let with = with.collect();
        Field {
            name: form.at.get_ref().trim_start_matches('/').replace('/', "."),
            label: form.label,
            kind: form.kind,
            hint: form.hint,
            required: form.required,
            only: form.only,
            to: to.unwrap_or_else(|| at.clone()),
            at,
            with,
        }
    }
}
