//! As much of a browser as these tests need: it keeps its cookie and the proof of the last page.

use ::http::{Method, StatusCode};

use crate::support::http::{self, Reply};
use crate::support::stack::Stack;

pub struct Browser {
    base: String,
    pub cookie: Option<String>,
    pub proof: String,
}

impl Browser {
    pub fn at(stack: &Stack) -> Browser {
        Browser::of(stack.admin_url(""))
    }

    /// At the console of this base URL.
    pub fn of(base: String) -> Browser {
        Browser {
            base,
            cookie: None,
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
        let cookie = self.cookie.clone();
        let cookie = cookie.iter().map(|cookie| ("cookie", cookie.as_str()));
        let headers: Vec<_> = headers.iter().copied().chain(cookie).collect();
        let reply = http::request(method, &format!("{}{path}", self.base), &headers, body)
            .await
            .expect("an answer");
        if let Some(set) = reply.header("set-cookie") {
            self.cookie = set.split(';').next().map(str::to_owned);
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
