-- Live processes share the provider's limit: what part of it each holds (of all together never more
-- than 1), what it could use of it, and until when the provider wants nothing.
ALTER TABLE instances
    ADD COLUMN share double precision NOT NULL DEFAULT 0,
    ADD COLUMN apps double precision NOT NULL DEFAULT 0,
    ADD COLUMN own double precision NOT NULL DEFAULT 0,
    ADD COLUMN everyone_until timestamptz,
    ADD COLUMN own_until timestamptz;
