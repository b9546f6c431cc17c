//! How listings go on, and usertap's own requests.

use super::forms::fixture;
use super::*;
use secrecy::ExposeSecret;
use usertap::provider::{Cursor, Item, Next, Page, PageFault};

fn user(id: &str) -> String {
    json!({"id": id, "server_metadata": null}).to_string()
}

fn read(
    provider: &Provider,
    tenant: &Tenant,
    at: Option<&str>,
    link: &str,
    body: &str,
) -> Result<Page, PageFault> {
    let cursor = at.map(|at| Cursor { at: at.to_owned() });
    let headers = headers(&[("link", link), ("x-total-count", "12")]);
    provider.page(tenant, cursor.as_ref(), StatusCode::OK, &headers, body.as_bytes())
}

fn more(at: &str) -> Next {
    Next::More(Cursor { at: at.to_owned() })
}

fn target(provider: &Provider, tenant: &Tenant, at: Option<&str>) -> String {
    let cursor = at.map(|at| Cursor { at: at.to_owned() });
    provider
        .page_request(tenant, cursor.as_ref(), false)
        .request
        .target
}

#[test]
fn stack_lists_everyone_by_inclusive_cursors() {
    let (provider, ada) = (stack(), user(ADA));
    let tenant = tenant(&provider);
    let first = "/api/v1/users?desc=false&order_by=signed_up_at&limit=200&include_anonymous=true";
    assert_eq!(target(&provider, &tenant, None), first);
    assert_eq!(
        target(&provider, &tenant, Some(BEA)),
        format!("{first}&cursor={BEA}")
    );
    let plain = provider.page_request(&tenant, None, true).request.target;
    assert!(!plain.contains("anonymous"), "{plain}");
    let newest = provider
        .newest_request(&tenant, None, true)
        .unwrap()
        .request
        .target;
    assert_eq!(newest, "/api/v1/users?order_by=signed_up_at&limit=200&desc=true");

    let page = |at, next| {
        let body =
            format!(r#"{{"items":[{ada}],"is_paginated":true,"pagination":{{"next_cursor":{next}}}}}"#);
        read(&provider, &tenant, at, "", &body)
    };
    let bea = format!("\"{BEA}\"");
    let read_page = page(None, bea.as_str()).unwrap();
    assert_eq!(
        (read_page.fetched, read_page.malformed, &read_page.next),
        (1, 0, &more(BEA))
    );
    assert_eq!(word(&read_page.sightings[0]), "whole 3520");
    assert_eq!(page(Some(ADA), "null").unwrap().next, Next::End);
    assert_eq!(page(Some(ADA), "\"\"").unwrap().next, Next::End);
    let same = format!("\"{ADA}\"");
    assert!(matches!(
        page(Some(ADA), same.as_str()),
        Err(PageFault::Shape { .. })
    ));
    assert!(matches!(page(None, "{}"), Err(PageFault::Shape { .. })));
}

/// As Zitadel and Descope list: what is asked for stands in the request's body.
#[test]
fn a_list_by_post_is_asked_for_with_a_body() {
    let text = include_str!("../../fixtures/providers/stytch.toml")
        .replace(
            "size = { param = \"/limit\", value = 1000 }",
            "size = { param = \"/query/limit\", value = 50 }\nquery = { \"/query/asc\" = true, \"/queries\" = [], view = \"full\" }\n\
             newest = { \"/query/asc\" = false }",
        )
        .replace(
            "kind = \"cursor\", param = \"/cursor\", next = \"/results_metadata/next_cursor\"",
            "kind = \"offset\", param = \"/query/offset\"",
        );
    let provider = fixture(&text);
    let settings = [("STYTCH_PROJECT_ID", "p"), ("STYTCH_SECRET", "s")];
    let tenant = tenant_with(&provider, &settings);
    let asked = |request: usertap::provider::OwnRequest| {
        let body = request.body.as_ref().expect("a body").expose_secret();
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        (request.method.to_string(), request.target, body)
    };
    let page = |asc: bool, offset: Option<u64>| {
        let mut body = json!({"query": {"limit": 50, "asc": asc}, "queries": []});
        if let Some(offset) = offset {
            body["query"]["offset"] = json!(offset);
        }
        ("POST".to_owned(), "/v1/users/search?view=full".to_owned(), body)
    };
    let at = Cursor { at: "50".to_owned() };
    let first = provider.page_request(&tenant, None, false).request;
    assert_eq!(asked(first), page(true, None));
    let second = provider.page_request(&tenant, Some(&at), false).request;
    assert_eq!(asked(second), page(true, Some(50)));
    let newest = provider.newest_request(&tenant, Some(&at), false).expect("a way");
    assert_eq!(asked(newest.request), page(false, Some(50)));
}

#[test]
fn a_deleted_cursor_user_is_not_the_end() {
    let provider = stack();
    let tenant = tenant(&provider);
    let empty = r#"{"items":[],"pagination":{"next_cursor":null}}"#;
    assert_eq!(read(&provider, &tenant, None, "", empty).unwrap().next, Next::End);
    assert_eq!(
        read(&provider, &tenant, Some(ADA), "", empty).unwrap().next,
        Next::Lost
    );
    let older = provider.cursor_at(&id(&provider, BEA)).unwrap();
    assert_eq!(older.at, BEA);
}

#[test]
fn failures_of_a_listing_have_reasons() {
    let provider = stack();
    let tenant = tenant(&provider);
    let failed = |status: &str, body: &str| {
        let headers = headers(&[("x-stack-actual-status", status)]);
        provider
            .page(&tenant, None, StatusCode::OK, &headers, body.as_bytes())
            .unwrap_err()
    };
    assert_eq!(
        failed("400", r#"{"code":"SCHEMA_ERROR"}"#),
        PageFault::UnknownParameter
    );
    assert_eq!(
        failed("401", r#"{"code":"SCHEMA_ERROR"}"#),
        PageFault::Status {
            status: StatusCode::UNAUTHORIZED
        }
    );
    assert_eq!(
        failed("400", "{}"),
        PageFault::Status {
            status: StatusCode::BAD_REQUEST
        }
    );
    for body in ["", "<html>", "{}", r#"{"items":null}"#] {
        assert!(
            matches!(
                read(&provider, &tenant, None, "", body),
                Err(PageFault::Shape { .. })
            ),
            "{body}"
        );
    }
}

#[test]
fn offsets_go_on_until_a_page_is_empty() {
    let provider = fixture(include_str!("../../fixtures/providers/clerk-like.toml"));
    let tenant = tenant_with(&provider, &[("CLERK_SECRET_KEY", "sk")]);
    assert_eq!(
        target(&provider, &tenant, None),
        "/v1/users?order_by=%2Bcreated_at&limit=500"
    );
    assert_eq!(
        target(&provider, &tenant, Some("2")),
        "/v1/users?order_by=%2Bcreated_at&limit=500&offset=2"
    );
    let two = format!("[{}, 7]", user("user_1"));
    let page = read(&provider, &tenant, None, "", &two).unwrap();
    assert_eq!((page.fetched, page.malformed, page.next), (2, 1, more("2")));
    assert_eq!(
        read(&provider, &tenant, Some("2"), "", "[]").unwrap().next,
        Next::End
    );
    assert!(read(&provider, &tenant, Some("x"), "", &two).is_err());
    let count = provider.count_request(&tenant).unwrap();
    assert_eq!(
        (
            count.target.as_str(),
            count.headers["authorization"].to_str().unwrap()
        ),
        ("/v1/users/count", "Bearer sk")
    );
    assert!(count.headers["authorization"].is_sensitive());
    let total = provider.count(StatusCode::OK, &HeaderMap::new(), br#"{"total_count":41}"#);
    assert_eq!(total, Some(41));
    assert_eq!(provider.cursor_at(&id(&provider, "user_1")), None);
}

#[test]
fn numbered_pages_begin_where_the_file_says() {
    let provider = fixture(include_str!("../../fixtures/providers/numbered.toml"));
    let tenant = tenant_with(&provider, &[("TENANT", "t")]);
    assert_eq!(target(&provider, &tenant, None), "/users?per_page=50&page=1");
    let body = format!(r#"{{"users":[{}]}}"#, user(ADA));
    let page = read(&provider, &tenant, None, "", &body).unwrap();
    assert_eq!((page.next, page.total), (more("2"), Some(12)));
    assert_eq!(
        read(&provider, &tenant, Some("11"), "", &body).unwrap().next,
        more("12")
    );
    assert_eq!(
        read(&provider, &tenant, Some("12"), "", r#"{"users":[]}"#)
            .unwrap()
            .next,
        Next::End
    );
}

#[test]
fn a_cursor_can_be_the_last_id() {
    let provider = fixture(include_str!("../../fixtures/providers/last-id.toml"));
    let tenant = tenant_with(&provider, &[("TENANT", "t")]);
    let body = format!(r#"{{"data":[{},{}],"total":3}}"#, user(ADA), user(BEA));
    let page = read(&provider, &tenant, None, "", &body).unwrap();
    assert_eq!((page.next, page.total), (more(BEA), Some(3)));
    assert_eq!(target(&provider, &tenant, Some("a&b")), "/users?after=a%26b");
    assert_eq!(
        read(&provider, &tenant, Some(BEA), "", r#"{"data":[]}"#)
            .unwrap()
            .next,
        Next::End
    );
}

#[test]
fn links_are_followed_on_the_lists_own_path_alone() {
    let provider = fixture(include_str!("../../fixtures/providers/linked.toml"));
    let tenant = tenant_with(&provider, &[("TENANT", "t")]);
    let next =
        |link: &str| read(&provider, &tenant, None, link, &format!("[{}]", user(ADA))).map(|page| page.next);
    let query = "limit=200&after=x";
    assert_eq!(
        next(&format!("</users?{query}>; rel=\"next\"")).unwrap(),
        more(query)
    );
    assert_eq!(
        next(&format!("<https://api.example/base/users?{query}>; rel=next")).unwrap(),
        more(query)
    );
    for parted in [", ", ",\t", ","] {
        let link = format!("</users?limit=200>; rel=\"self\"{parted}</users?{query}>; rel=\"next\"");
        assert_eq!(next(&link).unwrap(), more(query), "{link}");
    }
    let link = "</users?ids=1,</x>; rel=\"next\", </users?page=1>; rel=\"prev\"";
    assert_eq!(
        next(link).unwrap(),
        more("ids=1,</x"),
        "a comma within an address parts nothing"
    );
    assert_eq!(target(&provider, &tenant, Some(query)), format!("/users?{query}"));
    assert_eq!(next("</users?page=1>; rel=\"prev\"").unwrap(), Next::End);
    for elsewhere in [
        "<https://evil.example/base/users?a=b>; rel=next",
        "<https://api.example:444/base/users?a=b>; rel=next",
        "<http://api.example/base/users?a=b>; rel=next",
        "<//evil.example/users?a=b>; rel=next",
        "</admin/delete?a=b>; rel=next",
        "<\\\\evil.example/users?a=b>; rel=next",
    ] {
        assert!(next(elsewhere).is_err(), "{elsewhere}");
    }
}

#[test]
fn a_link_leads_on_whether_the_path_ends_in_a_slash_or_not() {
    let text = include_str!("../../fixtures/providers/linked.toml").replace("GET /users\"", "GET /users/\"");
    let provider = fixture(&text);
    let tenant = tenant_with(&provider, &[("TENANT", "t")]);
    let body = format!("[{}]", user(ADA));
    for path in ["/users/", "/users"] {
        let link = format!("<https://api.example/base{path}?page=2>; rel=next");
        let page = read(&provider, &tenant, None, &link, &body).unwrap();
        assert_eq!(page.next, more("page=2"), "{path}");
    }
    assert!(read(&provider, &tenant, None, "</admin/?page=2>; rel=next", &body).is_err());
}

/// Of a provider whose failures come as successes.
#[test]
fn a_failure_inside_a_success_ends_no_walk_and_counts_nobody() {
    let provider = fixture(include_str!("../../fixtures/providers/supertokens.toml"));
    let tenant = tenant_with(&provider, &[("SUPERTOKENS_API_KEY", "k")]);
    let page = |at, body: &str| read(&provider, &tenant, at, "", body);
    let count = |body: &str| provider.count(StatusCode::OK, &HeaderMap::new(), body.as_bytes());
    let failed = r#"{"status":"INTERNAL_ERROR","users":[],"count":0}"#;
    for at in [None, Some("token-2")] {
        assert!(matches!(page(at, failed), Err(PageFault::Shape { .. })), "{at:?}");
        let ended = page(at, r#"{"status":"OK","users":[]}"#);
        assert_eq!(ended.unwrap().next, Next::End, "{at:?}");
    }
    assert_eq!(count(failed), None);
    assert_eq!(count(r#"{"status":"OK","count":7}"#), Some(7));
}

#[test]
fn a_place_that_is_not_known_any_more_is_lost_and_the_beginning_never_is() {
    let linked = fixture(include_str!("../../fixtures/providers/linked.toml"));
    let last_id = fixture(include_str!("../../fixtures/providers/last-id.toml"));
    for (provider, place) in [(&linked, "limit=200&after=x"), (&last_id, BEA)] {
        let tenant = tenant_with(provider, &[("TENANT", "t")]);
        let page = |at: Option<&str>, status: u16| {
            let cursor = at.map(|at| Cursor { at: at.to_owned() });
            let status = StatusCode::from_u16(status).unwrap();
            let page = provider.page(&tenant, cursor.as_ref(), status, &HeaderMap::new(), b"{}");
            page.map(|page| page.next)
        };
        for status in [400, 404, 410, 422] {
            assert_eq!(page(Some(place), status), Ok(Next::Lost), "{status}");
            assert!(page(None, status).is_err(), "{status}");
        }
        for status in [401, 403, 429, 500] {
            assert!(page(Some(place), status).is_err(), "{status}");
        }
        assert_eq!(
            provider.cursor_at(&id(provider, BEA)),
            None,
            "no id is said to be a place"
        );
    }
}

#[test]
fn one_user_is_read_with_the_tenants_key() {
    let provider = stack();
    let tenant = tenant(&provider);
    let ada = id(&provider, ADA);
    let read = provider.read_user(&tenant, &ada).unwrap();
    assert_eq!(read.target, format!("/api/v1/users/{ADA}"));
    let shown = |name: &str| read.headers.get(name).map(|value| value.to_str().unwrap());
    assert_eq!(shown("x-stack-project-id"), Some(PROJECT));
    assert_eq!(shown("x-stack-access-type"), Some("server"));
    assert_eq!(shown("x-stack-secret-server-key"), Some(KEY));
    assert_eq!(shown("x-stack-branch-id"), None);
    assert!(read.headers["x-stack-secret-server-key"].is_sensitive());
    let dev = tenant_with(
        &provider,
        &[
            ("STACK_PROJECT_ID", PROJECT),
            ("STACK_BRANCH_ID", "dev"),
            ("STACK_SECRET_SERVER_KEY", KEY),
        ],
    );
    assert_eq!(
        provider.read_user(&dev, &ada).unwrap().headers["x-stack-branch-id"],
        "dev"
    );
    let keyless = tenant_with(&provider, &[("STACK_PROJECT_ID", PROJECT)]);
    assert!(provider.read_user(&keyless, &ada).is_none());
}

#[test]
fn the_answer_to_a_read_settles_or_says_nothing() {
    let provider = stack();
    let tenant = tenant(&provider);
    let ada = id(&provider, ADA);
    let told = |status: u16, actual: &[(&str, &str)], body: &str| {
        let status = StatusCode::from_u16(status).unwrap();
        let told = provider.read_user_answer(&tenant, &ada, status, &headers(actual), body.as_bytes());
        told.map(|told| word(&told))
    };
    assert_eq!(told(200, &[], &user(ADA)).as_deref(), Some("whole 3520"));
    let gone = [
        ("x-stack-actual-status", "404"),
        ("x-stack-known-error", "USER_NOT_FOUND"),
    ];
    assert_eq!(
        told(200, &gone, r#"{"code":"USER_NOT_FOUND"}"#).as_deref(),
        Some("missing 3520")
    );
    assert_eq!(told(200, &[], &user(BEA)), None);
    // A part of the user.
    assert_eq!(told(200, &[], &json!({ "id": ADA }).to_string()), None);
    assert_eq!(told(500, &[], ""), None);
    assert_eq!(told(200, &[("x-stack-actual-status", "401")], "{}"), None);
}

#[test]
fn a_large_list_is_cut_and_extracted_on_the_way() {
    let provider = stack();
    let tenant = tenant(&provider);
    let body = format!(r#"{{"items":[{},{}],"pagination":{{}}}}"#, user(ADA), user(BEA));
    let matched = provider.route(&Method::GET, "/api/v1/users").unwrap();
    let mut splitter = provider.splitter(&matched, 1000).unwrap();
    let mut seen = Vec::new();
    for chunk in body.as_bytes().chunks(7) {
        let mut take = |item: Item<'_>| {
            let Item::Whole(item) = item else {
                panic!("nobody here is so large")
            };
            seen.push(
                provider
                    .extract_item(&tenant, &matched, Credential::Server, item)
                    .unwrap(),
            )
        };
        splitter.feed(chunk, &mut take).unwrap();
    }
    assert!(splitter.finished());
    assert_eq!(
        seen.iter().map(word).collect::<Vec<_>>(),
        ["whole 3520", "whole d8d2"]
    );
    let one = provider.route(&Method::GET, "/api/v1/users/me").unwrap();
    assert!(provider.splitter(&one, 1000).is_none());
    // A byte order mark that is not whole is no JSON.
    let mut splitter = provider.splitter(&matched, 1000).unwrap();
    assert!(splitter.feed(b"\xef\xbb{\"items\":[]}", &mut |_| {}).is_err());
}

/// Whether a list is held or cut on the way changes nothing in what it proves, and to whom.
#[test]
fn whoever_is_cut_out_of_a_large_list_counts_as_one_of_a_list_that_is_held() {
    let text = include_str!("../../../src/provider/builtin/stack-auth.toml");
    let told = "tells = [{ list = \"/items\"";
    assert!(text.contains(told) && text.contains("\n[user]\n"));
    let text = text
        .replace(told, "tells = [{ unsettled = true, list = \"/items\"")
        .replace("\n[user]\n", "\n[user]\ndeleted_at = \"$.gone\"\n")
        .replace("consistency = \"at-sending\"", "consistency = \"30s\"");
    let provider = fixture(&text);
    let tenant = tenant(&provider);
    let gone = json!({"id": BEA, "server_metadata": null, "gone": true}).to_string();
    let items = [user(ADA), gone];
    let body = format!(r#"{{"items":[{}],"pagination":{{}}}}"#, items.join(","));
    let matched = provider.route(&Method::GET, "/api/v1/users").unwrap();
    for (who, told) in [
        (Credential::OwnServer, ["whole! 3520", "missing! d8d2"]),
        (Credential::Server, ["whole! 3520", "touched! d8d2"]),
    ] {
        let held = Exchange {
            method: "GET",
            path: "/api/v1/users",
            query: None,
            headers: shown(who, None),
            request: "",
            status: 200,
            answered: HeaderMap::new(),
            answer: &body,
        };
        let held = held.told(&provider, &tenant).sightings;
        assert_eq!(held.iter().map(word).collect::<Vec<_>>(), told, "{who:?}");
        let cut = items
            .iter()
            .map(|item| provider.extract_item(&tenant, &matched, who, item.as_bytes()));
        assert_eq!(cut.collect::<Option<Vec<_>>>(), Some(held), "{who:?}");
    }
}

/// Without a parameter that could be unknown it is a failure like any other.
#[test]
fn a_parameter_is_unknown_only_where_one_is_sent_that_may_be() {
    let text = include_str!("../../../src/provider/builtin/stack-auth.toml");
    let optional = "optional = { include_anonymous = \"true\" }\n";
    assert!(text.contains(optional));
    let fault = |text: &str| {
        let provider = fixture(text);
        let page = provider.page(
            &tenant(&provider),
            None,
            StatusCode::BAD_REQUEST,
            &HeaderMap::new(),
            br#"{"code":"SCHEMA_ERROR"}"#,
        );
        page.unwrap_err()
    };
    assert_eq!(fault(text), PageFault::UnknownParameter);
    let status = StatusCode::BAD_REQUEST;
    assert_eq!(fault(&text.replace(optional, "")), PageFault::Status { status });
}

/// Items that cannot be read keep their places among the others.
#[test]
fn an_item_that_cannot_be_read_is_known_again_at_its_place() {
    let provider = stack();
    let tenant = tenant(&provider);
    let page = |items: &[&str]| {
        let body = format!(r#"{{"items":[{}],"pagination":{{}}}}"#, items.join(","));
        read(&provider, &tenant, None, "", &body).unwrap()
    };
    let (ada, bea) = (user(ADA), user(BEA));
    let (ada, bea) = (ada.as_str(), bea.as_str());
    let mark = |item: &str| page(&[item]).marks().remove(0);
    let marks = |items: &[&str]| items.iter().map(|item| mark(item)).collect::<Vec<_>>();
    let all = ["7", ada, "{}", bea, "8"];
    assert_eq!(page(&all).marks(), marks(&all));
    assert_eq!([ada, bea].map(mark), [ADA, BEA]);
    let id_type = usertap::user::IdType::Text;
    assert_eq!(Page::user(&mark("7"), id_type), None);
    assert!(Page::user(&mark(ada), id_type).is_some());

    let mut some = page(&all);
    some.retain(&[true, false, true, true, false]);
    assert_eq!(some.marks(), marks(&["7", "{}", bea]));
    assert_eq!((some.fetched, some.malformed), (3, 2));

    let both = page(&["7", bea, "8"]).behind(page(&[ada, "7"]));
    assert_eq!(both.marks(), marks(&[ada, "7", bea, "8"]));
    assert_eq!((both.fetched, both.malformed), (4, 2));
}

/// Of an answer too large to be held, too, each caller is told its own.
#[test]
fn an_id_is_cut_from_where_this_caller_is_told_it() {
    let text = include_str!("../../fixtures/providers/numbered.toml").replace(
        "tells = [{ whole = \"\" }]",
        "tells = [{ whole = \"/user\", for = \"server\" }, { touched = [\"answer:/id\"], for = \"client\" }]",
    );
    let provider = fixture(&text);
    let path = format!("/users/{ADA}");
    let matched = provider.route(&Method::GET, &path).unwrap();
    let cut = |who| {
        let mut splitter = provider.id_splitter(&matched, who).unwrap();
        let mut cut = Vec::new();
        let body = br#"{"id":"client's","user":{"id":"server's"}}"#;
        splitter
            .feed(body, &mut |id| cut.push(format!("{id:?}")))
            .unwrap();
        assert!(splitter.finished());
        cut
    };
    let id = |text: &str| vec![format!("{:?}", Item::Whole(text.as_bytes()))];
    assert_eq!(cut(Credential::Client), id("\"client's\""));
    assert_eq!(cut(Credential::Server), id("\"server's\""));
}

/// Anything else would end the walk before its end.
#[test]
fn a_list_is_left_out_only_where_all_that_is_said_of_an_empty_one_stands_there() {
    let text = include_str!("../../fixtures/providers/numbered.toml").replace(
        "{ list = \"/users\" }",
        "{ list = \"/users\", empty_has = [\"/total\", \"/page\"] }",
    );
    let provider = fixture(&text);
    let tenant = tenant_with(&provider, &[("TENANT", "a")]);
    let next = |body: &str| read(&provider, &tenant, None, "", body).map(|page| page.next);
    assert_eq!(next(r#"{"total":0,"page":1}"#), Ok(Next::End));
    for other in [
        r#"{"total":0}"#,
        r#"{"page":1}"#,
        "{}",
        r#"{"users":{},"total":0,"page":1}"#,
        r#"{"users":null,"total":0,"page":1}"#,
    ] {
        assert!(next(other).is_err(), "{other}");
    }
}

#[test]
fn a_place_is_lost_only_by_the_code_that_the_file_names() {
    let text = include_str!("../../fixtures/providers/linked.toml").replace(
        "paging = { kind = \"link\" }",
        "paging = { kind = \"link\", lost = { statuses = [404], codes = [\"gone\"] } }\n[errors]\ncode = \"/code\"",
    );
    let provider = fixture(&text);
    let tenant = tenant_with(&provider, &[("TENANT", "t")]);
    let next = |status: u16, body: &str| {
        let at = Cursor { at: "after=x".into() };
        let status = StatusCode::from_u16(status).unwrap();
        let page = provider.page(&tenant, Some(&at), status, &HeaderMap::new(), body.as_bytes());
        page.map(|page| page.next)
    };
    assert_eq!(next(404, r#"{"code":"gone"}"#), Ok(Next::Lost));
    for (status, body) in [
        (404, "{}"),
        (404, r#"{"code":"no_such_list"}"#),
        (400, r#"{"code":"gone"}"#),
    ] {
        assert!(next(status, body).is_err(), "{status} {body}");
    }
}

/// Wherever in an item the user stands.
#[test]
fn of_an_item_too_large_to_be_held_the_id_is_left() {
    let text = include_str!("../../fixtures/providers/numbered.toml")
        .replace("{ list = \"/users\" }", "{ list = \"/users\", item = \"/user\" }");
    let provider = fixture(&text);
    let matched = provider.route(&Method::GET, "/users").unwrap();
    let mut splitter = provider.splitter(&matched, 40).unwrap();
    let mut cut = Vec::new();
    let body = format!(
        r#"{{"users":[{{"id":"of the item","user":{{"pad":"{}","id":"u1"}}}}]}}"#,
        "x".repeat(80)
    );
    splitter
        .feed(body.as_bytes(), &mut |item| cut.push(format!("{item:?}")))
        .unwrap();
    assert_eq!(cut, [format!("{:?}", Item::Id(b"\"u1\""))]);
}
