DO $$
DECLARE
    kind text;
BEGIN
    FOREACH kind IN ARRAY ARRAY['insert', 'update', 'delete', 'truncate'] LOOP
        EXECUTE format('DROP TRIGGER usertap_%s ON %I.users_sync', kind, current_setting('usertap.users_schema'));
        EXECUTE format('DROP FUNCTION note_%s', kind);
    END LOOP;
END
$$;
DROP TABLE sql_changes, slots, feed_floor;
