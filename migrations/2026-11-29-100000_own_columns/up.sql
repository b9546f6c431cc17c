-- Columns that the app has added to the users' table are its own: what it writes there is no change of a user, and
-- nobody is read again for it. Settings as for the first migration.
DO $do$
DECLARE
    ours text := '(%1$s.id, %1$s.name, %1$s.email, %1$s.created_at, %1$s.updated_at, %1$s.deleted_at, %1$s.raw_json)';
BEGIN
    EXECUTE format($f$
        CREATE OR REPLACE FUNCTION note_update() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            INSERT INTO %1$I.sql_changes (nested, id, before, raw_differs)
            SELECT coalesce(current_setting('usertap.recorder', true) = 'on', false), coalesce(o.id, n.id)::text,
                CASE WHEN o.id IS NOT NULL THEN jsonb_build_object('name', o.name, 'email', o.email,
                    'created_at', o.created_at, 'updated_at', o.updated_at, 'deleted_at', o.deleted_at) END,
                o.raw_json IS DISTINCT FROM n.raw_json
            FROM old_rows o FULL JOIN new_rows n ON n.id = o.id WHERE %2$s IS DISTINCT FROM %3$s;
            IF FOUND THEN
                PERFORM pg_notify(%4$L, 'sql');
            END IF;
            RETURN NULL;
        END
        $body$
        $f$, current_setting('usertap.state_schema'), format(ours, 'o'), format(ours, 'n'),
        current_setting('usertap.channel'));
END
$do$;
