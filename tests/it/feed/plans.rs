//! What Postgres thinks of the feed's statements. One that it takes for dear it compiles before it
//! runs it, each time, which costs a second of a processor (`jit`, on by default; off in the
//! Postgres of these tests, so that only the plan tells).

use std::collections::BTreeSet;

use usertap::feed::read::{Query, text};
use usertap::feed::{Filter, Shape, Since};
use usertap::user::IdType;

use crate::support::postgres::{TestDatabase, names};

/// Postgres' own default for `jit_above_cost`.
const DEAR: f64 = 100_000.0;

/// The cost of the whole as the planner has it.
async fn cost(database: &TestDatabase, query: Query<'_>, plan: &str) -> f64 {
    let sql = names(IdType::Uuid).sql(&text(query));
    let explain = format!(
        "SET plan_cache_mode = {plan}; PREPARE reading AS {sql};
         EXPLAIN EXECUTE reading(2, 0, {}, '{{}}', '{{}}', '{{}}'); DEALLOCATE reading",
        query.limit
    );
    let lines = database.client.simple_query(&explain).await.expect("a plan");
    let first = lines.iter().find_map(|line| match line {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let range = first.and_then(|line| line.split_once("..")).expect("a cost").1;
    range
        .split(' ')
        .next()
        .and_then(|most| most.parse().ok())
        .expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_read_of_the_feed_looks_dear_to_a_database_that_was_never_analysed() {
    let database = TestDatabase::new(IdType::Uuid).await;
    let filled = "INSERT INTO usertap.changes (position, nonce, id, type, changed, origin, route, request_id)
        SELECT n, 0, 'u' || n, 'user.created', '{}', 'sql', '', '' FROM generate_series(1, 20000) n";
    database.client.batch_execute(filled).await.expect("changes");
    let some = |what: &str| BTreeSet::from([what.to_owned()]);
    let filters = [
        Filter::default(),
        Filter {
            types: some("user.created"),
            ..Filter::default()
        },
        Filter {
            ids: some("u1"),
            origins: some("sql"),
            ..Filter::default()
        },
    ];
    for filter in &filters {
        for raw in [false, true] {
            let query = Query {
                since: Since::Oldest,
                limit: 500,
                shape: Shape { before: true, raw },
                filter,
            };
            for plan in ["force_custom_plan", "force_generic_plan"] {
                let cost = cost(&database, query, plan).await;
                assert!(cost < DEAR, "{plan} of {query:?} costs {cost}");
            }
        }
    }
}
