DROP FUNCTION try_row;
DROP TABLE changes;
DROP TABLE user_state, set_aside, instances, backfill, meta;
DO $$
BEGIN
    EXECUTE format('DROP TABLE %I.users_sync', current_setting('usertap.users_schema'));
END
$$;
