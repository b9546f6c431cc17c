-- Changes that somebody else takes away move the floor too: who reads on from before it is told, and passes over
-- nothing. Settings as for the first migration.
ALTER TABLE feed_floor
    -- Numbers of those that were made and not dropped: one that is missing was taken away by somebody else.
    ADD COLUMN partitions bigint[] NOT NULL DEFAULT '{}';

UPDATE feed_floor SET partitions = coalesce((
    SELECT array_agg(substr(c.relname, 9)::bigint) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'changes'::regclass AND c.relname ~ '^changes_[0-9]{1,18}$'), '{}');

DO $do$
DECLARE
    state text := quote_ident(current_setting('usertap.state_schema'));
    made record;
BEGIN
    EXECUTE format($f$
        CREATE FUNCTION changes_deleted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            UPDATE %1$s.feed_floor f SET position = o.position, nonce = o.nonce
            FROM (SELECT position, nonce FROM old_rows ORDER BY position DESC LIMIT 1) o WHERE f.position < o.position;
            RETURN NULL;
        END
        $body$
        $f$, state);
    EXECUTE format($f$
        CREATE FUNCTION changes_truncated() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            EXECUTE format('UPDATE %1$s.feed_floor f SET position = o.position, nonce = o.nonce
                FROM (SELECT position, nonce FROM %%I.%%I ORDER BY position DESC LIMIT 1) o WHERE f.position < o.position',
                TG_TABLE_SCHEMA, TG_TABLE_NAME);
            RETURN NULL;
        END
        $body$
        $f$, state);
    -- Statements that name a partition run its own triggers alone.
    FOR made IN SELECT 'changes'::regclass AS name
        UNION ALL SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'changes'::regclass
    LOOP
        EXECUTE format('CREATE TRIGGER usertap_deleted AFTER DELETE ON %s REFERENCING OLD TABLE AS old_rows
            FOR EACH STATEMENT EXECUTE FUNCTION %s.changes_deleted()', made.name, state);
        EXECUTE format('CREATE TRIGGER usertap_truncated BEFORE TRUNCATE ON %s
            FOR EACH STATEMENT EXECUTE FUNCTION %s.changes_truncated()', made.name, state);
    END LOOP;
END
$do$;
