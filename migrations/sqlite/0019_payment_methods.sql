-- Stored cards, and what became of the charges of them.

-- No card is here: PayFast keeps it, and the token by which it is charged is wrapped by the root key. It goes when
-- PayFast has ended it. `noticed_at` says when its owners were told that it expires; a new expiry empties it.
CREATE TABLE payment_methods (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    account_id BLOB REFERENCES accounts (id) ON DELETE SET NULL,
    provider TEXT NOT NULL,
    status TEXT NOT NULL,
    display_name TEXT NOT NULL,
    is_default INTEGER NOT NULL,
    expires_at INTEGER,
    noticed_at INTEGER,
    sealed_token BLOB,
    test INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    activated_at INTEGER,
    removed_at INTEGER,
    CONSTRAINT payment_methods_provider_check CHECK (provider IN ('payfast')),
    CONSTRAINT payment_methods_status_check CHECK (status IN ('pending', 'active', 'expired', 'removed')),
    CONSTRAINT payment_methods_default_check CHECK (NOT is_default OR status = 'active'),
    CONSTRAINT payment_methods_token_check CHECK (
        (status <> 'pending' OR sealed_token IS NULL)
        AND (status NOT IN ('active', 'expired') OR sealed_token IS NOT NULL)
    ),
    CONSTRAINT payment_methods_removed_check CHECK ((status = 'removed') = (removed_at IS NOT NULL)),
    CONSTRAINT payment_methods_is_default_check CHECK (is_default IN (0, 1)),
    CONSTRAINT payment_methods_test_check CHECK (test IN (0, 1))
) STRICT, WITHOUT ROWID;
CREATE INDEX payment_methods_organization_idx ON payment_methods (organization_id, created_at, id);
CREATE UNIQUE INDEX payment_methods_organization_id_key ON payment_methods (organization_id) WHERE is_default;
CREATE INDEX payment_methods_account_idx ON payment_methods (account_id);
CREATE INDEX payment_methods_expires_idx ON payment_methods (status, expires_at, id);
CREATE INDEX payment_methods_created_idx ON payment_methods (status, created_at, id);

-- One for each payment that is made with a stored card. It says how far the one call got that charges the card, which
-- is never made twice; where the money is, is said by the payment.
CREATE TABLE card_charges (
    payment_id BLOB NOT NULL PRIMARY KEY REFERENCES payments (id) ON DELETE RESTRICT,
    organization_id BLOB NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    payment_method_id BLOB NOT NULL REFERENCES payment_methods (id) ON DELETE RESTRICT,
    status TEXT NOT NULL,
    provider_payment_id TEXT,
    detail TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    sent_at INTEGER,
    settled_at INTEGER,
    CONSTRAINT card_charges_status_check CHECK (status IN ('queued', 'sent', 'unknown', 'accepted', 'failed')),
    CONSTRAINT card_charges_sent_check CHECK (status IN ('queued', 'failed') OR sent_at IS NOT NULL),
    CONSTRAINT card_charges_settled_check CHECK ((status IN ('accepted', 'failed')) = (settled_at IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX card_charges_organization_idx ON card_charges (organization_id, created_at);
CREATE INDEX card_charges_method_idx ON card_charges (payment_method_id);

-- The bytes of a notification with a token in it are wrapped by the root key.
ALTER TABLE provider_events ADD COLUMN sealed INTEGER NOT NULL DEFAULT 0
    CONSTRAINT provider_events_sealed_check CHECK (sealed IN (0, 1));
