-- What programs are known by: service accounts with a key pair of their own, and API keys.

-- The account's own row is in accounts; this is what makes it a program's.
CREATE TABLE service_accounts (
    account_id uuid NOT NULL PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    organization_id uuid NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    name text NOT NULL,
    scopes jsonb NOT NULL,
    -- Ed25519. None when it works with API keys only.
    public_key bytea,
    created_by uuid NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    deleted_at timestamptz,
    CONSTRAINT service_accounts_public_key_check CHECK (length(public_key) = 32)
);
CREATE INDEX service_accounts_organization_id_idx ON service_accounts (organization_id, account_id);
CREATE INDEX service_accounts_created_by_idx ON service_accounts (created_by);
SELECT protect_tenants('service_accounts');

-- Which assertions were exchanged for a token, until they would have expired: none is good twice.
CREATE TABLE service_account_assertions (
    account_id uuid NOT NULL REFERENCES service_accounts (account_id) ON DELETE CASCADE,
    jti_hash bytea NOT NULL,
    organization_id uuid NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, jti_hash),
    CONSTRAINT service_account_assertions_hash_check CHECK (length(jti_hash) = 32)
);
CREATE INDEX service_account_assertions_expires_at_idx ON service_account_assertions (expires_at);
SELECT protect_tenants('service_account_assertions');

CREATE TABLE api_keys (
    id uuid NOT NULL PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    -- In whose name it acts: a person or a service account.
    account_id uuid NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name text NOT NULL,
    scopes jsonb NOT NULL,
    -- Where calls may come from; an empty list for anywhere.
    networks jsonb NOT NULL,
    -- 1 for the first secret, one more for each that replaced it. The plain secrets are nowhere.
    generation bigint NOT NULL,
    secret_hash bytea NOT NULL,
    -- The secret before, and until when it is still good.
    previous_hash bytea,
    previous_until timestamptz,
    expires_at timestamptz,
    -- To the minute.
    used_at timestamptz,
    created_by uuid NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    revoked_at timestamptz,
    CONSTRAINT api_keys_secret_hash_check CHECK (length(secret_hash) = 32),
    CONSTRAINT api_keys_previous_hash_check CHECK (length(previous_hash) = 32),
    CONSTRAINT api_keys_previous_check CHECK ((previous_hash IS NULL) = (previous_until IS NULL)),
    CONSTRAINT api_keys_generation_check CHECK (generation >= 1)
);
CREATE INDEX api_keys_organization_id_idx ON api_keys (organization_id, id);
CREATE INDEX api_keys_account_id_idx ON api_keys (account_id, organization_id);
CREATE INDEX api_keys_created_by_idx ON api_keys (created_by);
SELECT protect_tenants('api_keys');
