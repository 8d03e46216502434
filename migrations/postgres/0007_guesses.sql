-- Guesses at the secrets of accounts, counted for all nodes.
-- No row tells whose: the key is a keyed hash of account and network.
CREATE TABLE guesses (
    key bytea NOT NULL PRIMARY KEY,
    -- Before when the next guess would come too early.
    due timestamptz NOT NULL,
    -- Until when the account's owner is known to come from the network.
    familiar_until timestamptz,
    forget_at timestamptz NOT NULL,
    CONSTRAINT guesses_key_check CHECK (length(key) = 32)
);
CREATE INDEX guesses_forget_at_idx ON guesses (forget_at);
