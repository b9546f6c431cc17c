-- A trigger of the users' own may write other rows of the users' table in the recorder's very transaction: that is
-- told too. Settings as for the first migration.
ALTER TABLE sql_changes
    -- Written so: the feed tells of it, and the row is left as that trigger wants it.
    ADD COLUMN nested boolean NOT NULL DEFAULT false;

-- What is there once this has run.
CREATE INDEX sql_changes_nested ON sql_changes (id) WHERE nested;

DO $do$
DECLARE
    users text := format('%I.users_sync', current_setting('usertap.users_schema'));
    state text := quote_ident(current_setting('usertap.state_schema'));
    channel text := current_setting('usertap.channel');
    before text := $b$jsonb_build_object('name', o.name, 'email', o.email, 'created_at', o.created_at,
                'updated_at', o.updated_at, 'deleted_at', o.deleted_at)$b$;
    note text := 'INSERT INTO %1$s.sql_changes (nested, id, before, raw_differs)
                SELECT coalesce(current_setting(''usertap.recorder'', true) = ''on'', false), ';
    body text := $f$
        CREATE OR REPLACE FUNCTION note_%4$s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
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
        WHEN (current_setting('usertap.recorder', true) IS DISTINCT FROM 'on' OR pg_trigger_depth() > 0)
        EXECUTE FUNCTION note_%2$s()
        $t$;
    made record;
BEGIN
    -- Where somebody dropped the table, `usertap migrate` makes its triggers with it.
    IF to_regclass(users) IS NULL THEN
        users := NULL;
    END IF;
    FOR made IN SELECT * FROM (VALUES
        ('insert', 'AFTER INSERT', 'REFERENCING NEW TABLE AS new_rows',
            'n.id::text, NULL, true FROM new_rows n'),
        ('update', 'AFTER UPDATE', 'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows',
            'coalesce(o.id, n.id)::text, CASE WHEN o.id IS NOT NULL THEN ' || before || ' END,
                o.raw_json IS DISTINCT FROM n.raw_json
             FROM old_rows o FULL JOIN new_rows n ON n.id = o.id WHERE o IS DISTINCT FROM n'),
        ('delete', 'AFTER DELETE', 'REFERENCING OLD TABLE AS old_rows',
            'o.id::text, ' || before || ', true FROM old_rows o'),
        ('truncate', 'BEFORE TRUNCATE', '',
            'o.id::text, ' || before || ', true FROM ' || format('%I.users_sync', current_setting('usertap.users_schema')) || ' o')
    ) AS kinds (name, at, tables, rows)
    LOOP
        EXECUTE format(body, state, users, channel, made.name, format(note, state) || made.rows);
        IF users IS NOT NULL THEN
            EXECUTE format('DROP TRIGGER IF EXISTS usertap_%s ON %s', made.name, users);
            EXECUTE format(hook, users, made.name, made.at, made.tables);
            EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER usertap_%s', users, made.name);
        END IF;
    END LOOP;
END
$do$;
