-- Accounts, organisations, sign-ins and the keys that tokens are signed with.

CREATE TABLE accounts (
    id uuid NOT NULL PRIMARY KEY,
    -- In lower case: one person, one spelling. Compared byte by byte, so that lists by address begin where they are
    -- told to, whatever the language of the database.
    email text COLLATE "C" NOT NULL,
    email_verified_at timestamptz,
    role text NOT NULL,
    -- A PHC string, which names its own parameters.
    password_hash text NOT NULL,
    -- Set while the password is one that the platform issued, good for one sign-in.
    one_time_issued_at timestamptz,
    one_time_used_at timestamptz,
    terms_version text NOT NULL,
    terms_accepted_at timestamptz NOT NULL,
    display_name text NOT NULL,
    bio text NOT NULL,
    company text NOT NULL,
    website text NOT NULL,
    skills jsonb NOT NULL,
    interests jsonb NOT NULL,
    preferences jsonb NOT NULL,
    version bigint NOT NULL,
    signed_in_at timestamptz,
    -- When its owner was last told that somebody tried to register the address again.
    noticed_at timestamptz,
    -- Set while an administrator keeps the account out, with the reason that was given.
    suspended_at timestamptz,
    suspension_reason text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    UNIQUE (email),
    CONSTRAINT accounts_role_check CHECK (role IN ('customer', 'developer', 'admin')),
    CONSTRAINT accounts_one_time_check CHECK (one_time_used_at IS NULL OR one_time_issued_at IS NOT NULL),
    CONSTRAINT accounts_suspension_check CHECK ((suspended_at IS NULL) = (suspension_reason IS NULL))
);
-- For whoever starts: is there an administrator?
CREATE INDEX accounts_role_idx ON accounts (role, id);

-- The tenants. One of them is each account's own.
CREATE TABLE organizations (
    id uuid NOT NULL PRIMARY KEY,
    name text NOT NULL,
    personal_account_id uuid REFERENCES accounts (id) ON DELETE RESTRICT,
    -- Counts the changes.
    version bigint NOT NULL,
    -- Set when an owner gave it up. It then has no members, and what it owned stays.
    closed_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    UNIQUE (personal_account_id),
    CONSTRAINT organizations_closed_check CHECK (closed_at IS NULL OR personal_account_id IS NULL)
);
SELECT protect_tenants('organizations', 'id');

CREATE TABLE memberships (
    organization_id uuid NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    account_id uuid NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    role text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, account_id),
    CONSTRAINT memberships_role_check CHECK (role IN ('owner', 'admin', 'billing', 'member'))
);
CREATE INDEX memberships_account_id_idx ON memberships (account_id, organization_id);
SELECT protect_tenants('memberships');

-- A sign-in on one device, and at the same time the family of its refresh tokens.
CREATE TABLE sessions (
    id uuid NOT NULL PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    agent text NOT NULL,
    address text,
    created_at timestamptz NOT NULL,
    used_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    end_reason text,
    CONSTRAINT sessions_end_check CHECK ((ended_at IS NULL) = (end_reason IS NULL))
);
CREATE INDEX sessions_account_id_idx ON sessions (account_id, id);
-- For whoever deletes what has had its time.
CREATE INDEX sessions_expires_at_idx ON sessions (expires_at);
CREATE INDEX sessions_ended_at_idx ON sessions (ended_at) WHERE ended_at IS NOT NULL;

-- Every refresh token that a session was given; the plain token is nowhere.
CREATE TABLE refresh_tokens (
    token_hash bytea NOT NULL PRIMARY KEY,
    session_id uuid NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    -- 1 for the first, one more for each successor.
    generation bigint NOT NULL,
    created_at timestamptz NOT NULL,
    used_at timestamptz,
    -- For some seconds after the use: the next token, sealed with the root key and this very token, so that a second
    -- call that brings this one gets the same.
    successor bytea,
    -- A session has one token of each generation: two successors of one token cannot be.
    UNIQUE (session_id, generation),
    CONSTRAINT refresh_tokens_hash_check CHECK (length(token_hash) = 32),
    CONSTRAINT refresh_tokens_generation_check CHECK (generation >= 1),
    CONSTRAINT refresh_tokens_successor_check CHECK (successor IS NULL OR used_at IS NOT NULL)
);

CREATE INDEX refresh_tokens_successor_idx ON refresh_tokens (used_at) WHERE successor IS NOT NULL;

CREATE TABLE signing_keys (
    id uuid NOT NULL PRIMARY KEY,
    -- Two nodes that make the next key at once cannot both succeed.
    generation bigint NOT NULL,
    public_key bytea NOT NULL,
    -- Wrapped by the root key.
    private_key bytea NOT NULL,
    created_at timestamptz NOT NULL,
    -- From when it signs: until then it is published, so that whoever checks tokens knows it in time.
    signs_from timestamptz NOT NULL,
    UNIQUE (generation),
    CONSTRAINT signing_keys_public_key_check CHECK (length(public_key) = 32)
);
