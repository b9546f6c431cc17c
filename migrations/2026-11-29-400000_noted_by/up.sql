ALTER TABLE sql_changes
    -- The transaction as a whole: what is behind a savepoint has a number of its own in the row itself.
    ADD COLUMN noted_by xid8 NOT NULL DEFAULT pg_current_xact_id();
