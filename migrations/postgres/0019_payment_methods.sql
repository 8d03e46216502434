-- Stored cards, and what became of the charges of them.

-- No card is here: PayFast keeps it, and the token by which it is charged is wrapped by the root key. It goes when
-- PayFast has ended it. `noticed_at` says when its owners were told that it expires; a new expiry empties it.
CREATE TABLE payment_methods (
    id uuid NOT NULL PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    account_id uuid REFERENCES accounts (id) ON DELETE SET NULL,
    provider text NOT NULL,
    status text NOT NULL,
    display_name text NOT NULL,
    is_default boolean NOT NULL,
    expires_at timestamptz,
    noticed_at timestamptz,
    sealed_token bytea,
    test boolean NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    activated_at timestamptz,
    removed_at timestamptz,
    CONSTRAINT payment_methods_provider_check CHECK (provider IN ('payfast')),
    CONSTRAINT payment_methods_status_check CHECK (status IN ('pending', 'active', 'expired', 'removed')),
    CONSTRAINT payment_methods_default_check CHECK (NOT is_default OR status = 'active'),
    CONSTRAINT payment_methods_token_check CHECK (
        (status <> 'pending' OR sealed_token IS NULL)
        AND (status NOT IN ('active', 'expired') OR sealed_token IS NOT NULL)
    ),
    CONSTRAINT payment_methods_removed_check CHECK ((status = 'removed') = (removed_at IS NOT NULL))
);
CREATE INDEX payment_methods_organization_idx ON payment_methods (organization_id, created_at, id);
CREATE UNIQUE INDEX payment_methods_organization_id_key ON payment_methods (organization_id) WHERE is_default;
CREATE INDEX payment_methods_account_idx ON payment_methods (account_id);
CREATE INDEX payment_methods_expires_idx ON payment_methods (status, expires_at, id);
CREATE INDEX payment_methods_created_idx ON payment_methods (status, created_at, id);
SELECT protect_tenants('payment_methods');

-- One for each payment that is made with a stored card. It says how far the one call got that charges the card, which
-- is never made twice; where the money is, is said by the payment.
CREATE TABLE card_charges (
    payment_id uuid NOT NULL PRIMARY KEY REFERENCES payments (id) ON DELETE RESTRICT,
    organization_id uuid NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    payment_method_id uuid NOT NULL REFERENCES payment_methods (id) ON DELETE RESTRICT,
    status text NOT NULL,
    provider_payment_id text,
    detail text NOT NULL,
    created_at timestamptz NOT NULL,
    sent_at timestamptz,
    settled_at timestamptz,
    CONSTRAINT card_charges_status_check CHECK (status IN ('queued', 'sent', 'unknown', 'accepted', 'failed')),
    CONSTRAINT card_charges_sent_check CHECK (status IN ('queued', 'failed') OR sent_at IS NOT NULL),
    CONSTRAINT card_charges_settled_check CHECK ((status IN ('accepted', 'failed')) = (settled_at IS NOT NULL))
);
CREATE INDEX card_charges_organization_idx ON card_charges (organization_id, created_at);
CREATE INDEX card_charges_method_idx ON card_charges (payment_method_id);
SELECT protect_tenants('card_charges');

-- The bytes of a notification with a token in it are wrapped by the root key.
ALTER TABLE provider_events ADD COLUMN sealed boolean NOT NULL DEFAULT false;
