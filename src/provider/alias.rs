//! What else than an id may stand in a path for a user: a login, an id with something behind it.
//!
//! The provider's file says what an id looks like. A write at another name of a user's is a write of that
//! user: whose it is is asked before it is sent, for a deleted user has no name any more. What must never
//! be: a row, a doubt or a log line with such a name in the place of an id.

use http::{HeaderMap, StatusCode};

use super::form::IdForm;
use super::source::Source;
use super::{Matched, OwnRequest, Provider, Sighting, Tenant};
use crate::user::{Seen, UserId};

impl IdForm {
    fn fits(&self, text: &str) -> bool {
        text.starts_with(&self.begins) && !text.contains(|letter| self.without.contains(letter))
    }

    /// A segment as it came, without what it goes on with behind an id. What is percent-encoded is of the id.
    pub(super) fn cut<'t>(&self, segment: &'t str) -> &'t str {
        if self.ends_before.is_empty() {
            return segment;
        }
        let end = segment.find(|letter| self.ends_before.contains(letter));
        segment.get(..end.unwrap_or(segment.len())).unwrap_or(segment)
    }
}

impl Provider {
    /// An id that a caller has written into a path; nothing where it is another name of the user's.
    pub fn id_in_path(&self, tenant: &Tenant, text: &str) -> Option<UserId> {
        self.id(tenant, text).filter(|_| self.id_form.fits(text))
    }

    /// The user's other name by which this request is about it, where it is about one.
    pub fn alias<'m>(&self, matched: &'m Matched<'_>) -> Option<&'m str> {
        let text = matched.route.user.iter().find_map(|source| match source {
            Source::Path(name) => matched.param(name),
            _ => None,
        })?;
        (!self.is_word(text) && !self.id_form.fits(text)).then_some(text)
    }

    /// Whom the answer to [`Provider::read_named`] shows, whole.
    pub fn read_named_answer(
        &self,
        tenant: &Tenant,
        request: &OwnRequest,
        (status, headers, body): (StatusCode, &HeaderMap, &[u8]),
    ) -> Option<Sighting> {
        let told = self.told_by_own(tenant, request, (status, headers, body))?;
        told.into_iter().find(|told| matches!(told.seen, Seen::Whole(_)))
    }
}

impl Matched<'_> {
    /// It is this user's, whose other name stands in the path.
    pub fn is_of(&mut self, alias: &str, user: &UserId) {
        for (_, value) in self.params.iter_mut().filter(|(_, value)| value == alias) {
            *value = user.as_str().to_owned();
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::user::IdType;

    fn of(name: &str, id_type: IdType) -> (Provider, Tenant) {
        let provider = Provider::builtin(name).expect("it has no mistake");
        let tenant = provider.tenant(id_type, None, &|_| Some("x".to_owned()));
        let tenant = tenant.unwrap_or_else(|_| panic!("all settings are there"));
        (provider, tenant)
    }

    const UUID: &str = "8b2d5a3e-1111-4c1a-9a37-00000000000a";

    #[test]
    fn what_follows_an_id_in_a_path_is_no_part_of_it() {
        let (keycloak, tenant) = of("keycloak", IdType::Text);
        let named = |path: &str| {
            let matched = keycloak.route(&Method::PUT, path).expect("a route");
            assert_eq!(keycloak.alias(&matched), None);
            let id = matched
                .param("id")
                .and_then(|id| keycloak.id_in_path(&tenant, id));
            id.map(|id| id.as_str().to_owned())
        };
        for path in [
            format!("/admin/realms/x/users/{UUID};x=1"),
            format!("/admin/realms/x;y/users;/{UUID}/reset-password;x=1"),
        ] {
            assert_eq!(named(&path).as_deref(), Some(UUID), "{path}");
        }
        // The name of a directory's user.
        let of_a_directory = named("/admin/realms/x/users/f%3A1%3Aada%3Bking");
        assert_eq!(of_a_directory.as_deref(), Some("f:1:ada;king"));
    }

    #[test]
    fn a_login_is_another_name_and_a_word_is_none() {
        let (okta, tenant) = of("okta", IdType::Text);
        let alias = |user: &str| {
            let matched = okta.route(&Method::GET, &format!("/api/v1/users/{user}"));
            matched.and_then(|matched| okta.alias(&matched).map(str::to_owned))
        };
        assert_eq!(alias("ada%40example.com").as_deref(), Some("ada@example.com"));
        assert_eq!(alias("00user@example.com").as_deref(), Some("00user@example.com"));
        assert_eq!((alias("00u1abc"), alias("me")), (None, None));
        assert_eq!(okta.id_in_path(&tenant, "ada@example.com"), None);
    }

    #[test]
    fn an_id_has_one_spelling_where_the_column_or_the_provider_knows_uuids() {
        let spelled = |(provider, tenant): (Provider, Tenant), text: &str| {
            let id = provider.id(&tenant, text);
            id.map(|id| id.as_str().to_owned())
        };
        for (name, id_type) in [
            ("supabase", IdType::Uuid),
            ("supabase", IdType::Text),
            ("better-auth", IdType::Uuid),
        ] {
            let id = spelled(of(name, id_type), &UUID.to_uppercase());
            assert_eq!(id.as_deref(), Some(UUID), "{name}");
        }
        assert_eq!(spelled(of("better-auth", IdType::Uuid), "kQ1"), None);
        let upper = spelled(of("better-auth", IdType::Text), &UUID.to_uppercase());
        assert_eq!(upper, Some(UUID.to_uppercase()), "it may mean something");
    }
}
