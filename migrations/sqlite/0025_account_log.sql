-- What concerns a person alone, whichever threads they follow: a log for each account, with positions as threads have
-- them.

CREATE TABLE account_logs (
    account_id BLOB NOT NULL PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    last_seq INTEGER NOT NULL,
    -- Which life of the log this is: another after a restore.
    epoch INTEGER NOT NULL,
    -- What was last told to be unread.
    unread TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The newest of them.
CREATE TABLE account_events (
    account_id BLOB NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    change TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, seq)
) STRICT, WITHOUT ROWID;
