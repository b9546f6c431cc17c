//! Pages that go on by the `Link` header.

use http::HeaderMap;

use super::PageFault;
use crate::provider::Tenant;

/// The query of the `Link` with rel=next. Only the query is kept: the next page is asked for at
/// the list's own path, whatever the link says, and a link to another host is refused.
pub(super) fn next(tenant: &Tenant, path: &str, headers: &HeaderMap) -> Result<Option<String>, PageFault> {
    let lines = headers.get_all(http::header::LINK).iter();
    let mut links = lines.filter_map(|line| line.to_str().ok()).flat_map(links);
    let Some(target) = links.find_map(link_to_next) else {
        return Ok(None);
    };
    if is_elsewhere(tenant, target) {
        return Err(PageFault::Shape {
            what: "the next page is said to be at another host",
        });
    }
    let (link_path, query) = target.split_once('?').unwrap_or((target, ""));
    let is_the_lists = link_path
        .trim_end_matches('/')
        .ends_with(path.trim_end_matches('/'));
    if !is_the_lists || query.is_empty() {
        return Err(PageFault::Shape {
            what: "the link to the next page leads out of the list",
        });
    }
    Ok(Some(query.split('#').next().unwrap_or_default().to_owned()))
}

/// Those of one line. A comma parts two where the next one begins behind it, and none within an address, which may hold
/// commas of its own.
fn links(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let comma = comma_behind(line);
        rest = comma.map(|at| &line[at + 1..]);
        Some(&line[..comma.unwrap_or(line.len())])
    })
}

/// Where the first link of a line ends, if another follows.
fn comma_behind(line: &str) -> Option<usize> {
    let address_ends = line.find('>')?;
    let mut commas = line.match_indices(',').map(|(at, _)| at);
    commas.find(|at| *at > address_ends && line[at + 1..].trim_start().starts_with('<'))
}

fn link_to_next(link: &str) -> Option<&str> {
    let (target, params) = link.trim().trim_start_matches('<').split_once('>')?;
    let is_next = |param: &str| {
        let (name, value) = param.split_once('=')?;
        let value = value.trim().trim_end_matches(',').trim_matches('"');
        let rel = name.trim().eq_ignore_ascii_case("rel");
        (rel && value
            .split_ascii_whitespace()
            .any(|rel| rel.eq_ignore_ascii_case("next")))
        .then_some(())
    };
    params.split(';').find_map(is_next).map(|()| target.trim())
}

fn is_elsewhere(tenant: &Tenant, target: &str) -> bool {
    let absolute = target.starts_with("//") || !target.starts_with('/');
    let same = url::Url::parse(target).is_ok_and(|target| {
        tenant
            .upstream
            .as_ref()
            .is_some_and(|upstream| upstream.origin() == target.origin())
    });
    absolute && !same
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_to_the_next_page_is_found_among_others() {
        let tenant = Tenant {
            provider: "linked".to_owned(),
            identity: Vec::new(),
            may_change: Vec::new(),
            id_type: crate::user::IdType::Text,
            upstream: url::Url::parse("https://a").ok(),
            settings: Vec::new(),
            key: None,
        };
        for parted in [",", ", ", ",\t "] {
            let value = format!(
                r#"<https://a/users?page=1>; rel="prev"{parted}<https://a/users?page=3,4,<>; title="x"; rel="next last""#
            );
            let value = value.parse().expect("a value");
            let headers = HeaderMap::from_iter([(http::header::LINK, value)]);
            let found = next(&tenant, "/users", &headers).expect("a link");
            assert_eq!(found.as_deref(), Some("page=3,4,<"), "{parted:?}");
        }
    }
}
