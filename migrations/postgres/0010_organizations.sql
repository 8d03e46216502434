-- Who was asked to join an organisation.

CREATE TABLE invitations (
    id uuid NOT NULL PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    -- In lower case, as accounts have it. It may have an account or not.
    email text NOT NULL,
    role text NOT NULL,
    -- The plain token is in the letter only.
    token_hash bytea NOT NULL,
    invited_by uuid NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    end_reason text,
    UNIQUE (token_hash),
    CONSTRAINT invitations_role_check CHECK (role IN ('owner', 'admin', 'billing', 'member')),
    CONSTRAINT invitations_hash_check CHECK (length(token_hash) = 32),
    CONSTRAINT invitations_end_check CHECK ((ended_at IS NULL) = (end_reason IS NULL)),
    CONSTRAINT invitations_end_reason_check CHECK (end_reason IN ('accepted', 'revoked', 'replaced', 'closed'))
);
CREATE INDEX invitations_organization_id_idx ON invitations (organization_id, id);
CREATE INDEX invitations_invited_by_idx ON invitations (invited_by);
SELECT protect_tenants('invitations');
