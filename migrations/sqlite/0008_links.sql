-- What letters carry to prove that whoever reads them owns the account, and from where accounts were signed in to.

CREATE TABLE account_links (
    -- The token has 256 bits of its own, so a plain hash is enough. The token itself is kept nowhere.
    token_hash BLOB NOT NULL PRIMARY KEY,
    account_id BLOB NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    purpose TEXT NOT NULL,
    -- The address that the letter goes to.
    email TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    -- One of a kind: the next makes the one before void. A link that was used is deleted.
    UNIQUE (account_id, purpose),
    CONSTRAINT account_links_token_hash_check CHECK (length(token_hash) = 32),
    CONSTRAINT account_links_purpose_check CHECK (purpose IN ('verify_email', 'reset_password'))
) STRICT, WITHOUT ROWID;

-- What kind of client in what part of the network an account was signed in from; some of the latest for each account.
CREATE TABLE account_places (
    account_id BLOB NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    -- A keyed hash: it is compared, and not to be read.
    place_hash BLOB NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, place_hash),
    CONSTRAINT account_places_place_hash_check CHECK (length(place_hash) = 32)
) STRICT, WITHOUT ROWID;
