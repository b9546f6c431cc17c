ALTER TABLE meta DROP COLUMN users_table;
