-- What is published with every other table (FOR ALL TABLES) can be deleted only by a key.
ALTER TABLE unasked_deletions ADD COLUMN seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;

-- Columns that the users have added are theirs alone: of a type that knows no equality (json, point), to compare them
-- failed whoever wrote one. Compared as they are stored, so that a type of ours that they have changed stops nobody
-- either. Settings as for the first migration.
DO $do$
BEGIN
    EXECUTE format($f$
        CREATE OR REPLACE FUNCTION note_update() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            INSERT INTO %1$I.sql_changes (nested, id, before, raw_differs)
            SELECT coalesce(current_setting('usertap.recorder', true) = 'on', false), coalesce(o.id, n.id)::text,
                CASE WHEN o.id IS NOT NULL THEN jsonb_build_object('name', o.name, 'email', o.email,
                    'created_at', o.created_at, 'updated_at', o.updated_at, 'deleted_at', o.deleted_at) END,
                ROW(o.raw_json)::record *<> ROW(n.raw_json)::record
            FROM old_rows o FULL JOIN new_rows n ON n.id = o.id
            WHERE o.id IS NULL OR n.id IS NULL
                OR ROW(o.name, o.email, o.created_at, o.updated_at, o.deleted_at, o.raw_json)::record
                    *<> ROW(n.name, n.email, n.created_at, n.updated_at, n.deleted_at, n.raw_json)::record;
            IF FOUND THEN
                PERFORM pg_notify(%2$L, 'sql');
            END IF;
            RETURN NULL;
        END
        $body$
        $f$,
        current_setting('usertap.state_schema'),
        current_setting('usertap.channel'));
END
$do$;
