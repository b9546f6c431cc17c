-- What the change feed needs beside the change rows. Settings as for the first migration.

-- One row: the last change whose partition was dropped. Everything after it is kept.
CREATE TABLE feed_floor (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    position bigint NOT NULL DEFAULT 0,
    -- Of that change. While nothing was dropped, a part of the history's own id stands for it.
    nonce integer
);

INSERT INTO feed_floor DEFAULT VALUES;

-- Named consumers whose position usertap keeps.
CREATE TABLE slots (
    name text COLLATE "C" PRIMARY KEY,
    -- Everything up to this change has been taken.
    position bigint NOT NULL,
    nonce integer NOT NULL,
    -- One reader at a time.
    lease uuid,
    leased_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    advanced_at timestamptz NOT NULL DEFAULT now()
);

-- Rows of the users' table that somebody else changed; the recorder gives them positions.
CREATE TABLE sql_changes (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text COLLATE "C" NOT NULL,
    -- The columns before, none for a new row.
    before jsonb,
    raw_differs boolean NOT NULL
);

-- Run for whoever changes a row, who needs no right to usertap's own tables for it. The recorder's
-- own transactions set usertap.recorder and are left out. Also where triggers are off for
-- replication: what a subscription writes is a change like another.
DO $do$
DECLARE
    users text := format('%I.users_sync', current_setting('usertap.users_schema'));
    state text := quote_ident(current_setting('usertap.state_schema'));
    channel text := current_setting('usertap.channel');
    before text := $b$jsonb_build_object('name', o.name, 'email', o.email, 'created_at', o.created_at,
                'updated_at', o.updated_at, 'deleted_at', o.deleted_at)$b$;
    note text := 'INSERT INTO %1$s.sql_changes (id, before, raw_differs) ';
    body text := $f$
        CREATE FUNCTION note_%4$s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            %5$s;
            IF FOUND THEN
                PERFORM pg_notify(%3$L, 'sql');
            END IF;
            RETURN NULL;
        END
        $body$
        $f$;
    hook text := $t$
        CREATE TRIGGER usertap_%2$s %3$s ON %1$s %4$s FOR EACH STATEMENT
        WHEN (current_setting('usertap.recorder', true) IS DISTINCT FROM 'on')
        EXECUTE FUNCTION note_%2$s()
        $t$;
    made record;
BEGIN
    FOR made IN SELECT * FROM (VALUES
        ('insert', 'AFTER INSERT', 'REFERENCING NEW TABLE AS new_rows',
            'SELECT n.id::text, NULL, true FROM new_rows n'),
        ('update', 'AFTER UPDATE', 'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows',
            'SELECT coalesce(o.id, n.id)::text, CASE WHEN o.id IS NOT NULL THEN ' || before || ' END,
                o.raw_json IS DISTINCT FROM n.raw_json
             FROM old_rows o FULL JOIN new_rows n ON n.id = o.id WHERE o IS DISTINCT FROM n'),
        ('delete', 'AFTER DELETE', 'REFERENCING OLD TABLE AS old_rows',
            'SELECT o.id::text, ' || before || ', true FROM old_rows o'),
        ('truncate', 'BEFORE TRUNCATE', '',
            'SELECT o.id::text, ' || before || ', true FROM ' || users || ' o')
    ) AS kinds (name, at, tables, rows)
    LOOP
        EXECUTE format(body, state, users, channel, made.name, format(note, state) || made.rows);
        EXECUTE format(hook, users, made.name, made.at, made.tables);
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER usertap_%s', users, made.name);
    END LOOP;
END
$do$;
