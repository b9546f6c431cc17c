//! Pages, the snapshot, and positions that are no longer good.

use ::http::Method;
use serde_json::{Value, json};
use usertap::user::Pos;

use super::{get, head, kinds, list, page, text};
use crate::support::eventually;
use crate::support::http;
use crate::support::stack::{Setup, Stack};

#[tokio::test(flavor = "multi_thread")]
async fn a_page_tells_every_change_in_order_as_it_was_promised() {
    let stack = Stack::new().await;
    let empty = page(&stack, "/v1/changes").await;
    assert_eq!((list(&empty).len(), &empty["caught_up"]), (0, &json!(true)));
    assert_eq!(
        (&empty["next"], &empty["head"]),
        (&empty["oldest"], &empty["oldest"])
    );

    let server = stack.server(0);
    let id = stack
        .known_user(json!({ "display_name": "Ada" }))
        .await
        .to_string();
    let path = format!("/users/{id}");
    stack
        .patch(&server, &path, json!({ "display_name": "Ada L" }))
        .await;
    stack.delete(&server, &path).await;

    let since = text(&empty["next"]);
    let told = page(&stack, &format!("/v1/changes?since={since}&before=1&raw=1")).await;
    let changes = list(&told);
    assert_eq!(kinds(&changes), ["user.created", "user.updated", "user.deleted"]);
    assert_eq!(
        (&told["next"], &told["head"]),
        (&changes[2]["pos"], &changes[2]["pos"])
    );
    let update = &changes[1];
    assert_eq!(update["op"], "u");
    assert_eq!(update["key"], json!({ "provider": "stack-auth", "id": id }));
    assert_eq!(
        (&update["after"]["name"], &update["before"]["name"]),
        (&json!("Ada L"), &json!("Ada"))
    );
    assert_eq!(update["raw"]["display_name"], "Ada L");
    assert!(update["changed"].as_array().unwrap().contains(&json!("name")));
    assert_eq!(update["source"]["origin"], "proxy.write");
    assert_eq!(update["source"]["route"], "PATCH /users/{id}");
    assert!(update["committed_at"].is_string() && update["source"]["request_id"].is_string());
    assert!(changes[2]["after"]["deleted_at"].is_string() && changes[0]["op"] == "c");
    assert_eq!(changes[0]["before"], Value::Null);

    // Resumed anywhere, a consumer gets what comes after and nothing else.
    for (at, change) in changes.iter().enumerate() {
        let rest = page(&stack, &format!("/v1/changes?since={}", text(&change["pos"]))).await;
        assert_eq!(list(&rest).len(), changes.len() - at - 1);
        assert!(list(&rest).iter().all(|change| change.get("raw").is_none()));
    }
    let one = page(&stack, &format!("/v1/changes?since={since}&limit=1")).await;
    assert_eq!(
        (list(&one).len(), &one["caught_up"], &one["next"]),
        (1, &json!(false), &changes[0]["pos"])
    );
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_leaves_out_and_moves_on() {
    let stack = Stack::new().await;
    let server = stack.server(0);
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(stack.known_user(json!({ "display_name": format!("{n}") })).await);
    }
    stack
        .patch(
            &server,
            &format!("/users/{}", ids[0]),
            json!({ "display_name": "new" }),
        )
        .await;
    let head = head(&stack).await;
    for (query, expected) in [
        (format!("id={}", ids[0]), 2),
        (format!("id={},{}", ids[0], ids[1]), 3),
        (format!("id={}", ids[0].to_string().to_uppercase()), 2),
        ("type=user.updated".to_owned(), 1),
        ("type=user.purged".to_owned(), 0),
        ("origin=webhook,sql".to_owned(), 0),
        (
            "origin=proxy.read&type=user.created&type=user.updated".to_owned(),
            3,
        ),
    ] {
        let told = page(&stack, &format!("/v1/changes?since=oldest&{query}")).await;
        assert_eq!(list(&told).len(), expected, "{query}: {told}");
        assert_eq!(
            (text(&told["next"]), &told["caught_up"]),
            (head.clone(), &json!(true)),
            "{query}"
        );
    }
    stack.end().await;
}

/// However many stand between those that are asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_leaves_out_thousands_passes_over_nobody() {
    const WANTED: [i64; 6] = [5, 6, 14_000, 14_001, 14_002, 30_000];
    let stack = Stack::new().await;
    // Of users who came and went.
    let many = format!(
        "INSERT INTO usertap.changes (position, nonce, id, type, changed, blank, origin, route, request_id)
         SELECT n, 0, md5((n / 2)::text)::uuid, CASE n % 2 WHEN 0 THEN 'user.created' ELSE 'user.purged' END, '{{}}',
             true, CASE WHEN n = ANY(ARRAY{WANTED:?}) THEN 'webhook' ELSE 'sql' END, '', ''
         FROM generate_series(2, 30101) n;
         UPDATE usertap.meta SET position = 30101"
    );
    stack.sql(&many).await;
    let (mut since, mut told) = ("oldest".to_owned(), Vec::new());
    loop {
        let path = format!("/v1/changes?since={since}&origin=webhook&limit=2");
        let some = page(&stack, &path).await;
        let positions = list(&some).into_iter().map(|change| {
            let pos = Pos::parse(&text(&change["pos"])).expect("a position");
            pos.position.0
        });
        told.extend(positions);
        if some["caught_up"] == json!(true) {
            break;
        }
        let next = text(&some["next"]);
        assert_ne!(next, since, "nobody gets any further");
        since = next;
    }
    assert_eq!(told, WANTED);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_is_told() {
    let stack = Stack::new().await;
    for wrong in [
        "/v1/changes?since=yesterday",
        "/v1/changes?since=0000000000000001",
        "/v1/changes?limit=0",
        "/v1/changes?limit=many",
        "/v1/changes?wait=soon",
        "/v1/changes?raw=maybe",
        "/v1/changes?sicne=now",
        "/v1/changes?type=user.created,user.update",
        "/v1/changes?origin=proxy",
        "/v1/changes?id=me",
        "/v1/snapshot?after=me",
        "/v1/slots/a/changes?lease=mine",
    ] {
        let reply = get(&stack, wrong).await;
        assert_eq!(reply.status, 400, "{wrong}: {}", reply.text());
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    }
    for nothing in ["/v1/change", "/v1/users/a/b"] {
        let reply = get(&stack, nothing).await;
        assert_eq!(reply.status, 404, "{nothing}: {}", reply.text());
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    }
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_understood_alike_everywhere() {
    let stack = Stack::new().await;
    let put = stack.admin_url("/v1/slots/mailer");
    let made = http::request(Method::PUT, &put, &[], "{}")
        .await
        .expect("an answer");
    assert!(made.status.is_success(), "{}", made.text());
    for path in [
        "/v1/changes",
        "/v1/snapshot",
        "/v1/users",
        "/v1/slots/mailer/changes",
    ] {
        for wrong in ["0", "-1", "1.5", "many", ""] {
            let reply = get(&stack, &format!("{path}?limit={wrong}")).await;
            assert_eq!(reply.status, 400, "{path} {wrong}: {}", reply.text());
            assert_eq!(
                reply.json()["detail"],
                "limit: write a whole number, from 1 to 1000"
            );
        }
        for more in ["1000", "1001", "65537", "100000000000000000000"] {
            let reply = get(&stack, &format!("{path}?limit={more}")).await;
            // The slot has a reader from the first page on.
            let is_taken = reply.status == 409 && path.contains("slots");
            assert!(reply.status == 200 || is_taken, "{path} {more}: {}", reply.text());
        }
    }
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_of_another_history_is_gone() {
    let stack = Stack::new().await;
    let zero = head(&stack).await;
    stack.known_user(json!({ "display_name": "Ada" })).await;
    let good = head(&stack).await;
    for foreign in [
        format!("{}-deadbeef", &good[..16]),
        format!("{}-deadbeef", &zero[..16]),
        format!("00000000000fffff-{}", &good[17..]),
    ] {
        for path in [
            format!("/v1/changes?since={foreign}"),
            format!("/v1/changes?since={foreign}&wait=5s"),
        ] {
            let reply = get(&stack, &path).await;
            assert_eq!(reply.status, 410, "{path}");
            let problem = reply.json();
            assert_eq!(reply.header("content-type"), Some("application/problem+json"));
            assert_eq!(
                (text(&problem["oldest"]), text(&problem["head"])),
                (zero.clone(), good.clone())
            );
            assert_eq!(problem["snapshot"], "/v1/snapshot");
        }
        let stream = [("accept", "text/event-stream")];
        let reply = http::get(&stack.admin_url(&format!("/v1/changes?since={foreign}")), &stream).await;
        assert_eq!(reply.status, 410);
    }
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_wakes_on_the_commit_and_ends_in_time() {
    let stack = Stack::new().await;
    let since = head(&stack).await;
    let nothing = page(&stack, &format!("/v1/changes?since={since}&wait=50ms")).await;
    assert_eq!((list(&nothing).len(), text(&nothing["next"])), (0, since.clone()));
    let path = format!("/v1/changes?since={since}&wait=50s");
    let (waited, _) = tokio::join!(page(&stack, &path), async {
        stack.known_user(json!({ "display_name": "Ada" })).await
    });
    assert_eq!(kinds(&list(&waited)), ["user.created"]);
    assert_eq!(
        (&waited["next"], &waited["caught_up"]),
        (&waited["head"], &json!(true)),
        "{waited}"
    );
    stack.end().await;
}

/// Out of what this process has read for everybody as out of the database.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_is_told_what_was_asked_for_and_nothing_else() {
    let stack = Stack::new().await;
    let since = format!("/v1/changes?since={}", head(&stack).await);
    // Nobody wants `raw` of it when it comes.
    let waits = format!("{since}&wait=50s");
    let (told, id) = tokio::join!(page(&stack, &waits), stack.known_user(json!({})));
    for (query, events) in [
        (format!("id={id}"), 1),
        (format!("id={}", uuid::Uuid::new_v4()), 0),
        ("type=user.created".to_owned(), 1),
        ("type=user.deleted".to_owned(), 0),
        ("origin=proxy.read".to_owned(), 1),
        ("origin=webhook".to_owned(), 0),
    ] {
        let some = page(&stack, &format!("{since}&wait=50ms&{query}")).await;
        assert_eq!(
            (list(&some).len(), &some["next"]),
            (events, &told["next"]),
            "{query}: {some}"
        );
    }
    let whole = page(&stack, &format!("{waits}&raw=1&before=1")).await;
    let shown = &list(&whole)[0];
    assert_eq!(
        (&shown["raw"]["id"], shown.get("before")),
        (&json!(id), Some(&Value::Null)),
        "{shown}"
    );
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_snapshot_is_the_table() {
    let stack = Stack::new().await;
    for n in 0..7 {
        stack
            .known_user(json!({ "display_name": format!("user {n}") }))
            .await;
    }
    let (mut rows, mut after, mut as_of) = (Vec::new(), String::new(), None);
    loop {
        let one = page(&stack, &format!("/v1/snapshot?limit=3&raw=1&after={after}")).await;
        as_of.get_or_insert(text(&one["as_of"]));
        if list(&one).is_empty() {
            assert_eq!(one["next"], "");
            break;
        }
        rows.extend(list(&one));
        after = text(&one["next"]);
    }
    assert_eq!(rows.len(), 7);
    assert_eq!(as_of, Some(head(&stack).await));
    for row in &rows {
        assert_eq!(
            (&row["type"], &row["op"], &row["pos"]),
            (&json!("snapshot"), &json!("r"), &json!(as_of))
        );
        assert_eq!(
            (&row["raw"]["id"], &row["after"]["id"]),
            (&row["key"]["id"], &row["key"]["id"])
        );
    }
    stack.end().await;
}

/// Postgres keeps years that RFC 3339 does not know, and times that are in no year.
#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_no_parser_takes_is_told_as_none() {
    for far in ["10000-01-01Z", "294276-12-31Z", "infinity", "-infinity"] {
        told_as_none(far).await;
    }
}

async fn told_as_none(far: &str) {
    let stack = Stack::new().await;
    let always = format!(
        "CREATE FUNCTION far() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN NEW.created_at := ''{far}''; RETURN NEW; END';
        CREATE TRIGGER far BEFORE INSERT OR UPDATE ON neon_identity.users_sync
            FOR EACH ROW EXECUTE FUNCTION far()"
    );
    stack.client.batch_execute(&always).await.expect("a trigger");
    let id = stack.user(json!({ "display_name": "Ada" }));
    let server = stack.server(0);
    stack.get(&server, &format!("/users/{id}")).await;
    let far = format!("SELECT FROM neon_identity.users_sync WHERE created_at = '{far}'");
    assert_eq!(stack.client.query(&far, &[]).await.expect("rows").len(), 1);
    let path = format!("/users/{id}");
    stack
        .patch(&server, &path, json!({ "display_name": "Ada L" }))
        .await;
    let told = list(&page(&stack, "/v1/changes?since=oldest&before=1").await);
    let snapshot = list(&page(&stack, "/v1/snapshot").await);
    let row = get(&stack, &format!("/v1/users/{id}")).await.json();
    let rows = get(&stack, "/v1/users").await.json();
    let times = [
        &told[0]["after"]["created_at"],
        &told[1]["before"]["created_at"],
        &snapshot[0]["after"]["created_at"],
        &row["created_at"],
        &rows["users"][0]["created_at"],
    ];
    assert_eq!(times, [&Value::Null; 5]);
    assert!(snapshot[0]["after"]["updated_at"].is_string());
    let well = "DROP TRIGGER far ON neon_identity.users_sync";
    stack.client.batch_execute(well).await.expect("no trigger");
    stack
        .patch(&server, &path, json!({ "display_name": "Ada" }))
        .await;
    stack.end().await;
}

/// Statements that are prepared live on.
#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_another_type_is_read_and_written_as_before() {
    const PATHS: [&str; 4] = [
        "/v1/users",
        "/v1/users?q=Ada",
        "/v1/snapshot",
        "/v1/changes?since=oldest",
    ];
    let stack = Stack::new().await;
    let id = stack.known_user(json!({ "display_name": "Ada" })).await;
    let (server, path) = (stack.server(0), format!("/users/{id}"));
    let one = format!("/v1/users/{id}");
    let paths = || PATHS.into_iter().chain([one.as_str()]);
    // So many that they are not made anew for tables that have doubled.
    for n in 0..8 {
        let written = stack.patch(&server, &path, json!({ "display_name": format!("Ada {n}") }));
        stack.is_recorded(&written.await, id).await;
    }
    for path in paths() {
        get(&stack, path).await;
    }
    let changed = "ALTER TABLE neon_identity.users_sync ALTER COLUMN name TYPE varchar(200),
        ALTER COLUMN email TYPE varchar(200), ALTER COLUMN created_at TYPE timestamptz(3)";
    stack.client.batch_execute(changed).await.expect("other types");
    for path in paths() {
        let reply = get(&stack, path).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    }
    for name in ["Ada", "Bea", "Cleo"] {
        let written = stack.patch(&server, &path, json!({ "display_name": name })).await;
        stack.is_recorded(&written, id).await;
    }
    stack.end().await;
}

/// What Postgres stores in a hundredth of its length is counted as long as it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_with_raw_is_no_larger_for_what_packs_well() {
    const USERS: usize = 12;
    const LARGEST: usize = 8 << 20;
    let stack = Stack::new().await;
    let much = "x".repeat(1 << 20);
    for _ in 0..USERS {
        stack
            .known_user(json!({ "server_metadata": { "much": much } }))
            .await;
    }
    let (mut since, mut told, mut pages) = ("oldest".to_owned(), 0, 0);
    while told < USERS {
        let reply = get(&stack, &format!("/v1/changes?since={since}&raw=1&limit=1000")).await;
        assert!(reply.text().len() < LARGEST, "{}", reply.text().len());
        let page = reply.json();
        let changes = list(&page);
        assert!(
            !changes.is_empty()
                && changes
                    .iter()
                    .all(|change| change["raw"]["server_metadata"]["much"] == much)
        );
        (told, pages) = (told + changes.len(), pages + 1);
        assert_eq!(page["caught_up"], json!(told == USERS));
        since = text(&page["next"]);
    }
    assert!(told == USERS && pages > 1);
    let (mut after, mut rows) = (String::new(), 0);
    loop {
        let reply = get(&stack, &format!("/v1/snapshot?limit=1000&raw=1&after={after}")).await;
        assert!(reply.text().len() < LARGEST, "{}", reply.text().len());
        rows += list(&reply.json()).len();
        after = text(&reply.json()["next"]);
        if after.is_empty() {
            break;
        }
    }
    assert_eq!(rows, USERS);
    stack.end().await;
}

/// Not every provider bounds a name: a few long ones make no page that no memory holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_no_larger_for_names_that_are_long() {
    const USERS: usize = 16;
    const LARGEST: usize = 12 << 20;
    let stack = Stack::new().await;
    stack.with_long_names(USERS).await;
    for raw in ["", "&raw=1"] {
        pages_are_bounded(&stack, raw, USERS, LARGEST).await;
    }
    stack.end().await;
}

/// Of changes and of the snapshot, whatever else they show.
async fn pages_are_bounded(stack: &Stack, raw: &str, users: usize, largest: usize) {
    let (mut since, mut told) = ("oldest".to_owned(), 0);
    loop {
        let path = format!("/v1/changes?since={since}&before=1&limit=1000{raw}");
        let reply = get(stack, &path).await;
        assert!(reply.text().len() < largest, "{}", reply.text().len());
        let page = reply.json();
        told += list(&page).len();
        since = text(&page["next"]);
        if page["caught_up"] == json!(true) {
            break;
        }
        assert!(!list(&page).is_empty());
    }
    assert_eq!(told, 2 * users);
    let (mut after, mut rows) = (String::new(), 0);
    loop {
        let reply = get(stack, &format!("/v1/snapshot?limit=1000&after={after}{raw}")).await;
        assert!(reply.text().len() < largest, "{}", reply.text().len());
        rows += list(&reply.json()).len();
        after = text(&reply.json()["next"]);
        if after.is_empty() {
            break;
        }
    }
    assert_eq!(rows, users);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_purged_user_the_feed_tells_nothing() {
    let setup = Setup::set(&[("USERTAP_DELETED", "purge")]);
    let stack = Stack::with(setup).await;
    let server = stack.server(0);
    let id = stack.known_user(json!({ "display_name": "Forget Me" })).await;
    let path = format!("/users/{id}");
    let since = format!("/v1/changes?wait=5s&since={}", head(&stack).await);
    stack
        .patch(&server, &path, json!({ "display_name": "Forget Me Too" }))
        .await;
    let told = page(&stack, &since).await;
    assert!(told.to_string().contains("Forget Me Too"), "{told}");
    stack.ask(&server, Method::DELETE, &path, &json!({})).await;
    // From what this process had read before,
    let told = eventually("the purge is read", async || {
        let told = page(&stack, &since).await;
        (kinds(&list(&told)) == ["user.updated", "user.deleted", "user.purged"]).then_some(told)
    });
    let told = told.await;
    assert!(!told.to_string().contains("Forget"), "{told}");
    // and from the database.
    for query in ["", "&raw=1&before=1", "&origin=proxy.read,proxy.write,refetch"] {
        let told = page(&stack, &format!("/v1/changes?since=oldest{query}&wait=1s")).await;
        let changes = list(&told);
        assert_eq!(
            kinds(&changes),
            ["user.created", "user.updated", "user.deleted", "user.purged"]
        );
        assert!(changes.iter().all(|change| change["after"].is_null()), "{told}");
        assert!(!told.to_string().contains("Forget"), "{told}");
        assert_eq!(changes[3]["op"], "d");
    }
    stack.end().await;
}
