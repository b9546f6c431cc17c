-- The users' table as the migrations make it, and what tells of every user that the row is gone: as if somebody
-- had emptied it by hand. Settings and search_path as for the migrations.
DO $do$
DECLARE
    users text := format('%I.users_sync', current_setting('usertap.users_schema'));
    hook text := $t$
        CREATE TRIGGER usertap_%2$s %3$s ON %1$s %4$s FOR EACH STATEMENT
        WHEN (current_setting('usertap.recorder', true) IS DISTINCT FROM 'on' OR pg_trigger_depth() > 0)
        EXECUTE FUNCTION note_%2$s()
        $t$;
    made record;
BEGIN
    EXECUTE format(
        'CREATE TABLE %s (
            id %s PRIMARY KEY,
            name text,
            email text,
            created_at timestamptz,
            updated_at timestamptz,
            deleted_at timestamptz,
            raw_json jsonb NOT NULL
        )',
        users,
        current_setting('usertap.id_type'));
    EXECUTE format(
        'COMMENT ON TABLE %s IS %L',
        users,
        'Users of the auth provider, kept by usertap. Reference it; do not write to it or rename it.');
    FOR made IN SELECT * FROM (VALUES
        ('insert', 'AFTER INSERT', 'REFERENCING NEW TABLE AS new_rows'),
        ('update', 'AFTER UPDATE', 'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows'),
        ('delete', 'AFTER DELETE', 'REFERENCING OLD TABLE AS old_rows'),
        ('truncate', 'BEFORE TRUNCATE', '')
    ) AS kinds (name, at, tables)
    LOOP
        EXECUTE format(hook, users, made.name, made.at, made.tables);
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER usertap_%s', users, made.name);
    END LOOP;
    UPDATE meta SET users_table = users::regclass;
    INSERT INTO sql_changes (id, raw_differs)
    SELECT id, true FROM user_state WHERE standing IN ('skeleton', 'present', 'deleted') ORDER BY id;
    PERFORM pg_notify(current_setting('usertap.channel'), 'sql');
END
$do$;
