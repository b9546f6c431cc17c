-- Which table users_sync is: one that takes its name after a RENAME is another, and foreign keys point
-- to the first.
ALTER TABLE meta ADD COLUMN users_table oid;
UPDATE meta SET users_table = format('%I.users_sync', users_schema)::regclass;
