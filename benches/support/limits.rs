//! What this Postgres does at its best with the same rows: the limits that figures are held
//! against. Nothing here writes change rows, states or checkpoints.

use std::pin::pin;
use std::time::SystemTime;

use tokio_postgres::Client;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};
use usertap::clock;
use usertap::user::{Observation, Seen};

/// Rows in one transaction.
const BATCH: usize = 1_000;

const CONFLICT: &str = "ON CONFLICT (id) DO UPDATE SET name = excluded.name, email = excluded.email,
    created_at = excluded.created_at, updated_at = excluded.updated_at, raw_json = excluded.raw_json";
const COLUMNS: &str = "neon_identity.users_sync AS u (id, name, email, created_at, updated_at, raw_json)";
const VALUES: &str = "r.id::uuid, r.name, r.email, r.created_at, now(), r.raw::jsonb";

/// Users as arrays, made before anything is timed.
#[derive(Default)]
pub struct Rows {
    ids: Vec<String>,
    names: Vec<Option<String>>,
    emails: Vec<Option<String>>,
    created: Vec<Option<SystemTime>>,
    raws: Vec<String>,
}

impl Rows {
    /// In batches of a thousand.
    pub fn batches<'o>(observations: impl Iterator<Item = &'o Observation>) -> Vec<Rows> {
        let mut batches = vec![Rows::default()];
        for observation in observations {
            if batches.last().is_none_or(|batch| batch.ids.len() == BATCH) {
                batches.push(Rows::default());
            }
            if let (Some(batch), Seen::Whole(view)) = (batches.last_mut(), &observation.seen) {
                batch.ids.push(observation.id.to_string());
                batch.names.push(view.profile.name.clone());
                batch.emails.push(view.profile.email.clone());
                batch.created.push(view.profile.created_at.map(SystemTime::from));
                batch.raws.push(view.raw.to_string());
            }
        }
        batches
    }
}

/// Rows a second.
pub async fn staging_copy(client: &Client, batches: &[Rows]) -> f64 {
    empty(client).await;
    let stage = "CREATE TEMP TABLE IF NOT EXISTS stage
        (id text, name text, email text, created_at timestamptz, raw text) ON COMMIT DELETE ROWS";
    client.batch_execute(stage).await.expect("a staging table");
    let upsert = format!("INSERT INTO {COLUMNS} SELECT {VALUES} FROM stage r {CONFLICT}");
    let upsert = client.prepare(&upsert).await.expect("a statement");
    let begun = clock::now();
    for rows in batches {
        client.batch_execute("BEGIN").await.expect("a transaction");
        copy(client, rows).await;
        client.execute(&upsert, &[]).await.expect("an upsert");
        client.batch_execute("COMMIT").await.expect("a commit");
    }
    rate(batches, begun)
}

async fn copy(client: &Client, rows: &Rows) {
    let sink = client
        .copy_in("COPY stage FROM STDIN BINARY")
        .await
        .expect("a copy");
    let types = [Type::TEXT, Type::TEXT, Type::TEXT, Type::TIMESTAMPTZ, Type::TEXT];
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
    for place in 0..rows.ids.len() {
        let row: [&(dyn ToSql + Sync); 5] = [
            &rows.ids[place],
            &rows.names[place],
            &rows.emails[place],
            &rows.created[place],
            &rows.raws[place],
        ];
        writer.as_mut().write(&row).await.expect("a row");
    }
    writer.finish().await.expect("an end");
}

/// Rows a second into an empty table.
pub async fn unnest(client: &Client, batches: &[Rows]) -> f64 {
    empty(client).await;
    insert(client, batches, "").await
}

/// Rows a second where every row is there already and nothing is written: after [`unnest`].
pub async fn anti_join(client: &Client, batches: &[Rows]) -> f64 {
    let changed = "WHERE NOT EXISTS (SELECT FROM neon_identity.users_sync t WHERE t.id = r.id::uuid
        AND t.raw_json = r.raw::jsonb AND t.name IS NOT DISTINCT FROM r.name AND t.email IS NOT DISTINCT FROM r.email)";
    insert(client, batches, changed).await
}

async fn insert(client: &Client, batches: &[Rows], changed: &str) -> f64 {
    let insert = format!(
        "INSERT INTO {COLUMNS} SELECT {VALUES}
         FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[])
             AS r (id, name, email, created_at, raw) {changed} {CONFLICT}"
    );
    let insert = client.prepare(&insert).await.expect("a statement");
    let begun = clock::now();
    for rows in batches {
        let row: [&(dyn ToSql + Sync); 5] = [&rows.ids, &rows.names, &rows.emails, &rows.created, &rows.raws];
        client.execute(&insert, &row).await.expect("an insert");
    }
    rate(batches, begun)
}

/// Every measurement begins with empty tables and no checkpoint under way.
async fn empty(client: &Client) {
    let empty = "TRUNCATE neon_identity.users_sync; CHECKPOINT";
    client.batch_execute(empty).await.expect("empty tables");
}

fn rate(batches: &[Rows], begun: clock::Instant) -> f64 {
    let rows: usize = batches.iter().map(|rows| rows.ids.len()).sum();
    rows as f64 / (clock::now() - begun).as_secs_f64()
}
