-- A transaction that has notified anybody cannot be prepared (PREPARE TRANSACTION). Where the server lets any be, what was
-- noted is found at the next look. Settings as for the first migration.
DO $do$
DECLARE
    made record;
BEGIN
    FOR made IN SELECT p.oid FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname = current_setting('usertap.state_schema')
          AND p.proname IN ('note_insert', 'note_update', 'note_delete', 'note_truncate')
    LOOP
        EXECUTE replace(pg_get_functiondef(made.oid), 'IF FOUND THEN',
            'IF FOUND AND current_setting(''max_prepared_transactions'') = ''0'' THEN');
    END LOOP;
END
$do$;
