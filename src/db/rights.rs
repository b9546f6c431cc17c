//! What usertap's database user must be allowed, and what of it it is not. Asked of the catalogue, so
//! that nothing is changed by it and a server's language does not matter.

use diesel::QueryableByName;
use diesel::sql_types::{Bool, Text};
use diesel_async::AsyncPgConnection;

use super::names::quoted;
use super::statement::{Bind, load, optional, statement};
use super::{Database, DbError, Refusal, Unfitness};

/// What the statements of `serve` and of the walks need, table by table.
const OF_STATE: &[(&str, &[&str])] = &[
    ("backfill", &["SELECT", "INSERT", "UPDATE"]),
    ("changes", &["SELECT", "INSERT", "UPDATE"]),
    ("epochs", &["SELECT", "INSERT", "UPDATE"]),
    ("feed_floor", &["SELECT", "UPDATE"]),
    ("instances", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("met", &["SELECT", "INSERT", "DELETE"]),
    ("meta", &["SELECT", "UPDATE"]),
    ("poll", &["SELECT", "UPDATE"]),
    ("set_aside", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("slots", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("sql_changes", &["SELECT", "INSERT", "DELETE"]),
    ("unasked_deletions", &["SELECT", "INSERT", "DELETE"]),
    ("user_state", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
];
/// Rows are removed only where `DELETED` says so.
const OF_USERS: &[&str] = &["SELECT", "INSERT", "UPDATE"];
const REMOVES: &str = "DELETE";

#[derive(QueryableByName)]
struct Lacking {
    #[diesel(sql_type = Text)]
    user: String,
    #[diesel(sql_type = Text)]
    objects: String,
    #[diesel(sql_type = Text)]
    privileges: String,
}

/// What is missing for reading and writing rows, in the tables that are there.
///
/// # Errors
/// As the database gives them.
pub async fn of_rows(database: &Database, removes: bool) -> Result<Option<Unfitness>, DbError> {
    let mut conn = database.get().await?;
    // Objects that lack the same go into one GRANT.
    let sql = format!(
        "WITH lacking (at, kind, object, privilege) AS (
             SELECT 0, 'SCHEMA ', quote_ident(nspname), 'USAGE' FROM pg_namespace
             WHERE nspname IN ($1, $2) AND NOT has_schema_privilege(oid, 'USAGE')
             UNION ALL
             SELECT w.at, '', format('%I.%I', n.nspname, c.relname), w.privilege
             FROM (VALUES {}) w (at, schema, name, privilege)
             JOIN pg_namespace n ON n.nspname = w.schema
             JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
             WHERE NOT has_table_privilege(c.oid, w.privilege)
         ), objects AS (
             SELECT min(at) AS at, kind, object, string_agg(privilege, ', ' ORDER BY at) AS privileges
             FROM lacking GROUP BY kind, object
         )
         SELECT quote_ident(current_user) AS user, kind || string_agg(object, ', ' ORDER BY at, object) AS objects,
                privileges
         FROM objects GROUP BY kind, privileges ORDER BY min(at)",
        needed(removes)
    );
    let names = &database.names;
    let lacking = statement(&sql)
        .bind::<Text, _>(&names.state_schema)
        .bind::<Text, _>(&names.users_schema);
    let lacking: Vec<Lacking> = load(lacking, &mut conn).await?;
    Ok(lacking.first().map(|first| Unfitness {
        what: format!(
            "the database user {} lacks {}",
            first.user,
            listed(&lacking, ", ", "")
        ),
        remedy: format!("let their owner run {}", listed(&lacking, "; ", "GRANT ")),
    }))
}

/// `INSERT, UPDATE ON a.b`, or the statements that grant it.
fn listed(lacking: &[Lacking], between: &str, verb: &str) -> String {
    let listed = lacking.iter().map(|lacking| {
        let to = match verb.is_empty() {
            true => String::new(),
            false => format!(" TO {}", lacking.user),
        };
        format!("{verb}{} ON {}{to}", lacking.privileges, lacking.objects)
    });
    listed.collect::<Vec<_>>().join(between)
}

/// Rows of (order, schema, table, privilege).
fn needed(removes: bool) -> String {
    let of_state = OF_STATE
        .iter()
        .map(|(table, privileges)| ("$1", *table, *privileges));
    let removal: &[&str] = if removes { &[REMOVES] } else { &[] };
    let of_users = [OF_USERS, removal].map(|privileges| ("$2", "users_sync", privileges));
    let all = of_state.chain(of_users).flat_map(|(schema, table, privileges)| {
        privileges.iter().map(move |privilege| (schema, table, privilege))
    });
    let rows = all
        .enumerate()
        .map(|(at, (schema, table, privilege))| format!("({}, {schema}, '{table}', '{privilege}')", at + 1));
    rows.collect::<Vec<_>>().join(", ")
}

#[derive(QueryableByName)]
struct Hidden {
    #[diesel(sql_type = Text)]
    user: String,
    #[diesel(sql_type = Text)]
    tables: String,
    #[diesel(sql_type = Text)]
    remedy: String,
}

/// Tables of usertap's own that show no row and take none, and say nothing of it: row-level security is enabled on them
/// (some hosts do that with every table), they are another's, and no policy is for this user.
pub(super) async fn hidden(
    database: &Database,
    conn: &mut AsyncPgConnection,
) -> Result<Option<Unfitness>, DbError> {
    let hidden = statement(
        "WITH hidden AS (
             SELECT format('%I.%I', n.nspname, c.relname) AS name
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND row_security_active(c.oid)
             AND NOT EXISTS (
                 SELECT FROM pg_policy p CROSS JOIN LATERAL unnest(p.polroles) AS r (role)
                 WHERE p.polrelid = c.oid AND p.polpermissive AND (r.role = 0 OR pg_has_role(r.role, 'USAGE')))
         )
         SELECT quote_ident(current_user) AS user, string_agg(name, ', ' ORDER BY name) AS tables,
                string_agg('ALTER TABLE ' || name || ' DISABLE ROW LEVEL SECURITY', '; ' ORDER BY name) AS remedy
         FROM hidden HAVING count(*) > 0",
    );
    let hidden: Option<Hidden> = optional(hidden.bind::<Text, _>(&database.names.state_schema), conn).await?;
    Ok(hidden.map(|hidden| Unfitness {
        what: format!(
            "row-level security hides every row of {} from the database user {}",
            hidden.tables, hidden.user
        ),
        remedy: format!("let their owner run {}", hidden.remedy),
    }))
}

#[derive(QueryableByName)]
struct Owned {
    #[diesel(sql_type = Text)]
    user: String,
    #[diesel(sql_type = Text)]
    owner: String,
    #[diesel(sql_type = Bool)]
    is_ours: bool,
    /// What such an owner may do goes to nobody else.
    #[diesel(sql_type = Bool)]
    is_superuser: bool,
}

/// What is missing for making partitions of the change rows and for dropping them, where they are there.
///
/// # Errors
/// As the database gives them.
pub async fn of_partitions(database: &Database) -> Result<Option<Unfitness>, DbError> {
    on_partitions(database, &mut *database.get().await?).await
}

/// The same on a connection of the caller's.
pub(super) async fn on_partitions(
    database: &Database,
    conn: &mut AsyncPgConnection,
) -> Result<Option<Unfitness>, DbError> {
    let owned = statement(
        "SELECT quote_ident(current_user) AS user, quote_ident(pg_get_userbyid(c.relowner)) AS owner,
                pg_has_role(c.relowner, 'USAGE') AS is_ours, r.rolsuper AS is_superuser
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles r ON r.oid = c.relowner
         WHERE n.nspname = $1 AND c.relname = 'changes'
         AND NOT (pg_has_role(c.relowner, 'USAGE') AND has_schema_privilege(n.oid, 'CREATE'))",
    );
    let owned: Option<Owned> = optional(owned.bind::<Text, _>(&database.names.state_schema), conn).await?;
    Ok(owned.map(|owned| not_owned(&database.names.state_schema, &owned)))
}

fn not_owned(state_schema: &str, owned: &Owned) -> Unfitness {
    let state = quoted(state_schema);
    let Owned { user, owner, .. } = owned;
    Unfitness {
        what: format!(
            "the database user {user} can neither make nor drop partitions of {state}.changes: nothing is recorded \
             once the last one is full, and changes older than FEED_RETENTION stay"
        ),
        remedy: match (owned.is_ours, owned.is_superuser) {
            (true, _) => format!("let the schema's owner run GRANT CREATE ON SCHEMA {state} TO {user}"),
            (false, false) => {
                format!("run GRANT {owner} TO {user} (only whoever owns a table makes its partitions)")
            }
            (false, true) => format!(
                "let {owner} run ALTER SCHEMA {state} OWNER TO {user}; ALTER TABLE {state}.changes OWNER TO {user}"
            ),
        },
    }
}

/// The error itself, or what is missing where that is its cause.
pub async fn explained(database: &Database, error: DbError) -> DbError {
    let DbError::Refused {
        kind: Refusal::Privilege | Refusal::Other,
        ..
    } = error
    else {
        return error;
    };
    match of_rows(database, false).await {
        Ok(Some(missing)) => missing.into(),
        Ok(None) | Err(_) => error,
    }
}
