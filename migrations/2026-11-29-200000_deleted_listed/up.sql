ALTER TABLE backfill
    -- Of those who were met and updated: the provider's list shows them as deleted.
    ADD COLUMN deleted_listed bigint NOT NULL DEFAULT 0;
