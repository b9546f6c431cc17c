-- The whole database may be moved by logical replication, which leaves sequences as they are.
ALTER TABLE unasked_deletions DROP COLUMN seq, ADD COLUMN key uuid PRIMARY KEY DEFAULT gen_random_uuid();

-- A subscription that brings the notes brings those of the rows that it copies too: noted here anew they would stand where
-- those are to come, and nothing would come any more. Of what it brings afterwards no trigger of a statement is told.
-- Settings as for the first migration.
DO $do$
DECLARE
    made record;
    told_there text := format($b$
            IF current_setting('session_replication_role') = 'replica' AND EXISTS (
                SELECT FROM pg_stat_subscription s JOIN pg_subscription_rel r ON r.srsubid = s.subid
                WHERE s.pid = pg_backend_pid() AND r.srrelid = to_regclass(%L)
            ) THEN
                RETURN NULL;
            END IF;$b$, format('%I.sql_changes', current_setting('usertap.state_schema')));
BEGIN
    FOR made IN SELECT pg_get_functiondef(p.oid) AS text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname = current_setting('usertap.state_schema')
          AND p.proname IN ('note_insert', 'note_update', 'note_delete', 'note_truncate')
    LOOP
        EXECUTE overlay(made.text placing 'BEGIN' || told_there
            FROM strpos(made.text, '$function$') - 1 + strpos(substr(made.text, strpos(made.text, '$function$')), 'BEGIN')
            FOR length('BEGIN'));
    END LOOP;
END
$do$;
