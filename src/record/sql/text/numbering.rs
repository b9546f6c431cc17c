//! Giving out positions: change rows and states under one base, in one statement.

/// Change rows and states under one base. New states that another process has made meanwhile are left to it.
pub fn number(has_moved: &str) -> String {
    NUMBER
        .replace("{moved}", MOVED)
        .replace("{moved_states}", "(SELECT count(*) FROM moved)")
        .replace("{conflict}", "ON CONFLICT (id) DO NOTHING")
        .replace("{base}", BASE)
        .replace("{has_moved}", has_moved)
}

/// The same where all states are new.
pub fn number_new(has_moved: &str) -> String {
    NUMBER
        .replace("{moved}", "")
        .replace("{moved_states}", "0")
        .replace("{conflict}", "")
        .replace("{base}", BASE)
        .replace("{has_moved}", has_moved)
}

/// The same where they are new and alike.
pub fn number_alike(has_moved: &str) -> String {
    NUMBER_ALIKE
        .replace("{base}", BASE)
        .replace("{has_moved}", has_moved)
}

const MOVED: &str = "moved AS (
        UPDATE {state}.user_state t SET
            position = coalesce(base.base + s.place, s.position), standing = s.standing, version = s.version,
            content = s.content, volatile = s.volatile, volatile_at = s.volatile_at,
            doubt = coalesce(base.base + s.doubt_place, s.doubt), refused = s.refused
        FROM base, s WHERE t.id = s.id AND NOT s.is_new RETURNING 1
    ),";

/// `only_row` has `meta` read by its key, once more than a page of it is left of what a long transaction has kept.
const BASE: &str = "
        UPDATE {state}.meta SET position = position + $1 WHERE only_row
        RETURNING position - $1 AS base, epoch, users_table <> {users_name}::regclass AS is_replaced,
            {has_moved} AS has_moved";

const NUMBER: &str = "
    WITH base AS ({base}
    ), logged AS (
        INSERT INTO {state}.changes (position, nonce, id, type, changed, name, email, created_at, updated_at,
            deleted_at, raw, before, origin, route, request_id)
        SELECT base.base + c.place, c.nonce, c.id, c.type, c.changed::text[], u.name, u.email, u.created_at,
            u.updated_at, u.deleted_at, u.raw_json, c.before::jsonb, c.origin, c.route, c.request_id
        FROM base, unnest($2, $3, $4, $5, $6, $7, $8, $9, $10)
            AS c (place, nonce, id, type, changed, before, origin, route, request_id)
        LEFT JOIN {users} u ON u.id = c.id::{id}
    ), s AS (
        SELECT * FROM unnest($11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22) AS s
            (id, is_new, position, place, standing, version, content, volatile, volatile_at, doubt,
             doubt_place, refused)
    ), {moved} made AS (
        INSERT INTO {state}.user_state (id, position, standing, version, content, volatile, volatile_at,
            doubt, refused)
        SELECT s.id, coalesce(base.base + s.place, s.position), s.standing, s.version, s.content, s.volatile,
            s.volatile_at, coalesce(base.base + s.doubt_place, s.doubt), s.refused
        FROM base, s WHERE s.is_new {conflict} RETURNING 1
    )
    SELECT base.base, base.epoch, base.is_replaced, base.has_moved,
        {moved_states} + (SELECT count(*) FROM made) AS states,
        CASE WHEN cardinality($2) > 0 THEN pg_notify({channel}, (base.base + $1)::text)::text END AS told
    FROM base";

/// What is the same of all of them is given once.
const NUMBER_ALIKE: &str = "
    WITH base AS ({base}
    ), logged AS (
        INSERT INTO {state}.changes (position, nonce, id, type, name, email, created_at, updated_at,
            deleted_at, raw, origin, route, request_id)
        SELECT base.base + c.place, c.nonce, c.id, $9, u.name, u.email, u.created_at,
            u.updated_at, u.deleted_at, u.raw_json, $10, $11, $12
        FROM base, unnest($2, $3, $4) AS c (place, nonce, id)
        LEFT JOIN {users} u ON u.id = c.id::{id}
    ), made AS (
        INSERT INTO {state}.user_state (id, position, standing, version, content, volatile, volatile_at)
        SELECT s.id, base.base + s.place, $13, s.version, s.content, s.volatile, s.volatile_at
        FROM base, unnest($2, $4, $5, $6, $7, $8) AS s (place, id, version, content, volatile, volatile_at)
        RETURNING 1
    )
    SELECT base.base, base.epoch, base.is_replaced, base.has_moved, (SELECT count(*) FROM made) AS states,
        pg_notify({channel}, (base.base + $1)::text)::text AS told
    FROM base";
