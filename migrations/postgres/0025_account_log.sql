-- What concerns a person alone, whichever threads they follow: a log for each account, with positions as threads have
-- them.

CREATE TABLE account_logs (
    account_id uuid NOT NULL PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    last_seq bigint NOT NULL,
    -- Which life of the log this is: another after a restore.
    epoch bigint NOT NULL,
    -- What was last told to be unread.
    unread jsonb NOT NULL
);

-- The newest of them.
CREATE TABLE account_events (
    account_id uuid NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    seq bigint NOT NULL,
    change jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, seq)
);
