-- Which streams are open, on which node and for whom, so that a call that names one reaches it from every node; and how
-- present people are.

-- A node that serves. What is on it is there as long as it renews its lease.
CREATE TABLE nodes (
    id BLOB NOT NULL PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX nodes_expires_at_idx ON nodes (expires_at);

CREATE TABLE connections (
    id BLOB NOT NULL PRIMARY KEY,
    node_id BLOB NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    account_id BLOB NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    -- The session whose token opened it, or the API key.
    credential_id BLOB NOT NULL,
    -- Whether a person opened it, and no program in their name.
    by_person INTEGER NOT NULL,
    -- Until when the credential is good for it.
    token_expires_at INTEGER,
    -- Set once its client has promised to go on saying that it is there.
    expires_at INTEGER,
    -- Whether its person does nothing on that device.
    idle INTEGER NOT NULL,
    -- How many changes were left for it so far.
    changes INTEGER NOT NULL,
    CONSTRAINT connections_by_person_check CHECK (by_person IN (0, 1)),
    CONSTRAINT connections_idle_check CHECK (idle IN (0, 1))
) STRICT, WITHOUT ROWID;
CREATE INDEX connections_node_id_idx ON connections (node_id);
CREATE INDEX connections_account_id_idx ON connections (account_id);
CREATE INDEX connections_expires_at_idx ON connections (node_id, expires_at) WHERE expires_at IS NOT NULL;

-- What a stream is to follow and watch from now on, in order, until its node takes it.
CREATE TABLE connection_changes (
    connection_id BLOB NOT NULL REFERENCES connections (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    change TEXT NOT NULL,
    PRIMARY KEY (connection_id, seq)
) STRICT, WITHOUT ROWID;

-- What people want their presence to be, where that is not left to their devices.
CREATE TABLE presence_modes (
    account_id BLOB NOT NULL PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    mode TEXT NOT NULL CONSTRAINT presence_modes_mode_check CHECK (mode IN ('do_not_disturb', 'invisible'))
) STRICT, WITHOUT ROWID;
