//! A test's hand inside the sandbox: looks, changes behind every proxy's back, faults, codes, tokens.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Method;
use serde_json::Value;
use uuid::Uuid;

use super::Options;
use super::clerk::Clerk;
use super::data::UserData;
use super::fault::{Action, Fault};
use super::played::{Played, Plays};
use super::project::{Keys, Project};
use super::routes;
use super::token::Bearer;
use super::user::Account;
use super::view::{KeyOrder, View};
use super::webhooks::Webhooks;
use super::world::World;
use crate::clock;

/// Cheap to clone. Projects are counted from 0, in the order of the settings.
#[derive(Clone)]
pub struct Control {
    played: Arc<Mutex<Played>>,
    plays: Plays,
    traffic: Arc<Mutex<Traffic>>,
}

/// A request that arrived, without what is secret in it.
#[derive(Debug, Clone)]
pub struct Logged {
    pub method: Method,
    /// Path and query as they came.
    pub target: String,
    /// In lower case.
    pub header_names: Vec<String>,
    /// As `/users/{id}`; None where nothing is served.
    pub route: Option<&'static str>,
}

/// An account at an OAuth provider that somebody signs in with.
#[derive(Debug, Clone)]
pub struct OauthAccount {
    /// `github`, `google`, …
    pub provider: String,
    pub account_id: String,
    pub email: Option<String>,
}

#[derive(Default)]
struct Traffic {
    faults: Vec<Fault>,
    counts: HashMap<(Method, &'static str), u64>,
    log: VecDeque<Logged>,
    limited: u64,
}

/// The latest so many requests stay in the log.
const LOG_LENGTH: usize = 10_000;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Milliseconds since 1970.
pub(super) fn now() -> i64 {
    clock::wall().timestamp_millis()
}

impl Control {
    pub(super) fn new(options: &Options, base: String) -> Control {
        let played = Arc::new(Mutex::new(Played::new(options, base)));
        Control {
            played,
            plays: options.plays,
            traffic: Arc::default(),
        }
    }

    pub(super) fn played(&self) -> MutexGuard<'_, Played> {
        lock(&self.played)
    }

    pub(super) fn plays(&self) -> Plays {
        self.plays
    }

    /// Where Stack Auth is played.
    fn in_world<T>(&self, look: impl FnOnce(&mut World) -> Option<T>) -> Option<T> {
        match &mut *self.played() {
            Played::StackAuth(world) => look(world),
            Played::Clerk(_) => None,
        }
    }

    /// Where Clerk is played.
    pub fn in_clerk<T>(&self, look: impl FnOnce(&mut Clerk) -> T) -> Option<T> {
        match &mut *self.played() {
            Played::Clerk(clerk) => Some(look(clerk)),
            Played::StackAuth(_) => None,
        }
    }

    fn in_project<T>(&self, project: usize, look: impl FnOnce(&mut Project) -> T) -> Option<T> {
        self.in_world(|world| world.projects.get_mut(project).map(look))
    }

    pub(super) fn keys(&self, project: usize) -> Option<Keys> {
        self.in_project(project, |project| project.keys.clone())
    }

    /// The events of a project, which go nowhere until they are told where.
    pub fn webhooks(&self, project: usize) -> Option<Webhooks> {
        match &*self.played() {
            Played::StackAuth(world) => world
                .projects
                .get(project)
                .map(|project| project.webhooks.clone()),
            Played::Clerk(clerk) => clerk
                .instances
                .get(project)
                .map(|instance| instance.webhooks.clone()),
        }
    }

    /// The key for admin access; the settings hold the others.
    pub fn admin_key(&self, project: usize) -> Option<String> {
        self.keys(project).map(|keys| keys.super_secret_admin_key)
    }
}

/// Users, as a dashboard or another process works on them.
impl Control {
    /// The server view of a user as it is now.
    pub fn server_view(&self, project: usize, id: Uuid) -> Option<Value> {
        self.in_project(project, |project| server_view(project, id))
            .flatten()
    }

    /// The server views of all users, anonymous and restricted ones too, in the order of the list.
    pub fn users(&self, project: usize) -> Vec<Value> {
        let all = self.in_project(project, |project| {
            project
                .ids()
                .into_iter()
                .filter_map(|id| server_view(project, id))
                .collect()
        });
        all.unwrap_or_default()
    }

    /// In the order of the list.
    pub fn ids(&self, project: usize) -> Vec<Uuid> {
        self.in_project(project, |project| project.ids())
            .unwrap_or_default()
    }

    /// Creates a user of the fields of POST /users; None if they are refused.
    pub fn create(&self, project: usize, data: Value) -> Option<Uuid> {
        let data = UserData::parse(data).ok()?;
        let id = self.in_project(project, |project| {
            let id = project.create_user(data, now()).ok()?;
            project.add_personal_team(id, now());
            Some(id)
        });
        id.flatten()
    }

    /// Changes a user by the fields of PATCH /users/{id}; false if they are refused.
    pub fn edit(&self, project: usize, id: Uuid, data: Value) -> bool {
        let Ok(data) = UserData::parse(data) else {
            return false;
        };
        self.in_project(project, |project| project.update_user(id, data, now()).is_ok()) == Some(true)
    }

    /// Whether there was one.
    pub fn delete(&self, project: usize, id: Uuid) -> bool {
        self.in_project(project, |project| project.remove(id).is_some()) == Some(true)
    }

    /// Each new user gets a team, after the answer that creates it was made up.
    pub fn set_personal_teams(&self, project: usize, on: bool) {
        self.in_project(project, |project| project.personal_teams = on);
    }

    /// Whether DELETE /users/me is allowed; not at first.
    pub fn set_client_user_deletion(&self, project: usize, on: bool) {
        self.in_project(project, |project| project.client_user_deletion = on);
    }
}

fn server_view(project: &Project, id: Uuid) -> Option<Value> {
    let user = project.user(id)?;
    serde_json::to_value(project.user_view(user, View::Server, KeyOrder::Forward)).ok()
}

/// Tokens and codes that travel outside of the API.
impl Control {
    /// An access token without a session; `lives` may be zero for one that has expired.
    pub fn access_token(&self, project: usize, user: Uuid, lives: Duration) -> Option<String> {
        let lives = i64::try_from(lives.as_secs()).ok()?;
        let bearer = Bearer { user, session: None };
        self.in_world(|world| {
            let project = world.projects.get(project)?;
            world.signer.access_token(project, bearer, now(), lives)
        })
    }

    /// Opens a session for a user, who counts as active then.
    pub fn refresh_token(&self, project: usize, user: Uuid) -> Option<String> {
        let open = |project: &mut Project| {
            project
                .user(user)
                .is_some()
                .then(|| project.open_session(user, now()).0)
        };
        self.in_project(project, open).flatten()
    }

    /// The last code that was mailed to an address: to sign in, to verify, to reset, to join.
    pub fn code(&self, project: usize, address: &str) -> Option<String> {
        self.in_project(project, |project| project.mailbox.get(address).cloned())
            .flatten()
    }

    /// Has an account sign in at its provider and the provider call back: the user is there, and the
    /// app has a code to exchange at `/auth/oauth/token`. None if the address is somebody else's.
    pub fn oauth_code(&self, project: usize, account: OauthAccount) -> Option<String> {
        let account = Account {
            id: Uuid::new_v4(),
            provider: account.provider,
            account_id: account.account_id,
            email: account.email,
            allow_sign_in: true,
            allow_connected: true,
        };
        self.in_project(project, |project| {
            routes::issue_code(project, account, now()).ok()
        })
        .flatten()
    }
}

/// Traffic: what came, and what is to happen to what comes.
impl Control {
    pub fn fault(&self, fault: Fault) {
        lock(&self.traffic).faults.push(fault);
    }

    /// Faults that have happened to no request yet.
    pub fn faults_left(&self) -> usize {
        lock(&self.traffic).faults.len()
    }

    /// What has not happened to any request will not.
    pub fn forget_faults(&self) {
        lock(&self.traffic).faults.clear();
    }

    /// How many requests came for a route, named as `/users/{id}`, refused ones included.
    pub fn count(&self, method: &Method, route: &str) -> u64 {
        let traffic = lock(&self.traffic);
        traffic
            .counts
            .iter()
            .filter(|((of, name), _)| of == method && *name == route)
            .map(|(_, n)| n)
            .sum()
    }

    /// The latest 10,000 requests, oldest first.
    pub fn log(&self) -> Vec<Logged> {
        lock(&self.traffic).log.iter().cloned().collect()
    }

    /// Empties the log and sets all counts to zero.
    pub fn forget_traffic(&self) {
        let mut traffic = lock(&self.traffic);
        traffic.log.clear();
        traffic.counts.clear();
        traffic.limited = 0;
    }

    /// How many 429s the limit has given.
    pub fn limited(&self) -> u64 {
        lock(&self.traffic).limited
    }

    pub(super) fn count_limited(&self) {
        lock(&self.traffic).limited += 1;
    }

    pub(super) fn arrived(&self, parts: &http::request::Parts) {
        let route = self.plays.route_name(&parts.method, parts.uri.path());
        let logged = Logged {
            method: parts.method.clone(),
            target: target(parts),
            header_names: parts
                .headers
                .keys()
                .map(|name| name.as_str().to_owned())
                .collect(),
            route,
        };
        let mut traffic = lock(&self.traffic);
        if let Some(route) = route {
            *traffic.counts.entry((parts.method.clone(), route)).or_default() += 1;
        }
        if traffic.log.len() == LOG_LENGTH {
            traffic.log.pop_front();
        }
        traffic.log.push_back(logged);
    }

    pub(super) fn take_fault(&self, parts: &http::request::Parts) -> Option<Action> {
        let mut traffic = lock(&self.traffic);
        let target = target(parts);
        let at = traffic
            .faults
            .iter()
            .position(|fault| fault.fits(&parts.method, &target))?;
        Some(traffic.faults.remove(at).action)
    }
}

fn target(parts: &http::request::Parts) -> String {
    parts
        .uri
        .path_and_query()
        .map_or_else(String::new, ToString::to_string)
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}
