-- The chain over the ledger: a transaction commits without a place in it, and a sealer gives places in batches.

-- Transactions that have no place in the chain yet.
CREATE TABLE ledger_unsealed (
    transaction_id uuid NOT NULL PRIMARY KEY REFERENCES ledger_transactions (id) ON DELETE RESTRICT,
    posted_at timestamptz NOT NULL
);

-- The chain: each transaction's place, its digest, and the hash over the hash before it.
CREATE TABLE ledger_seals (
    position bigint NOT NULL PRIMARY KEY,
    transaction_id uuid NOT NULL REFERENCES ledger_transactions (id) ON DELETE RESTRICT,
    digest bytea NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT ledger_seals_transaction_id_key UNIQUE (transaction_id),
    CONSTRAINT ledger_seals_position_check CHECK (position >= 1),
    CONSTRAINT ledger_seals_digest_check CHECK (length(digest) = 32),
    CONSTRAINT ledger_seals_hash_check CHECK (length(hash) = 32)
);

-- The signed end of each batch that was sealed.
CREATE TABLE ledger_heads (
    position bigint NOT NULL PRIMARY KEY,
    -- The head before: the batch is what lies between.
    previous_position bigint NOT NULL,
    hash bytea NOT NULL,
    public_key bytea NOT NULL,
    signature bytea NOT NULL,
    signed_at timestamptz NOT NULL,
    CONSTRAINT ledger_heads_position_check CHECK (position > previous_position AND previous_position >= 0),
    CONSTRAINT ledger_heads_hash_check CHECK (length(hash) = 32),
    CONSTRAINT ledger_heads_public_key_check CHECK (length(public_key) = 32),
    CONSTRAINT ledger_heads_signature_check CHECK (length(signature) = 64)
);

-- Where the chain ends. One row, which whoever seals locks first, so that the chain never forks.
CREATE TABLE ledger_chain (
    id bigint NOT NULL PRIMARY KEY,
    position bigint NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT ledger_chain_id_check CHECK (id = 1),
    CONSTRAINT ledger_chain_position_check CHECK (position >= 0),
    CONSTRAINT ledger_chain_hash_check CHECK (length(hash) = 32)
);
INSERT INTO ledger_chain (id, position, hash) VALUES (1, 0, decode(repeat('00', 32), 'hex'));

-- What the entries of each account sum to, up to the end of the chain. Written with each batch, in its transaction, and
-- never the truth: it is made anew from the entries.
CREATE TABLE ledger_balances (
    account_id text NOT NULL REFERENCES ledger_accounts (id) ON DELETE RESTRICT,
    currency text NOT NULL,
    balance_minor bigint NOT NULL,
    -- Where in the chain it changed last.
    position bigint NOT NULL,
    PRIMARY KEY (account_id, currency),
    CONSTRAINT ledger_balances_position_check CHECK (position >= 1)
);

-- What was posted before there was a chain.
INSERT INTO ledger_unsealed (transaction_id, posted_at) SELECT transaction_id, posted_at FROM ledger_postings;

-- Whoever posts, has it wait in the same transaction: nothing that commits, however late, stays out of the chain.
CREATE FUNCTION ledger_wait_for_seal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledger_unsealed (transaction_id, posted_at) VALUES (NEW.transaction_id, NEW.posted_at);
    RETURN NULL;
END $$;

CREATE FUNCTION ledger_check_sealed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM ledger_seals WHERE transaction_id = OLD.transaction_id) THEN
        RAISE EXCEPTION 'ledger_not_sealed' USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_not_sealed';
    END IF;
    RETURN OLD;
END $$;

CREATE FUNCTION ledger_check_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.position <= OLD.position THEN
        RAISE EXCEPTION 'ledger_immutable' USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_immutable';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER ledger_postings_wait AFTER INSERT ON ledger_postings
    FOR EACH ROW EXECUTE FUNCTION ledger_wait_for_seal();
CREATE TRIGGER ledger_seals_kept BEFORE UPDATE OR DELETE ON ledger_seals
    FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_seals_kept_whole BEFORE TRUNCATE ON ledger_seals
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_heads_kept BEFORE UPDATE OR DELETE ON ledger_heads
    FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_heads_kept_whole BEFORE TRUNCATE ON ledger_heads
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
-- A transaction leaves the queue when it is in the chain, and not before.
CREATE TRIGGER ledger_unsealed_kept BEFORE UPDATE ON ledger_unsealed
    FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_unsealed_sealed BEFORE DELETE ON ledger_unsealed
    FOR EACH ROW EXECUTE FUNCTION ledger_check_sealed();
CREATE TRIGGER ledger_unsealed_kept_whole BEFORE TRUNCATE ON ledger_unsealed
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_chain_forward BEFORE UPDATE ON ledger_chain
    FOR EACH ROW EXECUTE FUNCTION ledger_check_forward();
CREATE TRIGGER ledger_chain_kept BEFORE DELETE ON ledger_chain
    FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_chain_kept_whole BEFORE TRUNCATE ON ledger_chain
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();

-- The triggers hold for whoever may write at all. The role that serves may not even try.
SELECT withhold('ledger_transactions', 'UPDATE, DELETE');
SELECT withhold('ledger_entries', 'UPDATE, DELETE');
SELECT withhold('ledger_postings', 'UPDATE, DELETE');
SELECT withhold('ledger_seals', 'UPDATE, DELETE');
SELECT withhold('ledger_heads', 'UPDATE, DELETE');
SELECT withhold('ledger_unsealed', 'UPDATE');
SELECT withhold('ledger_chain', 'INSERT, DELETE');
