//! Who asks, in either generation of the SDK's headers and under any of the provider's prefixes.

use std::net::SocketAddr;

use ::http::Method;

use crate::support::http::{self, Reply};

#[derive(Clone)]
pub struct Caller {
    family: &'static str,
    prefix: &'static str,
    content_type: &'static str,
    /// Without the family's name.
    named: Vec<(&'static str, String)>,
    /// As they are.
    raw: Vec<(&'static str, String)>,
}

impl Default for Caller {
    fn default() -> Caller {
        Caller {
            family: "x-stack-",
            prefix: "/api/v1",
            content_type: "application/json",
            named: Vec::new(),
            raw: Vec::new(),
        }
    }
}

impl Caller {
    /// A header of the provider's.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Caller {
        self.named.retain(|(other, _)| *other != name);
        self.named.push((name, value.into()));
        self
    }

    /// A header by its whole name, beside those that are there.
    pub fn raw(mut self, name: &'static str, value: impl Into<String>) -> Caller {
        self.raw.push((name, value.into()));
        self
    }

    pub fn without(mut self, name: &str) -> Caller {
        self.named.retain(|(other, _)| *other != name);
        self
    }

    /// What the newer SDKs call the same headers.
    pub fn newer(self) -> Caller {
        Caller {
            family: "x-hexclave-",
            ..self
        }
    }

    pub fn under(self, prefix: &'static str) -> Caller {
        Caller { prefix, ..self }
    }

    /// Sends forms.
    pub fn form(self) -> Caller {
        Caller {
            content_type: "application/x-www-form-urlencoded",
            ..self
        }
    }

    /// # Errors
    /// If the answer broke off.
    pub async fn send(
        &self,
        to: SocketAddr,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<Reply, Box<dyn std::error::Error + Send + Sync>> {
        let url = format!("http://{to}{}{path}", self.prefix);
        let named = self
            .named
            .iter()
            .map(|(name, value)| (format!("{}{name}", self.family), value));
        let raw = self.raw.iter().map(|(name, value)| ((*name).to_owned(), value));
        let headers: Vec<(String, &String)> = named.chain(raw).collect();
        let content_type = (!body.is_empty()).then_some(("content-type", self.content_type));
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .chain(content_type)
            .collect();
        http::request(method, &url, &headers, body).await
    }
}
