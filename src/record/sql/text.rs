//! The text of the recorder's statements; `{users}`, `{state}` and `{id}` are filled in once.

mod numbering;

use crate::db::columns::NO_COLUMNS;

pub use numbering::{number, number_alike, number_new};

/// A row of the users' table is never waited for longer than this, and a user's trigger never
/// runs longer than that: what takes longer is set aside.
///
/// What a statement finds once it has waited for a lock must be what the other has committed, whatever
/// the role's own level is. Whoever stands still in the midst of one (a machine that is paused, a way that is cut
/// and nobody says so) keeps others from their positions no longer than this. The last setting tells the triggers
/// that note changes made by hand that this is none.
pub const BEGIN_LONG: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; \
    SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '10s'; \
    SET LOCAL idle_in_transaction_session_timeout = '10s'; SET LOCAL usertap.recorder = 'on'";

/// Where others wait: whoever takes longer than this is tried once more alone.
pub const BEGIN_SHORT: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; \
    SET LOCAL lock_timeout = '250ms'; SET LOCAL statement_timeout = '1s'; \
    SET LOCAL idle_in_transaction_session_timeout = '10s'; SET LOCAL usertap.recorder = 'on'";

/// In passing: who takes longer than this is left to whom nobody waits for.
pub const BEGIN_LEAST: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; \
    SET LOCAL lock_timeout = '100ms'; SET LOCAL statement_timeout = '250ms'; \
    SET LOCAL idle_in_transaction_session_timeout = '10s'; SET LOCAL usertap.recorder = 'on'";

/// Deferred constraints and triggers are the users' own: they run before the lock. Whoever waits for it
/// waits for others' commits, which take as long as the way to the database does. Where the server is set not
/// to wait for its disk, this commit does: an answer calls it committed. What follows finds its users by the index,
/// however many they are: for some hundred of them Postgres would read whole tables (see [`LOAD`]).
pub const POSITION_LOCK: &str = "SET CONSTRAINTS ALL IMMEDIATE; SET LOCAL lock_timeout = '2s'; \
    SET LOCAL statement_timeout = '10s'; SET LOCAL plan_cache_mode = force_generic_plan; \
    SET LOCAL enable_seqscan = off; \
    SELECT pg_advisory_xact_lock({lock}), set_config('synchronous_commit', \
    coalesce(nullif(current_setting('synchronous_commit'), 'off'), 'on'), true)";

/// The JSON is loaded where it is asked for, and where nothing else says what it is: of who is deleted or was
/// changed by hand.
///
/// The ids are a subquery's, for Postgres cannot count them then while it plans: for some hundred of them it takes
/// a walk over the whole table, with helpers that it starts for it, to be cheaper (measured at 50,000 users and 500
/// ids: five times as slow as by the index).
const LOAD: &str = "
    SELECT s.id, s.position, s.standing, s.version, s.content, s.volatile, s.volatile_at, s.doubt,
           s.refused, a.next_try > now() AS waits, {moved} AS moved,
           u.id IS NOT NULL AS has_row, {columns},
           CASE WHEN $2 OR s.content IS NULL OR s.content = $3 THEN u.raw_json::text END AS raw
    FROM {state}.user_state s
    LEFT JOIN {users} u ON u.id = s.id::{id}
    LEFT JOIN {state}.set_aside a ON a.id = s.id
    WHERE s.id = ANY((SELECT $1)::text[])";

/// Nothing is locked: all of it is of one moment. Columns are told by change rows, which are written after a lock.
pub fn look() -> String {
    tell().replace("{columns}", NO_COLUMNS)
}

/// The same with them.
pub fn tell() -> String {
    LOAD.replace("{moved}", "false")
}

/// Whoever waits for a lock gets the state as it is then, beside a row as it was before: such a state has moved.
pub fn lock() -> String {
    let moved = "s.ctid IS DISTINCT FROM (SELECT o.ctid FROM {state}.user_state o WHERE o.id = s.id)";
    format!("{} ORDER BY s.id FOR UPDATE OF s", LOAD.replace("{moved}", moved))
}

pub const INSERT: &str = "
    INSERT INTO {users} AS u (id, name, email, created_at, updated_at, raw_json)
    SELECT id::{id}, name, email, created_at, coalesce(updated_at, now()), raw::jsonb
    FROM unnest($1, $2, $3, $4, $5, $6) AS r (id, name, email, created_at, updated_at, raw)";

pub const OR_UPDATE: &str = "
    ON CONFLICT (id) DO UPDATE SET
        name = excluded.name, email = excluded.email, created_at = excluded.created_at,
        updated_at = excluded.updated_at, deleted_at = NULL, raw_json = excluded.raw_json";

pub const QUIET: &str = "
    UPDATE {users} AS u SET raw_json = r.raw::jsonb
    FROM unnest($1, $2) AS r (id, raw) WHERE u.id = r.id::{id}";

pub const DELETE: &str = "
    UPDATE {users} AS u SET deleted_at = now(), updated_at = now()
    WHERE u.id = ANY(SELECT unnest($1)::{id})";

/// A state that ever moved stays.
pub const FORGET: &str = "
    DELETE FROM {state}.user_state s
    WHERE s.id = ANY($1) AND s.standing = 'none' AND s.doubt IS NULL AND s.position <= 0
      AND NOT EXISTS (SELECT FROM {state}.set_aside a WHERE a.id = s.id)";

/// Whoever is locked is being judged.
pub const FORGET_OLD: &str = "
    DELETE FROM {state}.user_state s WHERE s.id IN (
        SELECT o.id FROM {state}.user_state o
        WHERE o.standing = 'none' AND o.position <= $1 AND o.doubt IS NULL
          AND NOT EXISTS (SELECT FROM {state}.set_aside a WHERE a.id = o.id)
        ORDER BY o.position LIMIT 10000 FOR UPDATE SKIP LOCKED)";

pub const CHECKPOINT: &str = "
    UPDATE {state}.backfill SET checkpoint = $2::jsonb, error = NULL, fetched = fetched + $3, inserted = inserted + $4,
        updated = updated + $5, unchanged = unchanged + $6, older = older + $7, set_aside = set_aside + $8,
        deleted_listed = deleted_listed + $12, moved_at = now(), state = CASE WHEN $9 THEN 'done' ELSE state END,
        ended_at = CASE WHEN $9 THEN now() END
    WHERE run = $1 AND owner = $10 AND state = 'running' AND checkpoint IS NOT DISTINCT FROM $11::jsonb";

/// After as long again as it has been refused already: what apps send meanwhile is tried too, and puts nothing off.
pub const SET_ASIDE: &str = "
    INSERT INTO {state}.set_aside AS a (id, sqlstate, reason, next_try)
    VALUES ($1, $2, $3, now() + make_interval(secs => 10))
    ON CONFLICT (id) DO UPDATE SET sqlstate = excluded.sqlstate, reason = excluded.reason,
        attempts = a.attempts + 1,
        next_try = CASE WHEN a.next_try > now() THEN a.next_try
            ELSE now() + least(greatest(now() - a.since, interval '10 s'), interval '1 hour') END";

/// What a block that tries an update is given: a block takes no parameters.
pub const TRY_GIVEN: &str = "
    SELECT set_config('usertap.try_id', $1, true), set_config('usertap.try_raw', $2, true), set_config('usertap.try_code', '', true),
           set_config('usertap.try_place', '', true)";

/// What it has found.
pub const TRY_FOUND: &str = "
    SELECT nullif(current_setting('usertap.try_code'), '') AS code, current_setting('usertap.try_place') AS place";

/// As the function try_row, for a row that stands. One that is gone by hand is not refused.
pub const TRY_UPDATE: &str = "
    DO $try$
    DECLARE
        code text := '';
        place text := '';
    BEGIN
        BEGIN
            UPDATE {users} SET {set} WHERE id = current_setting('usertap.try_id')::{id};
            IF NOT FOUND AND EXISTS (SELECT FROM {users} WHERE id = current_setting('usertap.try_id')::{id}) THEN
                code := 'suppressed';
            END IF;
            SET CONSTRAINTS ALL IMMEDIATE;
        EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
            GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, place = CONSTRAINT_NAME;
        END;
        PERFORM set_config('usertap.try_code', code, true), set_config('usertap.try_place', place, true);
    END
    $try$";

pub const TRY_DELETION: &str = "deleted_at = now(), updated_at = now()";

pub const TRY_QUIET: &str = "raw_json = current_setting('usertap.try_raw')::jsonb";

pub const VERSION: &str = "SELECT u.ctid::text AS version FROM {users} u WHERE u.id = $1::{id}";

pub const TAKEN: &str = "
    SELECT u.ctid::text IS DISTINCT FROM $2 OR (
        u.deleted_at IS NULL AND u.name IS NOT DISTINCT FROM $3 AND u.email IS NOT DISTINCT FROM $4
        AND u.raw_json = $5::jsonb) AS yes
    FROM {users} u WHERE u.id = $1::{id}";

pub const PURGE: &str = "DELETE FROM {users} WHERE id = $1::{id} AND deleted_at IS NOT NULL";

pub const STAYS_DELETED: &str =
    "SELECT EXISTS (SELECT FROM {users} WHERE id = $1::{id} AND deleted_at IS NOT NULL) AS yes";

pub const BLANK: &str = "
    WITH blanked AS (
        UPDATE {state}.changes SET name = NULL, email = NULL, created_at = NULL, updated_at = NULL,
            deleted_at = NULL, raw = NULL, before = NULL, blank = true
        WHERE id = $1 AND NOT blank)
    DELETE FROM {state}.set_aside WHERE id = $1";

/// One process at a time: two that took notes of one user would tell its changes out of turn.
pub const NEXT_NOTES: &str = "
    WITH mine AS MATERIALIZED (SELECT pg_try_advisory_xact_lock({lock}) AS yes)
    SELECT mine.yes AS is_ours, n.seq, n.id FROM mine LEFT JOIN LATERAL (
        SELECT seq, id FROM {state}.sql_changes WHERE mine.yes AND seq > $1 ORDER BY seq LIMIT $2) n ON true";

/// One for each user. What a trigger of the users' own wrote in a transaction of the recorder's is left out where the
/// feed has told the row as it stands: the change rows are written last.
pub const TAKE_NOTES: &str = "
    WITH taken AS (
        DELETE FROM {state}.sql_changes WHERE seq <= $1 AND id = ANY($2)
        RETURNING seq, noted_by, id, before, raw_differs, nested
    ), n AS (
        SELECT id, (array_agg(before::text ORDER BY seq))[1] AS before, bool_or(raw_differs) AS raw_differs,
            count(*) AS changes, count(DISTINCT noted_by::text) AS transactions, bool_and(nested) AS nested
        FROM taken GROUP BY id
    )
    SELECT n.* FROM n WHERE NOT (n.nested AND EXISTS (
        SELECT FROM {users} u CROSS JOIN LATERAL (
            SELECT * FROM {state}.changes c WHERE c.id = n.id ORDER BY c.position DESC LIMIT 1) c
        WHERE u.id = n.id::{id}
          AND (u.name, u.email, u.created_at, u.updated_at, u.deleted_at)
              IS NOT DISTINCT FROM (c.name, c.email, c.created_at, c.updated_at, c.deleted_at)
          AND (NOT n.raw_differs OR u.raw_json::jsonb IS NOT DISTINCT FROM c.raw)))";

/// What nobody ever saw is known from now on, so that it can be locked.
pub const MEET: &str = "
    INSERT INTO {state}.user_state (id, position, standing) SELECT id, 0, 'none' FROM unnest($1) AS n (id)
    ON CONFLICT (id) DO NOTHING";

/// Whose state is locked by another transaction.
pub const HELD: &str = "
    SELECT s.id FROM {state}.user_state s WHERE s.id = ANY($1) AND s.id NOT IN (
        SELECT free.id FROM (SELECT o.id FROM {state}.user_state o WHERE o.id = ANY($1) FOR UPDATE SKIP LOCKED) free)
    UNION SELECT u.id::text FROM {users} u WHERE u.id = ANY($1::text[]::{id}[]) AND u.id NOT IN (
        SELECT free.id FROM (
            SELECT o.id FROM {users} o WHERE o.id = ANY($1::text[]::{id}[]) FOR NO KEY UPDATE SKIP LOCKED) free)";

/// Locks states and rows, in the order in which everybody does, and leaves out whom somebody else has.
pub const HOLD: &str = "
    WITH free AS MATERIALIZED (
        SELECT s.id FROM {state}.user_state s WHERE s.id = ANY($1) FOR UPDATE SKIP LOCKED
    ), held AS MATERIALIZED (
        SELECT u.id FROM {users} u WHERE u.id = ANY(SELECT free.id::{id} FROM free) FOR NO KEY UPDATE SKIP LOCKED
    )
    SELECT free.id FROM free WHERE free.id::{id} IN (SELECT held.id FROM held)
        OR NOT EXISTS (SELECT FROM {users} u WHERE u.id = free.id::{id})";

/// Those first whose time it is, then those who were refused, by when they are to be tried again. Of whoever a read is
/// owed the provider may say that they are there: somebody has written `deleted_at` by hand. Where rows go at once no
/// time counts: the clock may have been ahead of itself.
pub const DUE_PURGES: &str = "
    SELECT s.id, extract(epoch FROM greatest(a.next_try, now()) - now())::float8 AS seconds
    FROM {state}.user_state s JOIN {users} u ON u.id = s.id::{id}
    LEFT JOIN {state}.set_aside a ON a.id = s.id
    WHERE s.standing = 'deleted' AND s.doubt IS NULL
        AND u.deleted_at <= CASE WHEN $1 = 0 THEN 'infinity' ELSE now() - make_interval(secs => $1) END
    ORDER BY greatest(a.next_try, now()), u.deleted_at LIMIT 100";

/// Rows of deleted users that could not be removed, where they may stay.
pub const MAY_STAY: &str = "
    DELETE FROM {state}.set_aside a USING {state}.user_state s
    WHERE s.id = a.id AND s.standing = 'deleted' AND s.refused IS NULL";

/// The server that this is: another one after each failover and each restore. Nothing on a standby.
pub const TIMELINE: &str = "
    SELECT CASE WHEN NOT pg_is_in_recovery() THEN
        (SELECT system_identifier FROM pg_control_system()) || '-' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)
        END AS timeline";

/// Whether a connection has come to another server without breaking, as behind a pooler.
pub const HAS_MOVED: &str = "right(timeline, 8) <> substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)";

pub const HAS_NOTES: &str = "
    SELECT EXISTS (SELECT FROM {state}.sql_changes) AS yes, (SELECT {has_moved} FROM {state}.meta WHERE only_row) AS has_moved,
           (SELECT epoch < $1 OR (epoch = $1 AND position < $2) FROM {state}.meta WHERE only_row) AS has_gone_back,
           (SELECT users_table IS DISTINCT FROM to_regclass({users_name})::oid FROM {state}.meta WHERE only_row) AS is_replaced,
           (SELECT count(*) < 4 FROM pg_trigger WHERE tgrelid = to_regclass({users_name}) AND tgenabled = 'A'
              AND tgname IN ({triggers})) AS is_deaf";

/// Says that the tables of one row have one: the planner takes them for hundreds, and compiles the
/// statement for a third of a second.
pub const HISTORY: &str = "
    SELECT m.history AS id, m.epoch, m.position, m.timeline, (extract(epoch FROM m.made_at) * 1000000)::bigint AS made_at,
           newest.position AS newest, newest.nonce,
           (SELECT coalesce(sum(e.skipped), 0)::bigint FROM {state}.epochs e) AS skipped,
           (SELECT min(e.certain) FROM {state}.epochs e WHERE e.epoch > $5
            AND EXISTS (SELECT FROM {state}.epochs e WHERE e.follows = $4)) AS certain,
           m.position >= $1 AND ($2 IS NULL OR $2 < f.position OR ($2 = f.position AND $3 = f.nonce) OR EXISTS (
               SELECT FROM {state}.changes c WHERE c.position = $2 AND c.nonce = $3)) AS is_ours
    FROM (SELECT * FROM {state}.meta WHERE only_row LIMIT 1) m CROSS JOIN (SELECT * FROM {state}.feed_floor LIMIT 1) f
    LEFT JOIN LATERAL (
        SELECT c.position, c.nonce FROM {state}.changes c ORDER BY c.position DESC LIMIT 1) newest ON true";

/// The usual reasons why nothing can be written, as the SQLSTATE that a client does not get to see. Who waits for
/// the whole table already has everybody else behind it.
pub const DIAGNOSE: &str = "
    SELECT CASE
        WHEN to_regclass($1) IS NULL OR to_regclass($2) IS NULL OR to_regclass($3) IS NULL
            OR to_regclass($5) IS NULL THEN '42P01'
        WHEN pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean THEN '25006'
        WHEN EXISTS (
            SELECT FROM pg_locks WHERE locktype = 'relation' AND relation = to_regclass($1)
              AND pid <> pg_backend_pid()
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')) THEN '55P03'
        WHEN NOT (has_table_privilege($1, 'SELECT') AND has_table_privilege($1, 'INSERT')
                  AND has_table_privilege($1, 'UPDATE')
                  AND has_table_privilege($2, 'SELECT') AND has_table_privilege($2, 'INSERT')
                  AND has_table_privilege($2, 'UPDATE') AND has_table_privilege($2, 'DELETE')
                  AND has_table_privilege($3, 'SELECT') AND has_table_privilege($3, 'INSERT')
                  AND has_table_privilege($5, 'SELECT') AND has_table_privilege($5, 'UPDATE')) THEN '42501'
        WHEN to_regproc($4) IS NULL THEN '42883'
        WHEN (SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass($1) AND NOT attisdropped AND attname IN
                  ('id', 'name', 'email', 'created_at', 'updated_at', 'deleted_at', 'raw_json')) < 7 THEN '42703'
        WHEN row_security_active($1) AND NOT coalesce((
            SELECT bool_or(polcmd IN ('*', 'a')) AND bool_or(polcmd IN ('*', 'w'))
            FROM pg_policy WHERE polrelid = to_regclass($1) AND polpermissive
              AND EXISTS (SELECT FROM unnest(polroles) AS r WHERE CASE r WHEN 0 THEN true ELSE pg_has_role(r, 'USAGE') END)
            ), false)
            THEN '42501'
        END AS code, NULL AS place";

/// What does not speak for a row that is refused alone, but explains why all are: the SQLSTATE, or what the server
/// calls a wait that has none; or who holds the lock of positions. Something has been refused already, so whatever waits for
/// a standby counts, not commits alone as in the status.
pub const DIAGNOSE_ALL: &str = "
    WITH holder AS (
        SELECT l.pid, coalesce(l.pid::text, l.virtualtransaction) AS hold, a.usename, a.application_name FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
        WHERE l.locktype = 'advisory' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid() AND l.objsubid = 1
          AND (l.classid::bigint << 32 | l.objid::bigint) = {lock}
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        LIMIT 1)
    SELECT d.code, CASE WHEN d.code LIKE 'positions %' THEN (
            SELECT CASE
                WHEN h.pid IS NULL THEN 'a prepared transaction: pg_prepared_xacts names it, and ROLLBACK PREPARED ends it'
                ELSE format('process %s (role %s, application %s): SELECT pg_terminate_backend(%1$s) ends it',
                            h.pid, h.usename, h.application_name) END
            FROM holder h) END AS place
    FROM (SELECT CASE
        WHEN (SELECT atttypid FROM pg_attribute WHERE attrelid = to_regclass({users_name}) AND attname = 'id')
            <> '{id}'::regtype THEN '42804'
        WHEN EXISTS (
            SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'SyncRep'
              AND query_start < clock_timestamp() - interval '1 s') THEN 'SyncRep'
        ELSE (SELECT 'positions ' || hold FROM holder)
        END AS code) d";

/// Only behind the history that was found: another process may have been quicker. Who stands before the
/// first change has nothing that could be lost, and goes on.
pub const NEW_EPOCH: &str = "
    WITH begun AS (
        UPDATE {state}.meta SET epoch = greatest(epoch, $2) + 1, history = gen_random_uuid(), position = $3,
            timeline = coalesce($4, timeline)
        WHERE history = $1 AND position < $3
        RETURNING history AS id, epoch, position, timeline, made_at
    ), noted AS (
        INSERT INTO {state}.epochs (epoch, follows, certain, skipped) SELECT epoch, $1, $5, $3 - $6 FROM begun
        RETURNING skipped
    ), kept AS (
        UPDATE {state}.feed_floor SET nonce = coalesce(nonce, ('x' || left($1::text, 8))::bit(32)::integer)
        FROM begun)
    SELECT begun.id, begun.epoch, begun.position, begun.timeline,
           (extract(epoch FROM begun.made_at) * 1000000)::bigint AS made_at,
           newest.position AS newest, newest.nonce,
           noted.skipped + (SELECT coalesce(sum(e.skipped), 0)::bigint FROM {state}.epochs e) AS skipped,
           NULL::bigint AS certain, true AS is_ours
    FROM begun CROSS JOIN noted LEFT JOIN LATERAL (
        SELECT c.position, c.nonce FROM {state}.changes c ORDER BY c.position DESC LIMIT 1) newest ON true";

pub const NOTE_UNKNOWN: &str = "
    UPDATE {state}.epochs SET unknown_at = now() WHERE epoch = (SELECT epoch FROM {state}.meta)";

pub const TAKE_PLACE: &str = "
    WITH before AS (SELECT recorder FROM {state}.meta FOR UPDATE)
    UPDATE {state}.meta m SET recorder = $1, timeline = coalesce(m.timeline, $2),
        users_table = CASE WHEN {is_made} THEN m.users_table ELSE to_regclass({users_name}) END
    RETURNING (SELECT recorder FROM before) AS recorder";
