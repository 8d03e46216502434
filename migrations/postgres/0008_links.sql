-- What letters carry to prove that whoever reads them owns the account, and from where accounts were signed in to.

CREATE TABLE account_links (
    -- The token has 256 bits of its own, so a plain hash is enough. The token itself is kept nowhere.
    token_hash bytea NOT NULL PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    purpose text NOT NULL,
    -- The address that the letter goes to.
    email text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    -- One of a kind: the next makes the one before void. A link that was used is deleted.
    UNIQUE (account_id, purpose),
    CONSTRAINT account_links_token_hash_check CHECK (length(token_hash) = 32),
    CONSTRAINT account_links_purpose_check CHECK (purpose IN ('verify_email', 'reset_password'))
);

-- What kind of client in what part of the network an account was signed in from; some of the latest for each account.
CREATE TABLE account_places (
    account_id uuid NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    -- A keyed hash: it is compared, and not to be read.
    place_hash bytea NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, place_hash),
    CONSTRAINT account_places_place_hash_check CHECK (length(place_hash) = 32)
);
