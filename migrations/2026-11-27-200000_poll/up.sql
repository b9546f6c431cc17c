-- How far the provider's changes were read, and by whom. One row.
CREATE TABLE poll (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    -- As src/provider/poll.rs has it; none before the first time.
    place jsonb,
    owner uuid,
    -- When there was last nothing more to read.
    done_at timestamptz
);

INSERT INTO poll DEFAULT VALUES;
