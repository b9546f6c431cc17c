-- A walk that also looks for missed deletions: whoever it did not meet is read once more.
ALTER TABLE backfill
    ADD COLUMN kind text NOT NULL DEFAULT 'backfill' CHECK (kind IN ('backfill', 'reconcile')),
    -- Somebody has said yes: deletions are not held back.
    ADD COLUMN lifted boolean NOT NULL DEFAULT false,
    -- The last position when it was asked for: who has changed since is not missing.
    ADD COLUMN since bigint NOT NULL DEFAULT 0,
    -- Not met, and gone.
    ADD COLUMN deleted bigint NOT NULL DEFAULT 0,
    -- Not met, and there all the same.
    ADD COLUMN spared bigint NOT NULL DEFAULT 0,
    -- Not met, and not read: there were too many.
    ADD COLUMN held_back bigint NOT NULL DEFAULT 0;

DROP INDEX backfill_one_at_a_time;
CREATE UNIQUE INDEX backfill_one_at_a_time ON backfill (kind) WHERE state IN ('requested', 'running');

-- Whom the reconcile under way has met.
CREATE TABLE met (id text COLLATE "C" PRIMARY KEY);

-- One row for each deletion that nobody asked for: what bounds them, across restarts.
CREATE TABLE unasked_deletions (at timestamptz NOT NULL DEFAULT now());
CREATE INDEX unasked_deletions_at ON unasked_deletions (at);
