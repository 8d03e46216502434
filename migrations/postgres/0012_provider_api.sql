-- What the provider's API was asked and what it answered, and the simulator's side of it.

-- Every call, written before it is sent, and its answer as it came, written before it is read. Without an answer the
-- detail says why; without either the process ended meanwhile. Bounded by age.
CREATE TABLE provider_answers (
    id uuid NOT NULL PRIMARY KEY,
    provider text NOT NULL,
    endpoint text NOT NULL,
    purpose text NOT NULL,
    -- The token or the provider's id of the payment that the call is about; empty when it is about neither.
    subject text NOT NULL,
    parameters jsonb NOT NULL,
    status bigint,
    headers jsonb,
    body bytea,
    detail text,
    asked_at timestamptz NOT NULL,
    answered_at timestamptz,
    CONSTRAINT provider_answers_provider_check CHECK (provider IN ('payfast')),
    CONSTRAINT provider_answers_body_check CHECK ((status IS NULL) = (body IS NULL)),
    CONSTRAINT provider_answers_headers_check CHECK ((status IS NULL) = (headers IS NULL)),
    CONSTRAINT provider_answers_answered_check CHECK (
        (answered_at IS NULL) = (status IS NULL AND detail IS NULL)
    )
);
CREATE INDEX provider_answers_asked_idx ON provider_answers (asked_at, id);
CREATE INDEX provider_answers_subject_idx ON provider_answers (subject, asked_at, id);

-- The simulator's books, used in simulator mode only: the merchant's account there (at most one row), the tokens and
-- subscriptions that were made, the payments, their refunds, and the history of the account.
CREATE TABLE simulator_account (
    id bigint NOT NULL PRIMARY KEY,
    balance_minor bigint NOT NULL,
    entries bigint NOT NULL,
    wrong_signatures bigint NOT NULL,
    blocked_until timestamptz,
    CONSTRAINT simulator_account_id_check CHECK (id = 1)
);

CREATE TABLE simulator_tokens (
    token text NOT NULL PRIMARY KEY,
    -- As the form names it: 1 is charged on a schedule, 2 whenever it is asked.
    kind bigint NOT NULL,
    status text NOT NULL,
    provider_payment_id text NOT NULL,
    fields jsonb NOT NULL,
    amount_minor bigint NOT NULL,
    frequency bigint,
    cycles bigint NOT NULL,
    cycles_complete bigint NOT NULL,
    cycles_paused bigint NOT NULL,
    failures bigint NOT NULL,
    run_date text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT simulator_tokens_kind_check CHECK (kind IN (1, 2)),
    CONSTRAINT simulator_tokens_status_check
        CHECK (status IN ('active', 'cancelled', 'paused', 'complete', 'failed'))
);
CREATE INDEX simulator_tokens_created_idx ON simulator_tokens (created_at, token);

CREATE TABLE simulator_payments (
    id uuid NOT NULL PRIMARY KEY,
    provider_payment_id text NOT NULL,
    payment_reference text NOT NULL,
    token text NOT NULL,
    item_name text NOT NULL,
    funding text NOT NULL,
    status text NOT NULL,
    bank_code text NOT NULL,
    gross_minor bigint NOT NULL,
    fate jsonb NOT NULL,
    queries bigint NOT NULL,
    created_at timestamptz NOT NULL,
    UNIQUE (provider_payment_id)
);
CREATE INDEX simulator_payments_token_idx ON simulator_payments (token, id);

CREATE TABLE simulator_refunds (
    id uuid NOT NULL PRIMARY KEY,
    payment_id uuid NOT NULL REFERENCES simulator_payments (id) ON DELETE CASCADE,
    amount_minor bigint NOT NULL,
    reason text NOT NULL,
    due_at timestamptz NOT NULL,
    completed_at timestamptz,
    CONSTRAINT simulator_refunds_amount_check CHECK (amount_minor > 0)
);
CREATE INDEX simulator_refunds_payment_idx ON simulator_refunds (payment_id, id);
CREATE INDEX simulator_refunds_due_idx ON simulator_refunds (completed_at, due_at, id);

CREATE TABLE simulator_history (
    position bigint NOT NULL PRIMARY KEY,
    occurred_at timestamptz NOT NULL,
    kind text NOT NULL,
    item_name text NOT NULL,
    item_description text NOT NULL,
    funding text NOT NULL,
    gross_minor bigint NOT NULL,
    fee_minor bigint NOT NULL,
    balance_minor bigint NOT NULL,
    payment_reference text NOT NULL,
    provider_payment_id text NOT NULL,
    fields jsonb NOT NULL
);
CREATE INDEX simulator_history_occurred_idx ON simulator_history (occurred_at, position);
