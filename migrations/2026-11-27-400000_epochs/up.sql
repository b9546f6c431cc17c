-- The server that wrote last, as it names its own history: another one (a standby that took over, a restored
-- backup) may lack commits. None where the server does not tell.
ALTER TABLE meta ADD COLUMN timeline text;

-- Epochs that followed another, so that each process learns from where on what it had seen may be lost.
CREATE TABLE epochs (
    epoch bigint PRIMARY KEY,
    -- meta.history of the epoch before.
    follows uuid NOT NULL,
    -- What was committed up to here in the epoch before is certain.
    certain bigint NOT NULL,
    -- Positions left out, so that none is ever used twice.
    skipped bigint NOT NULL,
    begun_at timestamptz NOT NULL DEFAULT now(),
    -- Somebody did not know any more all of whom it had written since: a whole reconcile is owed.
    unknown_at timestamptz
);

-- Strangers of whom a not-found was seen while several processes recorded: they go after a while.
CREATE INDEX user_state_strangers ON user_state (position) WHERE standing = 'none';
