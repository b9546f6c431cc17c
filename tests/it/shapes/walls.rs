//! Auth0's wall: a list that shows a thousand users however it is paged. Without IO: the walk's own
//! decisions, against a list that behaves so.

use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use usertap::provider::{Cursor, Next, PageFault, Provider, Tenant};

fn auth0() -> (Provider, Tenant) {
    let provider = Provider::builtin("auth0").unwrap();
    let value = |name: &str| Some(name.to_lowercase());
    let upstream = url::Url::parse("https://shop.eu.auth0.com").unwrap();
    let tenant = provider.tenant(provider.id_type, Some(upstream), &value).unwrap();
    (provider, tenant)
}

/// `created` in the order of the list; nothing beyond the thousandth of what is asked for.
fn page(created: &[String], target: &str) -> Value {
    let (_, query) = target.split_once('?').unwrap();
    let query: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let get = |name: &str| {
        query
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    };
    let from = get("q").map(|q| {
        q.strip_prefix("created_at:[")
            .unwrap()
            .strip_suffix(" TO *]")
            .unwrap()
    });
    let (page, size): (usize, usize) = (
        get("page").unwrap().parse().unwrap(),
        get("per_page").unwrap().parse().unwrap(),
    );
    assert!((page + 1) * size <= 1000, "beyond the wall: {target}");
    let all: Vec<_> = created
        .iter()
        .enumerate()
        .filter(|(_, at)| from.is_none_or(|from| at.as_str() >= from))
        .collect();
    let users: Vec<_> = all
        .iter()
        .skip(page * size)
        .take(size)
        .map(|(n, at)| user(*n, at))
        .collect();
    json!({"start": page * size, "limit": size, "length": users.len(), "total": all.len(), "users": users})
}

fn user(n: usize, at: &str) -> Value {
    json!({"user_id": format!("auth0|{n}"), "identities": [], "created_at": at, "updated_at": at})
}

fn walk(created: &[String]) -> Result<(usize, usize), PageFault> {
    let (provider, tenant) = auth0();
    let mut met = std::collections::BTreeSet::new();
    let (mut cursor, mut pages): (Option<Cursor>, usize) = (None, 0);
    loop {
        let request = provider.page_request(&tenant, cursor.as_ref(), false).request;
        let body = page(created, &request.target).to_string();
        let page = provider.page(
            &tenant,
            cursor.as_ref(),
            StatusCode::OK,
            &HeaderMap::new(),
            body.as_bytes(),
        )?;
        pages += 1;
        met.extend(page.sightings.iter().map(|seen| seen.id.to_string()));
        match page.next {
            Next::More(next) => cursor = Some(next),
            Next::End => return Ok((met.len(), pages)),
            Next::Lost => panic!("nothing is lost"),
        }
    }
}

fn at(n: usize) -> String {
    format!(
        "2024-01-{:02}T{:02}:{:02}:{:02}.000Z",
        1 + n / 86_400,
        n / 3_600 % 24,
        n / 60 % 60,
        n % 60
    )
}

#[test]
fn everyone_behind_the_wall_is_met_and_nothing_beyond_it_asked_for() {
    for users in [0, 1, 49, 50, 999, 1_000, 1_001, 2_345, 5_000] {
        let created: Vec<_> = (0..users).map(at).collect();
        let (met, pages) = walk(&created).unwrap();
        assert_eq!(met, users);
        assert!(pages <= users / 49 + 3, "{users}: {pages} pages");
    }
}

#[test]
fn users_of_one_instant_at_the_wall_are_not_left_out() {
    // Forty were made in the very moment at which the window ends.
    let created: Vec<_> = (0..2_000)
        .map(|n| at(if (980..1_020).contains(&n) { 980 } else { n }))
        .collect();
    assert_eq!(walk(&created).unwrap().0, 2_000);
}

#[test]
fn a_thousand_of_one_instant_are_told_and_not_walked_past() {
    let created: Vec<_> = (0..2_500).map(|_| at(7)).collect();
    assert!(matches!(walk(&created), Err(PageFault::Shape { .. })));
}
