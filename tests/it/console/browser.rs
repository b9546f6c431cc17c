//! As much of a browser as these tests need: it keeps its cookies and the proof of the last page.

use std::collections::BTreeMap;

use ::http::{Method, StatusCode};

use crate::support::http::{self, Reply};
use crate::support::stack::Stack;

pub struct Browser {
    base: String,
    /// By their names.
    pub cookies: BTreeMap<String, Cookie>,
    pub proof: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie {
    pub value: String,
    /// Nothing that another site began sends it.
    is_strict: bool,
}

impl Browser {
    pub fn at(stack: &Stack) -> Browser {
        Browser::of(stack.admin_url(""))
    }

    /// At the console of this base URL.
    pub fn of(base: String) -> Browser {
        Browser {
            base,
            cookies: BTreeMap::new(),
            proof: String::new(),
        }
    }

    pub async fn get(&mut self, path: &str) -> Reply {
        let reply = self.ask(Method::GET, path, &[], String::new()).await;
        if let Some((_, rest)) = reply.text().split_once("name=\"proof\" value=\"") {
            self.proof = rest.chars().take_while(char::is_ascii_hexdigit).collect();
        }
        reply
    }

    /// Behind a link on another site, in a tab of its own: the proof of the page here stays.
    pub async fn follow_from_elsewhere(&mut self, path: &str) -> Reply {
        let kept = self.cookies.clone();
        self.cookies.retain(|_, cookie| !cookie.is_strict);
        let link = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
        let reply = self.ask(Method::GET, path, &link, String::new()).await;
        let set = std::mem::take(&mut self.cookies);
        self.cookies = kept.into_iter().chain(set).collect();
        reply
    }

    /// A page that is there.
    pub async fn page(&mut self, path: &str) -> String {
        let reply = self.get(path).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply.text()
    }

    /// A form with the proof of the last page.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let proof = self.proof.clone();
        self.post_with(path, fields, &proof, &[]).await
    }

    pub async fn post_with(
        &mut self,
        path: &str,
        fields: &[(&str, &str)],
        proof: &str,
        headers: &[(&str, &str)],
    ) -> Reply {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .append_pair("proof", proof)
            .finish();
        let kind = [("content-type", "application/x-www-form-urlencoded")];
        self.ask(Method::POST, path, &[&kind, headers].concat(), form)
            .await
    }

    async fn ask(&mut self, method: Method, path: &str, headers: &[(&str, &str)], body: String) -> Reply {
        let pair = |(name, cookie): (&String, &Cookie)| format!("{name}={}", cookie.value);
        let cookies = self.cookies.iter().map(pair).collect::<Vec<_>>().join("; ");
        let cookies = Some(("cookie", cookies.as_str())).filter(|(_, cookies)| !cookies.is_empty());
        let headers: Vec<_> = headers.iter().copied().chain(cookies).collect();
        let reply = http::request(method, &format!("{}{path}", self.base), &headers, body)
            .await
            .expect("an answer");
        if let Some(set) = reply.header("set-cookie") {
            let (name, rest) = set.split_once('=').expect("a pair");
            let value = rest.split(';').next().unwrap_or_default().to_owned();
            let is_strict = set.contains("SameSite=Strict");
            self.cookies.insert(name.to_owned(), Cookie { value, is_strict });
        }
        reply
    }
}

/// Where an action leads.
#[track_caller]
pub fn leads_to(reply: &Reply) -> String {
    assert_eq!(reply.status, StatusCode::SEE_OTHER, "{}", reply.text());
    reply.header("location").expect("a place to go").to_owned()
}
