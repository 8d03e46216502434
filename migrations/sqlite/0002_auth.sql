-- Accounts, organisations, sign-ins and the keys that tokens are signed with.

CREATE TABLE accounts (
    id BLOB NOT NULL PRIMARY KEY,
    -- In lower case: one person, one spelling. Compared byte by byte, so that lists by address begin where they are
    -- told to, whatever the language of the database.
    email TEXT NOT NULL,
    email_verified_at INTEGER,
    role TEXT NOT NULL,
    -- A PHC string, which names its own parameters.
    password_hash TEXT NOT NULL,
    -- Set while the password is one that the platform issued, good for one sign-in.
    one_time_issued_at INTEGER,
    one_time_used_at INTEGER,
    terms_version TEXT NOT NULL,
    terms_accepted_at INTEGER NOT NULL,
    display_name TEXT NOT NULL,
    bio TEXT NOT NULL,
    company TEXT NOT NULL,
    website TEXT NOT NULL,
    skills TEXT NOT NULL,
    interests TEXT NOT NULL,
    preferences TEXT NOT NULL,
    version INTEGER NOT NULL,
    signed_in_at INTEGER,
    -- When its owner was last told that somebody tried to register the address again.
    noticed_at INTEGER,
    -- Set while an administrator keeps the account out, with the reason that was given.
    suspended_at INTEGER,
    suspension_reason TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (email),
    CONSTRAINT accounts_role_check CHECK (role IN ('customer', 'developer', 'admin')),
    CONSTRAINT accounts_one_time_check CHECK (one_time_used_at IS NULL OR one_time_issued_at IS NOT NULL),
    CONSTRAINT accounts_suspension_check CHECK ((suspended_at IS NULL) = (suspension_reason IS NULL))
) STRICT, WITHOUT ROWID;
-- For whoever starts: is there an administrator?
CREATE INDEX accounts_role_idx ON accounts (role, id);

-- The tenants. One of them is each account's own.
CREATE TABLE organizations (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    personal_account_id BLOB REFERENCES accounts (id) ON DELETE RESTRICT,
    -- Counts the changes.
    version INTEGER NOT NULL,
    -- Set when an owner gave it up. It then has no members, and what it owned stays.
    closed_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (personal_account_id),
    CONSTRAINT organizations_closed_check CHECK (closed_at IS NULL OR personal_account_id IS NULL)
) STRICT, WITHOUT ROWID;

CREATE TABLE memberships (
    organization_id BLOB NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    account_id BLOB NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    role TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (organization_id, account_id),
    CONSTRAINT memberships_role_check CHECK (role IN ('owner', 'admin', 'billing', 'member'))
) STRICT, WITHOUT ROWID;
CREATE INDEX memberships_account_id_idx ON memberships (account_id, organization_id);

-- A sign-in on one device, and at the same time the family of its refresh tokens.
CREATE TABLE sessions (
    id BLOB NOT NULL PRIMARY KEY,
    account_id BLOB NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    agent TEXT NOT NULL,
    address TEXT,
    created_at INTEGER NOT NULL,
    used_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    ended_at INTEGER,
    end_reason TEXT,
    CONSTRAINT sessions_end_check CHECK ((ended_at IS NULL) = (end_reason IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_account_id_idx ON sessions (account_id, id);
-- For whoever deletes what has had its time.
CREATE INDEX sessions_expires_at_idx ON sessions (expires_at);
CREATE INDEX sessions_ended_at_idx ON sessions (ended_at) WHERE ended_at IS NOT NULL;

-- Every refresh token that a session was given; the plain token is nowhere.
CREATE TABLE refresh_tokens (
    token_hash BLOB NOT NULL PRIMARY KEY,
    session_id BLOB NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    -- 1 for the first, one more for each successor.
    generation INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    used_at INTEGER,
    -- For some seconds after the use: the next token, sealed with the root key and this very token, so that a second
    -- call that brings this one gets the same.
    successor BLOB,
    -- A session has one token of each generation: two successors of one token cannot be.
    UNIQUE (session_id, generation),
    CONSTRAINT refresh_tokens_hash_check CHECK (length(token_hash) = 32),
    CONSTRAINT refresh_tokens_generation_check CHECK (generation >= 1),
    CONSTRAINT refresh_tokens_successor_check CHECK (successor IS NULL OR used_at IS NOT NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX refresh_tokens_successor_idx ON refresh_tokens (used_at) WHERE successor IS NOT NULL;

CREATE TABLE signing_keys (
    id BLOB NOT NULL PRIMARY KEY,
    -- Two nodes that make the next key at once cannot both succeed.
    generation INTEGER NOT NULL,
    public_key BLOB NOT NULL,
    -- Wrapped by the root key.
    private_key BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    -- From when it signs: until then it is published, so that whoever checks tokens knows it in time.
    signs_from INTEGER NOT NULL,
    UNIQUE (generation),
    CONSTRAINT signing_keys_public_key_check CHECK (length(public_key) = 32)
) STRICT, WITHOUT ROWID;
