-- The chain over the ledger: a transaction commits without a place in it, and a sealer gives places in batches.

-- Transactions that have no place in the chain yet.
CREATE TABLE ledger_unsealed (
    transaction_id BLOB NOT NULL PRIMARY KEY REFERENCES ledger_transactions (id) ON DELETE RESTRICT,
    posted_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The chain: each transaction's place, its digest, and the hash over the hash before it.
CREATE TABLE ledger_seals (
    position INTEGER NOT NULL PRIMARY KEY,
    transaction_id BLOB NOT NULL REFERENCES ledger_transactions (id) ON DELETE RESTRICT,
    digest BLOB NOT NULL,
    hash BLOB NOT NULL,
    CONSTRAINT ledger_seals_transaction_id_key UNIQUE (transaction_id),
    CONSTRAINT ledger_seals_position_check CHECK (position >= 1),
    CONSTRAINT ledger_seals_digest_check CHECK (length(digest) = 32),
    CONSTRAINT ledger_seals_hash_check CHECK (length(hash) = 32)
) STRICT, WITHOUT ROWID;

-- The signed end of each batch that was sealed.
CREATE TABLE ledger_heads (
    position INTEGER NOT NULL PRIMARY KEY,
    -- The head before: the batch is what lies between.
    previous_position INTEGER NOT NULL,
    hash BLOB NOT NULL,
    public_key BLOB NOT NULL,
    signature BLOB NOT NULL,
    signed_at INTEGER NOT NULL,
    CONSTRAINT ledger_heads_position_check CHECK (position > previous_position AND previous_position >= 0),
    CONSTRAINT ledger_heads_hash_check CHECK (length(hash) = 32),
    CONSTRAINT ledger_heads_public_key_check CHECK (length(public_key) = 32),
    CONSTRAINT ledger_heads_signature_check CHECK (length(signature) = 64)
) STRICT, WITHOUT ROWID;

-- Where the chain ends. One row, which whoever seals locks first, so that the chain never forks.
CREATE TABLE ledger_chain (
    id INTEGER NOT NULL PRIMARY KEY,
    position INTEGER NOT NULL,
    hash BLOB NOT NULL,
    CONSTRAINT ledger_chain_id_check CHECK (id = 1),
    CONSTRAINT ledger_chain_position_check CHECK (position >= 0),
    CONSTRAINT ledger_chain_hash_check CHECK (length(hash) = 32)
) STRICT, WITHOUT ROWID;
INSERT INTO ledger_chain (id, position, hash) VALUES (1, 0, zeroblob(32));

-- What the entries of each account sum to, up to the end of the chain. Written with each batch, in its transaction, and
-- never the truth: it is made anew from the entries.
CREATE TABLE ledger_balances (
    account_id TEXT NOT NULL REFERENCES ledger_accounts (id) ON DELETE RESTRICT,
    currency TEXT NOT NULL,
    balance_minor INTEGER NOT NULL,
    -- Where in the chain it changed last.
    position INTEGER NOT NULL,
    PRIMARY KEY (account_id, currency),
    CONSTRAINT ledger_balances_position_check CHECK (position >= 1)
) STRICT, WITHOUT ROWID;

-- What was posted before there was a chain.
INSERT INTO ledger_unsealed (transaction_id, posted_at) SELECT transaction_id, posted_at FROM ledger_postings;

-- Whoever posts, has it wait in the same transaction: nothing that commits, however late, stays out of the chain.
CREATE TRIGGER ledger_postings_wait AFTER INSERT ON ledger_postings
BEGIN INSERT INTO ledger_unsealed (transaction_id, posted_at) VALUES (NEW.transaction_id, NEW.posted_at); END;
CREATE TRIGGER ledger_seals_kept_update BEFORE UPDATE ON ledger_seals
BEGIN SELECT RAISE(ABORT, 'ledger_immutable'); END;
CREATE TRIGGER ledger_seals_kept_delete BEFORE DELETE ON ledger_seals
BEGIN SELECT RAISE(ABORT, 'ledger_immutable'); END;
CREATE TRIGGER ledger_heads_kept_update BEFORE UPDATE ON ledger_heads
BEGIN SELECT RAISE(ABORT, 'ledger_immutable'); END;
CREATE TRIGGER ledger_heads_kept_delete BEFORE DELETE ON ledger_heads
BEGIN SELECT RAISE(ABORT, 'ledger_immutable'); END;
-- A transaction leaves the queue when it is in the chain, and not before.
CREATE TRIGGER ledger_unsealed_kept BEFORE UPDATE ON ledger_unsealed
BEGIN SELECT RAISE(ABORT, 'ledger_immutable'); END;
CREATE TRIGGER ledger_unsealed_sealed BEFORE DELETE ON ledger_unsealed
WHEN NOT EXISTS (SELECT 1 FROM ledger_seals WHERE transaction_id = OLD.transaction_id)
BEGIN SELECT RAISE(ABORT, 'ledger_not_sealed'); END;
CREATE TRIGGER ledger_chain_forward BEFORE UPDATE ON ledger_chain
WHEN NEW.position <= OLD.position
BEGIN SELECT RAISE(ABORT, 'ledger_immutable'); END;
CREATE TRIGGER ledger_chain_kept BEFORE DELETE ON ledger_chain
BEGIN SELECT RAISE(ABORT, 'ledger_immutable'); END;
