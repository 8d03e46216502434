-- Guesses at the secrets of accounts, counted for all nodes.
-- No row tells whose: the key is a keyed hash of account and network.
CREATE TABLE guesses (
    key BLOB NOT NULL PRIMARY KEY,
    -- Before when the next guess would come too early.
    due INTEGER NOT NULL,
    -- Until when the account's owner is known to come from the network.
    familiar_until INTEGER,
    forget_at INTEGER NOT NULL,
    CONSTRAINT guesses_key_check CHECK (length(key) = 32)
) STRICT, WITHOUT ROWID;
CREATE INDEX guesses_forget_at_idx ON guesses (forget_at);
