-- From when on the provider could not say any more what had changed, and when that was noticed. Made
-- good by a reconcile that begins after it.
ALTER TABLE poll
    ADD COLUMN missed_from timestamptz,
    ADD COLUMN missed_noticed_at timestamptz;
