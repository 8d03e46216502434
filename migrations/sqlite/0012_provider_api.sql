-- What the provider's API was asked and what it answered, and the simulator's side of it.

-- Every call, written before it is sent, and its answer as it came, written before it is read. Without an answer the
-- detail says why; without either the process ended meanwhile. Bounded by age.
CREATE TABLE provider_answers (
    id BLOB NOT NULL PRIMARY KEY,
    provider TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    purpose TEXT NOT NULL,
    -- The token or the provider's id of the payment that the call is about; empty when it is about neither.
    subject TEXT NOT NULL,
    parameters TEXT NOT NULL,
    status INTEGER,
    headers TEXT,
    body BLOB,
    detail TEXT,
    asked_at INTEGER NOT NULL,
    answered_at INTEGER,
    CONSTRAINT provider_answers_provider_check CHECK (provider IN ('payfast')),
    CONSTRAINT provider_answers_body_check CHECK ((status IS NULL) = (body IS NULL)),
    CONSTRAINT provider_answers_headers_check CHECK ((status IS NULL) = (headers IS NULL)),
    CONSTRAINT provider_answers_answered_check CHECK (
        (answered_at IS NULL) = (status IS NULL AND detail IS NULL)
    )
) STRICT, WITHOUT ROWID;
CREATE INDEX provider_answers_asked_idx ON provider_answers (asked_at, id);
CREATE INDEX provider_answers_subject_idx ON provider_answers (subject, asked_at, id);

-- The simulator's books, used in simulator mode only: the merchant's account there (at most one row), the tokens and
-- subscriptions that were made, the payments, their refunds, and the history of the account.
CREATE TABLE simulator_account (
    id INTEGER NOT NULL PRIMARY KEY,
    balance_minor INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    wrong_signatures INTEGER NOT NULL,
    blocked_until INTEGER,
    CONSTRAINT simulator_account_id_check CHECK (id = 1)
) STRICT, WITHOUT ROWID;

CREATE TABLE simulator_tokens (
    token TEXT NOT NULL PRIMARY KEY,
    -- As the form names it: 1 is charged on a schedule, 2 whenever it is asked.
    kind INTEGER NOT NULL,
    status TEXT NOT NULL,
    provider_payment_id TEXT NOT NULL,
    fields TEXT NOT NULL,
    amount_minor INTEGER NOT NULL,
    frequency INTEGER,
    cycles INTEGER NOT NULL,
    cycles_complete INTEGER NOT NULL,
    cycles_paused INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    run_date TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    CONSTRAINT simulator_tokens_kind_check CHECK (kind IN (1, 2)),
    CONSTRAINT simulator_tokens_status_check
        CHECK (status IN ('active', 'cancelled', 'paused', 'complete', 'failed'))
) STRICT, WITHOUT ROWID;
CREATE INDEX simulator_tokens_created_idx ON simulator_tokens (created_at, token);

CREATE TABLE simulator_payments (
    id BLOB NOT NULL PRIMARY KEY,
    provider_payment_id TEXT NOT NULL,
    payment_reference TEXT NOT NULL,
    token TEXT NOT NULL,
    item_name TEXT NOT NULL,
    funding TEXT NOT NULL,
    status TEXT NOT NULL,
    bank_code TEXT NOT NULL,
    gross_minor INTEGER NOT NULL,
    fate TEXT NOT NULL,
    queries INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (provider_payment_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX simulator_payments_token_idx ON simulator_payments (token, id);

CREATE TABLE simulator_refunds (
    id BLOB NOT NULL PRIMARY KEY,
    payment_id BLOB NOT NULL REFERENCES simulator_payments (id) ON DELETE CASCADE,
    amount_minor INTEGER NOT NULL,
    reason TEXT NOT NULL,
    due_at INTEGER NOT NULL,
    completed_at INTEGER,
    CONSTRAINT simulator_refunds_amount_check CHECK (amount_minor > 0)
) STRICT, WITHOUT ROWID;
CREATE INDEX simulator_refunds_payment_idx ON simulator_refunds (payment_id, id);
CREATE INDEX simulator_refunds_due_idx ON simulator_refunds (completed_at, due_at, id);

CREATE TABLE simulator_history (
    position INTEGER NOT NULL PRIMARY KEY,
    occurred_at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    item_name TEXT NOT NULL,
    item_description TEXT NOT NULL,
    funding TEXT NOT NULL,
    gross_minor INTEGER NOT NULL,
    fee_minor INTEGER NOT NULL,
    balance_minor INTEGER NOT NULL,
    payment_reference TEXT NOT NULL,
    provider_payment_id TEXT NOT NULL,
    fields TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX simulator_history_occurred_idx ON simulator_history (occurred_at, position);
