//! What Postgres does alone is measured without anything of usertap's: no triggers, no recorder that
//! follows what is written.

use secrecy::SecretString;

use super::postgres::Server;

/// A database with the users' table and nothing else.
pub async fn database(server: &Server) -> SecretString {
    let url = server.fresh().await;
    let table = "CREATE SCHEMA neon_identity;
        CREATE TABLE neon_identity.users_sync (id uuid PRIMARY KEY, name text, email text, created_at timestamptz,
            updated_at timestamptz, deleted_at timestamptz, raw_json jsonb NOT NULL)";
    let client = server.connect(&url).await;
    client.batch_execute(table).await.expect("the users' table");
    url
}
