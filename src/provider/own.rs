//! Requests that usertap sends with the tenant's own key, and the reads among them.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use secrecy::ExposeSecret;

use super::extract::settled;
use super::login::TokenHeader;
use super::paging::{Total, raw_value};
use super::pointer::Pointer;
use super::template::{Template, percent_encoded};
use super::{Answer, Credential, OwnRequest, Provider, RequestHead, RoutedRequest, Sighting, Tenant};
use crate::user::{IdType, Seen, UserId};

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
            _ if self.errors.is_failure_inside(body) => None,
            Some(Total::Path(_, at)) if success => number(body, at),
            _ => None,
        }
    }

    /// The request that the key alone opens, where the file names one.
    pub fn opened_by_key(&self, tenant: &Tenant) -> Option<OwnRequest> {
        let path = self.key_opens.as_ref()?;
        Some(self.own_request(tenant, path))
    }

    /// What an answer to a request of usertap's own says of its key, as a status: where somebody is not there,
    /// whatever status says so, the key was taken. Where only what the key opens can tell, nothing else says so.
    pub fn says_of_key(&self, meant: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<StatusCode> {
        let says = match self.errors.says_not_found(meant, headers, body) {
            false => meant,
            true => StatusCode::NOT_FOUND,
        };
        let is_of_anybody = says.is_success() || says == StatusCode::NOT_FOUND;
        Some(says).filter(|_| self.key_opens.is_none() || !is_of_anybody)
    }

    /// The read of one user with the tenant's key. `None` without a key.
    pub fn read_user(&self, tenant: &Tenant, id: &UserId) -> Option<OwnRequest> {
        self.read_named(tenant, id.as_str())
    }

    /// The same by whatever the provider takes in the place of an id.
    pub fn read_named(&self, tenant: &Tenant, name: &str) -> Option<OwnRequest> {
        if tenant.key.is_none() && !self.key_is_optional {
            return None;
        }
        let path = self.user.read.fill(&|part| match part {
            "id" => Some(percent_encoded(name)),
            part => tenant.part(part).map(percent_encoded),
        })?;
        Some(self.own_request(tenant, &path))
    }

    /// An id that is nobody's: a read of it tells whether the provider takes the key.
    pub fn nobody(&self, id_type: IdType) -> Option<UserId> {
        let any = || match self.numeric_ids {
            true => "0".to_owned(),
            false => format!("{}{}", self.id_form.begins, uuid::Uuid::new_v4()),
        };
        let text = self.user.nobody.clone().unwrap_or_else(any);
        UserId::parse(&text, id_type)
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
        let meant = self.effective_status(status, headers);
        // Of whoever was asked for, whatever that id looks like.
        if self.errors.says_not_found(meant, headers, body) {
            return Some(settled(id.clone(), Seen::Missing));
        }
        let told = self.told_by_own(tenant, &request, (status, headers, body))?;
        let settles = |told: &Sighting| told.id == *id && matches!(told.seen, Seen::Whole(_) | Seen::Missing);
        told.into_iter().find(settles)
    }

    /// What the answer to a request of usertap's own tells.
    pub(super) fn told_by_own(
        &self,
        tenant: &Tenant,
        request: &OwnRequest,
        (status, headers, body): (StatusCode, &HeaderMap, &[u8]),
    ) -> Option<Vec<Sighting>> {
        let (path, query) = match request.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (request.target.as_str(), None),
        };
        let matched = self.route(&request.method, path)?;
        let head = RequestHead {
            method: &request.method,
            path,
            query,
            headers: &request.headers,
        };
        let answer = Answer {
            meant: self.effective_status(status, headers),
            headers,
            body,
        };
        let request = RoutedRequest {
            tenant,
            matched: &matched,
            credential: Credential::OwnServer,
            head,
            body: None,
        };
        Some(self.extract(&request, &answer).sightings)
    }

    pub(super) fn own_request(&self, tenant: &Tenant, path: &str) -> OwnRequest {
        self.own_request_at(tenant, &format!("{}{path}", self.own_prefix()))
    }

    /// At a path from the provider's base, below no prefix.
    pub(super) fn own_request_at(&self, tenant: &Tenant, path: &str) -> OwnRequest {
        let mut request = OwnRequest {
            method: Method::GET,
            target: self.filled(tenant, path),
            headers: HeaderMap::new(),
            token: None,
            body: None,
            is_question: false,
        };
        let stays = |own: &&OwnHeader| {
            let unless = own.unless_default.as_ref();
            !unless.is_some_and(|part| self.is_default(tenant, part))
        };
        for own in self.own.iter().filter(stays) {
            own.put_into(&mut request, tenant);
        }
        request
    }

    fn own_prefix(&self) -> String {
        let prefix = self.prefixes.first();
        let segments = prefix.into_iter().flatten();
        segments.map(|segment| format!("/{segment}")).collect()
    }

    /// A path with the tenant's parts in it.
    pub(super) fn filled(&self, tenant: &Tenant, path: &str) -> String {
        let part = |name: &str| tenant.part(name).map(percent_encoded);
        let filled = Template::parse(path).fill(&part);
        filled.unwrap_or_else(|| path.to_owned())
    }

    fn is_default(&self, tenant: &Tenant, part: &str) -> bool {
        let rule = self.identity.iter().find(|rule| rule.part == part);
        rule.is_some_and(|rule| rule.default.as_deref() == tenant.part(part))
    }
}

impl OwnRequest {
    /// With a body that says what is asked for.
    pub(super) fn asks(&mut self, body: &serde_json::Value) {
        self.method = Method::POST;
        self.is_question = true;
        self.body = Some(body.to_string().into());
        let json = HeaderValue::from_static("application/json");
        self.headers.entry(CONTENT_TYPE).or_insert(json);
    }
}

impl OwnHeader {
    fn put_into(&self, request: &mut OwnRequest, tenant: &Tenant) {
        if self.value.names().any(|name| name == "token") {
            let value = self.value.clone();
            let name = self.name.clone();
            request.token = Some(TokenHeader { name, value });
            return;
        }
        let value = self.value.fill(&|name| tenant.value(name));
        let value = value.and_then(|value| HeaderValue::from_str(&value).ok());
        if let Some(mut value) = value {
            value.set_sensitive(self.value.names().next().is_some());
            request.headers.insert(self.name.clone(), value);
        }
    }
}

impl Tenant {
    /// A part of the identity, `key`, or a setting.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        if name == "key" {
            return self.key.as_ref().map(|key| key.expose_secret().to_owned());
        }
        if name == "upstream" {
            let upstream = self.upstream.as_ref()?;
            return Some(upstream.as_str().trim_end_matches('/').to_owned());
        }
        let setting = self.settings.iter().find(|(own, _)| own == name);
        let setting = setting.map(|(_, value)| value.as_str());
        self.part(name).or(setting).map(str::to_owned)
    }
}

pub(super) fn number(body: &[u8], at: &Pointer) -> Option<u64> {
    let number = raw_value(body, at)?;
    // Some write what has 64 bits as a text.
    number.as_u64().or_else(|| number.as_str()?.parse().ok())
}
