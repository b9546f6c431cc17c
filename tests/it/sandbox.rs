//! The sandbox behaves as the recorded provider does.

mod deliveries;
mod faults;
mod flows;
mod list;
mod replay;
mod tenants;

use ::http::Method;
use serde_json::{Value, json};
use usertap::sandbox::{Control, Options, Sandbox};
use usertap::tasks::Tasks;

use crate::support::http::{self, Reply};

/// A sandbox of a test, and who asks it.
pub struct Bench {
    sandbox: Sandbox,
    tasks: Tasks,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

type Headers = Vec<(&'static str, String)>;

impl Bench {
    pub async fn new(options: Options) -> Bench {
        let tasks = Tasks::default();
        let sandbox = Sandbox::start(options, &tasks).await.unwrap();
        Bench { sandbox, tasks }
    }

    pub async fn with_users(users: usize) -> Bench {
        Bench::new(Options {
            users,
            ..Options::default()
        })
        .await
    }

    pub fn control(&self) -> &Control {
        self.sandbox.control()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/api/v1{path}", self.sandbox.addr())
    }

    pub fn setting(&self, project: usize, name: &str) -> String {
        let settings = self.sandbox.settings(project);
        settings
            .into_iter()
            .find(|(key, _)| key.ends_with(name))
            .unwrap()
            .1
    }

    pub fn server(&self, project: usize) -> Headers {
        vec![
            ("x-stack-access-type", "server".to_owned()),
            ("x-stack-project-id", self.setting(project, "STACK_PROJECT_ID")),
            (
                "x-stack-secret-server-key",
                self.setting(project, "STACK_SECRET_SERVER_KEY"),
            ),
        ]
    }

    pub fn client(&self, project: usize, access_token: Option<&str>) -> Headers {
        let mut headers = vec![
            ("x-stack-access-type", "client".to_owned()),
            ("x-stack-project-id", self.setting(project, "STACK_PROJECT_ID")),
            (
                "x-stack-publishable-client-key",
                self.setting(project, "STACK_PUBLISHABLE_CLIENT_KEY"),
            ),
            ("x-stack-allow-anonymous-user", "true".to_owned()),
        ];
        headers.extend(access_token.map(|token| ("x-stack-access-token", token.to_owned())));
        headers
    }

    pub fn admin(&self) -> Headers {
        vec![
            ("x-stack-access-type", "admin".to_owned()),
            ("x-stack-project-id", self.setting(0, "STACK_PROJECT_ID")),
            (
                "x-stack-super-secret-admin-key",
                self.control().admin_key(0).unwrap(),
            ),
        ]
    }

    pub async fn get(&self, path: &str, headers: &Headers) -> Reply {
        http::get(&self.url(path), &borrowed(headers)).await
    }

    pub async fn post(&self, path: &str, headers: &Headers, body: Value) -> Reply {
        http::post(&self.url(path), &borrowed(headers), &body).await
    }

    pub async fn patch(&self, path: &str, headers: &Headers, body: Value) -> Reply {
        http::send(Method::PATCH, &self.url(path), &borrowed(headers), &body).await
    }

    pub async fn delete(&self, path: &str, headers: &Headers) -> Reply {
        http::send(Method::DELETE, &self.url(path), &borrowed(headers), &json!({})).await
    }

    /// Signs up with a password; the tokens and the id.
    pub async fn sign_up(&self, email: &str) -> Value {
        let body = json!({ "email": email, "password": "correct horse battery" });
        let reply = self
            .post("/auth/password/sign-up", &self.client(0, None), body)
            .await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }
}

pub fn borrowed(headers: &Headers) -> Vec<(&str, &str)> {
    headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

/// The code of a known error, which header and body must agree on.
pub fn code(reply: &Reply) -> String {
    let code = reply
        .header("x-stack-known-error")
        .unwrap_or_else(|| panic!("{}", reply.text()))
        .to_owned();
    assert_eq!(reply.json()["code"], code.as_str());
    code
}

#[tokio::test]
async fn it_prints_settings_for_every_project_and_the_same_ones_every_time() {
    let options = Options {
        projects: 2,
        ..Options::default()
    };
    let (first, again) = (Bench::new(options.clone()).await, Bench::new(options).await);
    let names = |project| {
        first
            .sandbox
            .settings(project)
            .into_iter()
            .map(|(name, _)| name)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(0)[..2], ["USERTAP_PROVIDER", "USERTAP_UPSTREAM"]);
    assert_eq!(
        names(1),
        [
            "OTHER_USERTAP_PROVIDER",
            "OTHER_USERTAP_UPSTREAM",
            "OTHER_STACK_PROJECT_ID",
            "OTHER_STACK_PUBLISHABLE_CLIENT_KEY",
            "OTHER_STACK_SECRET_SERVER_KEY",
        ]
    );
    assert_eq!(names(2), Vec::<String>::new());
    for project in [0, 1] {
        assert_eq!(first.server(project), again.server(project));
    }
    assert_ne!(first.server(0), first.server(1));
}
