-- Runs with search_path at usertap's own schema and three settings made by src/db/migrate.rs:
-- usertap.users_schema, usertap.state_schema, usertap.id_type.

-- The users' table: nothing in it but what they were promised.
DO $$
BEGIN
    EXECUTE format(
        'CREATE TABLE %I.users_sync (
            id %s PRIMARY KEY,
            name text,
            email text,
            created_at timestamptz,
            updated_at timestamptz,
            deleted_at timestamptz,
            raw_json jsonb NOT NULL
        )',
        current_setting('usertap.users_schema'),
        current_setting('usertap.id_type'));
    EXECUTE format(
        'COMMENT ON TABLE %I.users_sync IS %L',
        current_setting('usertap.users_schema'),
        'Users of the auth provider, kept by usertap. Reference it; do not write to it or rename it.');
END
$$;

-- One row: which history this database tells, and whose.
CREATE TABLE meta (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    -- Changed when commits may have been lost (failover, restored backup).
    history uuid NOT NULL DEFAULT gen_random_uuid(),
    epoch bigint NOT NULL DEFAULT 1,
    -- The last position given out; positions are in commit order.
    position bigint NOT NULL DEFAULT 0,
    -- The highest position among tombstones that were removed.
    floor bigint NOT NULL DEFAULT 0,
    provider text,
    tenant jsonb,
    id_type text NOT NULL,
    users_schema text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 20);

INSERT INTO meta (id_type, users_schema)
VALUES (current_setting('usertap.id_type'), current_setting('usertap.users_schema'));

-- What is known of each user; outlives the row.
CREATE TABLE user_state (
    id text COLLATE "C" PRIMARY KEY,
    -- Of the last change.
    position bigint NOT NULL,
    -- What stands in users_sync: nothing, a row with only the id, the user, a deleted user.
    standing text NOT NULL CHECK (standing IN ('none', 'skeleton', 'present', 'deleted', 'purged')),
    -- The provider's own version, where it can be trusted.
    version bigint,
    content bytea,
    volatile bytea,
    volatile_at timestamptz,
    -- A read sent after this position is owed.
    doubt bigint,
    -- The content that the database refused.
    refused bytea
) WITH (fillfactor = 80);

CREATE INDEX user_state_doubts ON user_state (doubt) WHERE doubt IS NOT NULL;
CREATE INDEX user_state_deleted ON user_state (id) WHERE standing = 'deleted';

-- Every change, in commit order. Partitions are made ahead by src/db/partitions.rs.
CREATE TABLE changes (
    position bigint NOT NULL,
    -- Part of the public position: a restored backup cannot repeat it.
    nonce integer NOT NULL,
    id text COLLATE "C" NOT NULL,
    type text NOT NULL,
    changed text[] NOT NULL DEFAULT '{}',
    name text,
    email text,
    created_at timestamptz,
    updated_at timestamptz,
    deleted_at timestamptz,
    raw jsonb,
    before jsonb,
    -- The user was purged: what the change held of it is gone.
    blank boolean NOT NULL DEFAULT false,
    origin text NOT NULL,
    route text,
    request_id text,
    committed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (position)
) PARTITION BY RANGE (position);

CREATE INDEX changes_id ON changes (id);

-- Users whose row the database refused, with the reason and the next attempt.
CREATE TABLE set_aside (
    id text COLLATE "C" PRIMARY KEY,
    sqlstate text NOT NULL,
    reason text NOT NULL,
    attempts integer NOT NULL DEFAULT 1,
    since timestamptz NOT NULL DEFAULT now(),
    next_try timestamptz NOT NULL
);

-- Live processes; a heartbeat that stopped is a process that died.
CREATE TABLE instances (
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now()
);

-- Walks over all users of the provider: where they stand, and their account.
CREATE TABLE backfill (
    run uuid PRIMARY KEY,
    state text NOT NULL CHECK (state IN ('requested', 'running', 'done', 'failed')),
    owner uuid,
    checkpoint jsonb,
    fetched bigint NOT NULL DEFAULT 0,
    inserted bigint NOT NULL DEFAULT 0,
    updated bigint NOT NULL DEFAULT 0,
    unchanged bigint NOT NULL DEFAULT 0,
    older bigint NOT NULL DEFAULT 0,
    set_aside bigint NOT NULL DEFAULT 0,
    resumed integer NOT NULL DEFAULT 0,
    total bigint,
    error text,
    started_at timestamptz NOT NULL DEFAULT now(),
    moved_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz
);

CREATE UNIQUE INDEX backfill_one_at_a_time ON backfill ((true)) WHERE state IN ('requested', 'running');

-- Writes one row and says how the database refused it, if it did; an error here would take the
-- whole transaction with it, and a client's error does not carry the code. Of the message nothing
-- is kept: it may quote the user's data. Deferred constraints are asked at once, while their answer
-- can still be told; a trigger that runs too long is no reason to stop (OTHERS leaves out these two).
DO $do$
BEGIN
    EXECUTE format(
        $fn$
        CREATE FUNCTION try_row(
            row_id text, row_name text, row_email text, row_created_at timestamptz,
            row_updated_at timestamptz, row_raw text,
            OUT code text, OUT place text)
        LANGUAGE plpgsql AS $body$
        BEGIN
            INSERT INTO %1$I.users_sync AS u (id, name, email, created_at, updated_at, raw_json)
            VALUES (row_id::%2$s, row_name, row_email, row_created_at, coalesce(row_updated_at, now()), row_raw::jsonb)
            ON CONFLICT (id) DO UPDATE SET
                name = excluded.name, email = excluded.email, created_at = excluded.created_at,
                updated_at = excluded.updated_at, deleted_at = NULL, raw_json = excluded.raw_json;
            SET CONSTRAINTS ALL IMMEDIATE;
        EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
            GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, place = CONSTRAINT_NAME;
        END
        $body$
        $fn$,
        current_setting('usertap.users_schema'),
        current_setting('usertap.id_type'));
END
$do$;
