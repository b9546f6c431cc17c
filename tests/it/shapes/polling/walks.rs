//! Lists that change while they are read, at whatever pace their pages come and whatever our clock
//! shows: what each user was last is told. Without IO: the walk's own decisions, against lists that
//! behave as the providers' do.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};
use usertap::provider::{PollPlace, Provider, Tenant, Then};
use usertap::user::Seen;

/// What a provider shows of those who changed.
#[derive(Clone, Copy)]
struct Shows {
    name: &'static str,
    /// Who changed since, or those who changed last first.
    page: fn(&World, &BTreeMap<String, String>) -> (HeaderMap, Value),
    /// Whoever is deleted moves others up.
    deletes: bool,
}

const OKTA: Shows = Shows {
    name: "okta",
    page: by_id,
    deletes: true,
};
const AUTH0: Shows = Shows {
    name: "auth0",
    page: oldest_first,
    deletes: false,
};
const CLERK: Shows = Shows {
    name: "clerk",
    page: latest_first,
    deletes: true,
};
const BETTER_AUTH: Shows = Shows {
    name: "better-auth",
    page: latest_first_of_all,
    deletes: true,
};

#[derive(Clone, Copy)]
struct User {
    n: usize,
    changed: DateTime<Utc>,
    version: u64,
}

struct World {
    shows: Shows,
    provider: Provider,
    tenant: Tenant,
    /// By the provider's clock.
    now: DateTime<Utc>,
    ahead: TimeDelta,
    shows_date: bool,
    begun: DateTime<Utc>,
    users: Vec<User>,
    place: PollPlace,
    /// The last version of each user that was told.
    told: BTreeMap<String, u64>,
    dice: u64,
}

fn spelled(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn id(n: usize) -> String {
    format!("00u{n:05}")
}

/// Users of `now`, by id, who changed since; the next page by a link.
fn by_id(world: &World, query: &BTreeMap<String, String>) -> (HeaderMap, Value) {
    let filter = &query["filter"];
    let since = filter.strip_prefix("lastUpdated gt \"").expect("a filter");
    let since: DateTime<Utc> = since.trim_end_matches('"').parse().expect("a time");
    let after = query.get("after").cloned().unwrap_or_default();
    let all = world.users.iter().filter(|user| user.changed > since);
    let mut behind = all.filter(|user| id(user.n) > after);
    let page: Vec<_> = behind.by_ref().take(200).collect();
    let mut headers = HeaderMap::new();
    if let Some(last) = page.last().filter(|_| behind.next().is_some()) {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("after", &id(last.n))
            .append_pair("limit", "200")
            .append_pair("filter", filter)
            .finish();
        let link = format!("</api/v1/users?{query}>; rel=\"next\"");
        headers.insert("link", link.parse().expect("a header"));
    }
    let user = |user: &&User| {
        json!({"id": id(user.n), "name": user.version, "status": "ACTIVE", "created": spelled(user.changed),
               "lastUpdated": spelled(user.changed), "profile": {}})
    };
    (headers, page.iter().map(user).collect())
}

/// As Auth0 searches: by `updated_at`, oldest first, nothing beyond the thousandth.
fn oldest_first(world: &World, query: &BTreeMap<String, String>) -> (HeaderMap, Value) {
    let number = |name: &str| query[name].parse::<usize>().expect("a number");
    let (page, size) = (number("page"), number("per_page"));
    assert!((page + 1) * size <= 1000, "beyond the wall");
    let from = query["q"].strip_prefix("updated_at:[").expect("a search");
    let from: DateTime<Utc> = from.trim_end_matches(" TO *]").parse().expect("a time");
    let mut all: Vec<_> = world.users.iter().filter(|user| user.changed >= from).collect();
    all.sort_by_key(|user| (user.changed, user.n));
    let shown = all.iter().skip(page * size).take(size);
    let users: Vec<Value> = shown
        .map(|user| {
            json!({"user_id": id(user.n), "name": user.version, "identities": [],
                   "created_at": spelled(user.changed), "updated_at": spelled(user.changed)})
        })
        .collect();
    let body = json!({"start": page * size, "limit": size, "length": users.len(), "total": all.len(), "users": users});
    (HeaderMap::new(), body)
}

fn offset(world: &World, query: &BTreeMap<String, String>) -> Vec<User> {
    let number = |name: &str| {
        query
            .get(name)
            .map_or(0, |text| text.parse::<usize>().expect("a number"))
    };
    let mut all = world.users.clone();
    all.sort_by_key(|user| std::cmp::Reverse((user.changed, user.n)));
    all.into_iter()
        .skip(number("offset"))
        .take(number("limit"))
        .collect()
}

fn latest_first(world: &World, query: &BTreeMap<String, String>) -> (HeaderMap, Value) {
    assert_eq!(query["order_by"], "-updated_at");
    let user = |user: User| {
        let at = user.changed.timestamp_millis();
        json!({"id": id(user.n), "name": user.version, "email_addresses": [], "created_at": at, "updated_at": at})
    };
    (
        HeaderMap::new(),
        offset(world, query).into_iter().map(user).collect(),
    )
}

fn latest_first_of_all(world: &World, query: &BTreeMap<String, String>) -> (HeaderMap, Value) {
    assert_eq!(
        (&*query["sortBy"], &*query["sortDirection"]),
        ("updatedAt", "desc")
    );
    let user = |user: User| {
        let at = spelled(user.changed);
        json!({"id": id(user.n), "name": user.version, "banned": false, "createdAt": at, "updatedAt": at})
    };
    let users: Vec<_> = offset(world, query).into_iter().map(user).collect();
    (
        HeaderMap::new(),
        json!({"users": users, "total": world.users.len()}),
    )
}

impl World {
    fn new(shows: Shows, seed: u64, ahead: TimeDelta) -> World {
        let provider = Provider::builtin(shows.name).expect("built in");
        let value = |name: &str| Some(name.to_lowercase());
        let upstream = url::Url::parse("https://users.example.com").expect("an address");
        let tenant = provider.tenant(provider.id_type, Some(upstream), &value);
        let now = DateTime::from_timestamp(1_700_000_000, 0).expect("a time");
        let long_ago = |n: usize| User {
            n,
            changed: now - TimeDelta::days(2) + TimeDelta::seconds(n as i64),
            version: 0,
        };
        World {
            shows,
            tenant: tenant.unwrap_or_else(|_| panic!("{}: a setting is missing", shows.name)),
            provider,
            now,
            ahead,
            shows_date: true,
            begun: now,
            users: (0..450).map(long_ago).collect(),
            place: PollPlace::beginning(now + ahead),
            told: BTreeMap::new(),
            dice: seed,
        }
    }

    /// Less than `sides`.
    fn roll(&mut self, sides: u64) -> u64 {
        self.dice = self
            .dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) % sides
    }

    fn pass(&mut self, millis: u64) {
        self.now += TimeDelta::milliseconds(i64::try_from(millis).expect("a short time"));
    }

    fn change(&mut self, at: usize) {
        self.pass(700);
        self.users[at].changed = self.now;
        self.users[at].version += 1;
    }

    fn some_change(&mut self, users: u64) {
        for _ in 0..users {
            let at = self.roll(self.users.len() as u64);
            self.change(usize::try_from(at).expect("an index"));
        }
    }

    fn some_are_deleted(&mut self, users: u64) {
        for _ in 0..users {
            let at = self.roll(self.users.len() as u64);
            self.users.remove(usize::try_from(at).expect("an index"));
        }
    }

    fn headers(&self, mut headers: HeaderMap) -> HeaderMap {
        if self.shows_date {
            let date = self.now.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
            headers.insert("date", HeaderValue::from_str(&date).expect("a header"));
        }
        headers
    }

    /// One question and its answer.
    fn ask(&mut self) -> Then {
        let request = self
            .provider
            .poll_request(&self.tenant, &self.place)
            .expect("a question");
        let (_, query) = request.target.split_once('?').expect("a query");
        let query: Vec<_> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let once: BTreeMap<_, _> = query.iter().cloned().collect();
        assert_eq!(once.len(), query.len(), "a parameter twice in {}", request.target);
        let (headers, body) = (self.shows.page)(self, &once);
        self.read(StatusCode::OK, headers, &body.to_string())
    }

    fn read(&mut self, status: StatusCode, headers: HeaderMap, body: &str) -> Then {
        let headers = self.headers(headers);
        let answer = (status, &headers, body.as_bytes());
        let read = self
            .provider
            .polled(&self.tenant, &self.place, answer, self.now + self.ahead);
        let polled = read.expect("an answer that is understood");
        for (_, user) in &polled.told {
            let Seen::Whole(view) = &user.seen else {
                panic!("not a whole user: {:?}", user.seen);
            };
            let raw: Value = serde_json::from_str(&view.raw).expect("a user");
            let version = raw["name"].as_u64().expect("a version");
            let told = self.told.entry(user.id.to_string()).or_default();
            *told = version.max(*told);
        }
        // It is kept as text.
        let text = serde_json::to_string(&polled.place).expect("a text");
        self.place = serde_json::from_str(&text).expect("a place");
        polled.then
    }

    /// Until there is nothing more for now; `between` pages.
    fn walk(&mut self, mut between: impl FnMut(&mut World)) -> usize {
        for pages in 1..200 {
            if self.ask() == Then::Done {
                return pages;
            }
            self.pass(50);
            between(self);
        }
        panic!("{}: it does not end", self.shows.name);
    }

    /// Once nothing changes any more.
    #[track_caller]
    fn is_level(&mut self) {
        self.pass(1_000);
        self.walk(|_| ());
        let stale: Vec<_> = self
            .users
            .iter()
            .filter(|user| user.changed > self.begun)
            .filter(|user| self.told.get(&id(user.n)) != Some(&user.version))
            .map(|user| (user.n, user.version, self.told.get(&id(user.n))))
            .collect();
        assert!(stale.is_empty(), "{}: {stale:?}", self.shows.name);
    }

    /// Whatever may happen between two questions.
    fn chance(&mut self) {
        match self.roll(12) {
            // The provider is down, or usertap, or there is no room in the limit.
            0 => {
                let millis = self.roll(300_000);
                self.pass(millis);
                let changes = self.roll(40);
                self.some_change(changes);
            }
            1 => self.some_change(150),
            2 if self.shows.deletes => self.some_are_deleted(15),
            3..6 => self.some_change(1),
            _ => self.pass(400),
        }
    }
}

const MINUTES: TimeDelta = TimeDelta::minutes(5);

#[test]
fn what_each_user_was_last_is_told_whatever_changes_while_pages_are_read() {
    for shows in [OKTA, AUTH0, CLERK, BETTER_AUTH] {
        for (seed, ahead) in [TimeDelta::zero(), MINUTES, -MINUTES, TimeDelta::zero()]
            .into_iter()
            .enumerate()
        {
            let mut world = World::new(shows, seed as u64 + 7, ahead);
            world.shows_date = seed != 3;
            for _ in 0..4 {
                world.pass(20_000);
                world.some_change(250);
                world.walk(World::chance);
            }
            world.is_level();
        }
    }
}

/// Three changed at each instant, and somebody who was read changes again between any two pages.
#[test]
fn nobody_behind_the_wall_is_passed_over_while_users_move_to_the_end_of_the_list() {
    let mut world = World::new(AUTH0, 1, TimeDelta::zero());
    let begun = world.begun;
    let changed = |n: usize| begun + TimeDelta::milliseconds(1 + n as i64 / 3 * 250);
    world.users = (0..2_345)
        .map(|n| User {
            n,
            changed: changed(n),
            version: 1,
        })
        .collect();
    world.now = changed(2_345);
    let mut pages = 0;
    world.walk(|world| {
        world.change(pages * 7);
        pages += 1;
    });
    assert!(pages > 20, "{pages}");
    let told = world.told.len();
    assert_eq!(told, world.users.len());
    world.is_level();
}

/// The walk lasts for longer than the overlap: who is on a page that has been read changes once more,
/// and on a later page somebody changes later still.
#[test]
fn who_changes_behind_a_walk_that_lasts_is_told_the_next_time() {
    let mut world = World::new(OKTA, 1, TimeDelta::zero());
    world.walk(|_| ());
    (0..300).for_each(|n| world.change(n));
    let mut is_first = true;
    let pages = world.walk(|world| {
        if std::mem::take(&mut is_first) {
            world.change(5);
            world.pass(73_000);
            world.change(290);
        }
    });
    assert_eq!((pages, world.told[&id(5)], world.told[&id(290)]), (2, 1, 2));
    world.is_level();
}

#[test]
fn nobody_is_passed_over_where_others_are_deleted_between_two_pages() {
    for (shows, deleted) in [
        (CLERK, 1),
        (CLERK, 20),
        (CLERK, 90),
        (BETTER_AUTH, 1),
        (BETTER_AUTH, 20),
    ] {
        let mut world = World::new(shows, 1, TimeDelta::zero());
        world.walk(|_| ());
        (0..450).for_each(|n| world.change(n));
        let mut pages = 0;
        world.walk(|world| {
            pages += 1;
            // The last to change are the first on the list.
            if pages == 2 {
                let left = world.users.len() - deleted;
                world.users.truncate(left);
            }
        });
        world.is_level();
    }
}

/// Where our clock is ahead by more than the overlap, the first question is about what is still to come.
#[test]
fn whoever_changes_after_the_beginning_is_told_though_our_clock_is_ahead() {
    for shows in [OKTA, AUTH0, CLERK, BETTER_AUTH] {
        let mut world = World::new(shows, 1, MINUTES);
        world.pass(10_000);
        world.change(7);
        // The provider is away for a while.
        world.pass(600_000);
        world.change(8);
        world.is_level();
    }
}

/// A link that is not known any more is not asked again: the walk is, from its first page on.
#[test]
fn a_walk_whose_link_has_expired_begins_anew() {
    let mut world = World::new(OKTA, 1, TimeDelta::zero());
    world.walk(|_| ());
    (0..300).for_each(|n| world.change(n));
    assert_eq!(world.ask(), Then::More);
    let gone = r#"{"errorCode":"E0000031","errorSummary":"Invalid search criteria."}"#;
    let then = world.read(StatusCode::BAD_REQUEST, HeaderMap::new(), gone);
    assert!(!matches!(then, Then::More | Then::Done), "{then:?}");
    assert_eq!(world.walk(|_| ()), 2);
    world.is_level();
}
