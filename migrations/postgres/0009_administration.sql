-- Invitations to register, while registration is closed. The plain token is nowhere.
CREATE TABLE platform_invitations (
    id uuid NOT NULL PRIMARY KEY,
    token_hash bytea NOT NULL,
    -- Whom it is for; none when whoever holds it may use it.
    email text,
    -- None for the platform's own operator, or when the account is gone.
    invited_by uuid REFERENCES accounts (id) ON DELETE SET NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    UNIQUE (token_hash),
    CONSTRAINT platform_invitations_hash_check CHECK (length(token_hash) = 32)
);
CREATE INDEX platform_invitations_invited_by_idx ON platform_invitations (invited_by);
CREATE INDEX platform_invitations_expires_at_idx ON platform_invitations (expires_at);
