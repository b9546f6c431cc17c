//! Writers that go straight to Postgres, each row in a transaction of its own.

use std::future::Future;

use futures_util::future::join_all;
use tokio_postgres::Client;
use usertap::clock;

/// Rows a second of all, and what each row took in seconds.
pub struct Spent {
    pub rate: f64,
    pub each: Vec<f64>,
}

/// So many writers at once; each gives what its rows took.
pub async fn at_once<W, F>(writers: usize, writer: W) -> Spent
where
    W: Fn(usize) -> F,
    F: Future<Output = Vec<f64>>,
{
    let begun = clock::now();
    let each = join_all((0..writers).map(writer)).await.concat();
    let rate = each.len() as f64 / (clock::now() - begun).as_secs_f64();
    Spent { rate, each }
}

/// As many writers as connections.
pub async fn own_transactions(clients: &[Client], rows: usize, raw: &str) -> Spent {
    let insert = "INSERT INTO neon_identity.users_sync AS u (id, name, updated_at, raw_json)
        VALUES (gen_random_uuid(), $1, now(), $2::text::jsonb)";
    let statements = join_all(clients.iter().map(|client| client.prepare(insert))).await;
    let statements: Vec<_> = statements
        .into_iter()
        .map(|made| made.expect("a statement"))
        .collect();
    let statements = &statements;
    let writer = |place: usize| async move {
        let mut spent = Vec::with_capacity(rows);
        for _ in 0..rows {
            let begun = clock::now();
            let row: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&"Ada Lovelace", &raw];
            let done = clients[place].execute(&statements[place], &row);
            done.await.expect("a row");
            spent.push((clock::now() - begun).as_secs_f64());
        }
        spent
    };
    at_once(clients.len(), writer).await
}

/// The least that a commit costs: one number into a table of its own.
pub async fn bare_commits(client: &Client, rows: usize) -> Spent {
    let made = client
        .batch_execute("CREATE TABLE IF NOT EXISTS bare (n int)")
        .await;
    made.expect("a table");
    let insert = client
        .prepare("INSERT INTO bare VALUES (1)")
        .await
        .expect("a statement");
    let insert = &insert;
    let writer = |_| async move {
        let mut spent = Vec::with_capacity(rows);
        for _ in 0..rows {
            let begun = clock::now();
            client.execute(insert, &[]).await.expect("a commit");
            spent.push((clock::now() - begun).as_secs_f64());
        }
        spent
    };
    at_once(1, writer).await
}
