//! What depends on the provider: its tenant, its address, its limits.

use std::net::SocketAddr;

use secrecy::SecretString;
use url::{Host, Url};

use super::super::Limit;
use super::super::tenant::{self, Kind, ProviderSetting};
use super::{Check, Needs, value};
use crate::provider::Tenant;
use crate::user::IdType;

impl Check<'_> {
    /// `None` without a provider, whose mistakes have been reported.
    pub fn tenant(
        &mut self,
        needs: Needs,
        id_type: Option<IdType>,
        upstream: Option<&Url>,
    ) -> Option<Tenant> {
        let settings = self.settings;
        let values: Vec<_> = settings
            .provider_settings
            .iter()
            .map(|setting| self.provided(setting, needs).map(|value| (setting, value)))
            .collect();
        let provider = settings.provider.as_ref()?;
        let values: Option<Vec<_>> = values.into_iter().collect();
        let written: Vec<_> = values?
            .into_iter()
            .filter_map(|(setting, value)| Some((setting, value?)))
            .collect();
        tenant::tenant(provider, id_type?, upstream.cloned(), &written)
    }

    fn provided(&mut self, setting: &ProviderSetting, needs: Needs) -> Option<Option<SecretString>> {
        let name = setting.env.first()?;
        let value = self.secret(name)?;
        let spared = needs == Needs::NoKey && setting.kind == Kind::Key;
        if value.is_none() && setting.required && !spared {
            self.missing(name);
            return None;
        }
        Some(value)
    }

    pub fn upstream(&mut self) -> Option<Url> {
        match self.optional("UPSTREAM", value::base_url)? {
            Some(url) => {
                self.doubt_prefix(&url);
                Some(url)
            }
            None => self.providers_own(),
        }
    }

    /// As it stands in the provider's documentation or in an app's settings.
    fn doubt_prefix(&mut self, upstream: &Url) {
        let provider = self.settings.provider.as_ref();
        if let Some(prefix) = provider.and_then(|provider| provider.prefix_ending(upstream.path())) {
            self.warnings.push(format!(
                "UPSTREAM ends in `{prefix}`, with which the provider's requests begin already: take it out, unless it \
                 stands there twice"
            ));
        }
    }

    fn providers_own(&mut self) -> Option<Url> {
        let provider = self.settings.provider.as_ref()?;
        let Some(url) = &provider.upstream else {
            self.missing("UPSTREAM");
            return None;
        };
        let parsed = value::base_url(url);
        let wrong = |problem| self.wrong("PROVIDER", &format!("its own base URL {problem}"));
        parsed.map_err(wrong).ok()
    }

    /// Requests that came back for ever would be the provider's limit gone in a second.
    pub fn against_loops(&mut self, upstream: Option<&Url>, listen: Option<SocketAddr>) {
        let (Some(upstream), Some(listen)) = (upstream, listen) else {
            return;
        };
        let port = upstream.port_or_known_default();
        if port == Some(listen.port()) && leads_to(upstream, listen) {
            let text = "is the address at which usertap itself listens: write the provider's";
            self.wrong("UPSTREAM", text);
        }
        if self.same("UPSTREAM", "PUBLIC_URL") {
            let text = "is PUBLIC_URL as well: UPSTREAM is the provider's address, PUBLIC_URL usertap's";
            self.wrong("UPSTREAM", text);
        }
    }

    pub fn rate(&mut self, tenant: Option<&Tenant>) -> Option<Vec<Limit>> {
        let provider = self.settings.provider.as_ref().zip(tenant);
        let published = provider.map(|(provider, tenant)| provider.limits(tenant));
        let published = published.unwrap_or_default();
        self.optional("RATE", value::limits)
            .map(|written| written.unwrap_or(published))
    }
}

fn leads_to(upstream: &Url, listen: SocketAddr) -> bool {
    match upstream.host() {
        Some(Host::Domain(name)) => name == "localhost" && is_here(listen),
        Some(Host::Ipv4(ip)) => ip == listen.ip() || ip.is_loopback() && listen.ip().is_unspecified(),
        Some(Host::Ipv6(ip)) => ip == listen.ip() || ip.is_loopback() && listen.ip().is_unspecified(),
        None => false,
    }
}

fn is_here(listen: SocketAddr) -> bool {
    listen.ip().is_loopback() || listen.ip().is_unspecified()
}
