-- Which streams are open, on which node and for whom, so that a call that names one reaches it from every node; and how
-- present people are.

-- A node that serves. What is on it is there as long as it renews its lease.
CREATE TABLE nodes (
    id uuid NOT NULL PRIMARY KEY,
    expires_at timestamptz NOT NULL
);
CREATE INDEX nodes_expires_at_idx ON nodes (expires_at);

CREATE TABLE connections (
    id uuid NOT NULL PRIMARY KEY,
    node_id uuid NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    account_id uuid NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    -- The session whose token opened it, or the API key.
    credential_id uuid NOT NULL,
    -- Whether a person opened it, and no program in their name.
    by_person boolean NOT NULL,
    -- Until when the credential is good for it.
    token_expires_at timestamptz,
    -- Set once its client has promised to go on saying that it is there.
    expires_at timestamptz,
    -- Whether its person does nothing on that device.
    idle boolean NOT NULL,
    -- How many changes were left for it so far.
    changes bigint NOT NULL
);
CREATE INDEX connections_node_id_idx ON connections (node_id);
CREATE INDEX connections_account_id_idx ON connections (account_id);
CREATE INDEX connections_expires_at_idx ON connections (node_id, expires_at) WHERE expires_at IS NOT NULL;

-- What a stream is to follow and watch from now on, in order, until its node takes it.
CREATE TABLE connection_changes (
    connection_id uuid NOT NULL REFERENCES connections (id) ON DELETE CASCADE,
    seq bigint NOT NULL,
    change jsonb NOT NULL,
    PRIMARY KEY (connection_id, seq)
);

-- What people want their presence to be, where that is not left to their devices.
CREATE TABLE presence_modes (
    account_id uuid NOT NULL PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    mode text NOT NULL CONSTRAINT presence_modes_mode_check CHECK (mode IN ('do_not_disturb', 'invisible'))
);
