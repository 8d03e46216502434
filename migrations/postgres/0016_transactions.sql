-- The ledger by time, whomever it concerns: for whoever reads the books of the whole platform, a day of them at a time.
CREATE INDEX ledger_transactions_created_idx ON ledger_transactions (created_at, id);
