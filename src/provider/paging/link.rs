//! Pages that go on by the `Link` header.

use http::HeaderMap;

use super::PageFault;
use crate::provider::Tenant;

/// The query of the `Link` with rel=next. Only the query is kept: the next page is asked for at
/// the list's own path, whatever the link says, and a link to another host is refused.
pub(super) fn next(tenant: &Tenant, path: &str, headers: &HeaderMap) -> Result<Option<String>, PageFault> {
    let links = headers.get_all(http::header::LINK).iter();
    let mut links = links
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(",<"));
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
        let value =
            r#"<https://a/users?page=1>; rel="prev", <https://a/users?page=3,4>; title="x"; rel="next last""#;
        let links = value.split(",<").flat_map(|part| part.split(", <"));
        let found: Vec<_> = links.filter_map(link_to_next).collect();
        assert_eq!(found, ["https://a/users?page=3,4"]);
    }
}
