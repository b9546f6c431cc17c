//! Requests that usertap sends with the tenant's own key, and the reads among them.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use secrecy::ExposeSecret;

use super::paging::{Total, raw_value};
use super::pointer::Pointer;
use super::template::{Template, percent_encoded};
use super::{Answer, Credential, OwnRequest, Provider, RequestHead, Sighting, Tenant};
use crate::user::{Seen, UserId};

/// A header of usertap's own requests.
#[derive(Debug)]
pub(super) struct OwnHeader {
    pub name: HeaderName,
    pub value: Template,
    /// Left out while this part of the identity is its default.
    pub unless_default: Option<String>,
}

impl Provider {
    /// The request that tells how many users there are, where that is a request of its own.
    pub fn count_request(&self, tenant: &Tenant) -> Option<OwnRequest> {
        match &self.list.total {
            Some(Total::Path(path, _)) => Some(self.own_request(tenant, path)),
            _ => None,
        }
    }

    /// Reads the answer to [`Provider::count_request`].
    pub fn count(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<u64> {
        let success = self.effective_status(status, headers).is_success();
        match &self.list.total {
            Some(Total::Path(_, at)) if success => number(body, at),
            _ => None,
        }
    }

    /// The read of one user with the tenant's key. `None` without a key.
    pub fn read_user(&self, tenant: &Tenant, id: &UserId) -> Option<OwnRequest> {
        tenant.key.as_ref()?;
        let path = self.user.read.fill(&|_| Some(percent_encoded(id.as_str())))?;
        Some(self.own_request(tenant, &path))
    }

    /// What the answer to [`Provider::read_user`] tells: the user, its absence, or neither.
    pub fn read_user_answer(
        &self,
        tenant: &Tenant,
        id: &UserId,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Option<Sighting> {
        let request = self.read_user(tenant, id)?;
        let matched = self.route(&request.method, &request.target)?;
        let head = RequestHead {
            method: &request.method,
            path: &request.target,
            query: None,
            headers: &request.headers,
        };
        let answer = Answer {
            status,
            headers,
            body,
        };
        let own = Credential::OwnServer;
        let told = self.extract(tenant, &matched, own, &head, None, &answer);
        let settles = |told: &Sighting| told.id == *id && matches!(told.seen, Seen::Whole(_) | Seen::Missing);
        told.sightings.into_iter().find(settles)
    }

    pub(super) fn own_request(&self, tenant: &Tenant, path: &str) -> OwnRequest {
        let mut headers = HeaderMap::new();
        for own in &self.own {
            if own
                .unless_default
                .as_ref()
                .is_some_and(|part| self.is_default(tenant, part))
            {
                continue;
            }
            let value = own.value.fill(&|name| tenant.value(name));
            let value = value.and_then(|value| HeaderValue::from_str(&value).ok());
            if let Some(mut value) = value {
                value.set_sensitive(own.value.names().next().is_some());
                headers.insert(own.name.clone(), value);
            }
        }
        let prefix = self
            .prefixes
            .first()
            .map(|prefix| format!("/{}", prefix.join("/")));
        let prefix = prefix.filter(|prefix| prefix != "/").unwrap_or_default();
        OwnRequest {
            method: Method::GET,
            target: format!("{prefix}{path}"),
            headers,
        }
    }

    fn is_default(&self, tenant: &Tenant, part: &str) -> bool {
        let rule = self.identity.iter().find(|rule| rule.part == part);
        rule.is_some_and(|rule| rule.default.as_deref() == tenant.part(part))
    }
}

impl Tenant {
    /// A part of the identity, `key`, or a setting.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        if name == "key" {
            return self.key.as_ref().map(|key| key.expose_secret().to_owned());
        }
        let setting = self.settings.iter().find(|(own, _)| own == name);
        let setting = setting.map(|(_, value)| value.as_str());
        self.part(name).or(setting).map(str::to_owned)
    }
}

pub(super) fn number(body: &[u8], at: &Pointer) -> Option<u64> {
    raw_value(body, at)?.as_u64()
}
