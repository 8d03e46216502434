-- PayFast's history held against our books, what could not be matched, chargebacks, the checks before going live, and
-- the switch of checkouts.

-- From where an event of the inbox came: a notification, or a row of the history that we asked for. The body of the
-- latter is CSV: the names of its columns and the row, as PayFast wrote them.
ALTER TABLE provider_events ADD COLUMN source text NOT NULL DEFAULT 'itn'
    CONSTRAINT provider_events_source_check CHECK (source IN ('itn', 'history'));

-- Runs: a span of days by South Africa's clocks. What PayFast says that moved, and what our books say of the same.
CREATE TABLE reconciliations (
    id uuid NOT NULL PRIMARY KEY,
    provider text NOT NULL,
    from_day text NOT NULL,
    to_day text NOT NULL,
    origin text NOT NULL,
    status text NOT NULL,
    -- Whether every day of it was over, so that nothing more could come.
    closed boolean NOT NULL,
    row_count bigint NOT NULL,
    matched_count bigint NOT NULL,
    repaired_count bigint NOT NULL,
    open_count bigint NOT NULL,
    currency text NOT NULL,
    provider_change_minor bigint NOT NULL,
    booked_change_minor bigint NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    CONSTRAINT reconciliations_provider_check CHECK (provider IN ('payfast')),
    CONSTRAINT reconciliations_origin_check CHECK (origin IN ('daily', 'staff')),
    CONSTRAINT reconciliations_status_check CHECK (status IN ('running', 'done')),
    CONSTRAINT reconciliations_span_check CHECK (from_day <= to_day),
    CONSTRAINT reconciliations_finished_check CHECK ((status = 'done') = (finished_at IS NOT NULL))
);
CREATE INDEX reconciliations_started_idx ON reconciliations (started_at, id);

-- What could not be matched, each once however often it is found.
CREATE TABLE reconciliation_differences (
    id uuid NOT NULL PRIMARY KEY,
    reconciliation_id uuid NOT NULL REFERENCES reconciliations (id) ON DELETE RESTRICT,
    kind text NOT NULL,
    -- PayFast's id of the payment, the key of the row, or the id of a refund of ours.
    subject text NOT NULL,
    state text NOT NULL,
    detail text NOT NULL,
    explanation text NOT NULL,
    currency text NOT NULL,
    -- By how much PayFast's account changed for it, and by how much ours.
    provider_minor bigint NOT NULL,
    booked_minor bigint NOT NULL,
    event_id uuid REFERENCES provider_events (id) ON DELETE RESTRICT,
    occurred_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    decided_at timestamptz,
    UNIQUE (kind, subject),
    CONSTRAINT reconciliation_differences_kind_check CHECK (
        kind IN (
            'missing_payment', 'missing_refund', 'missing_payout', 'missing_charge', 'missing_chargeback',
            'extra_payment', 'extra_refund', 'amount_differs', 'fee_differs', 'unknown_row', 'broken_balance'
        )
    ),
    CONSTRAINT reconciliation_differences_state_check CHECK (state IN ('open', 'repaired', 'explained')),
    CONSTRAINT reconciliation_differences_decided_check CHECK ((state = 'open') = (decided_at IS NULL))
);
CREATE INDEX reconciliation_differences_reconciliation_idx
    ON reconciliation_differences (reconciliation_id, created_at, id);
CREATE INDEX reconciliation_differences_state_idx ON reconciliation_differences (state, created_at, id);
CREATE INDEX reconciliation_differences_created_idx ON reconciliation_differences (created_at, id);
CREATE INDEX reconciliation_differences_event_idx ON reconciliation_differences (event_id);

-- Which row of the history is which receipt or refund of ours.
CREATE TABLE reconciliation_matches (
    subject_id uuid NOT NULL PRIMARY KEY,
    row_key text NOT NULL,
    reconciliation_id uuid NOT NULL REFERENCES reconciliations (id) ON DELETE RESTRICT,
    UNIQUE (row_key)
);
CREATE INDEX reconciliation_matches_reconciliation_idx ON reconciliation_matches (reconciliation_id);

-- Refunds are found by when they ended: those that the history does not list.
CREATE INDEX refunds_settled_idx ON refunds (settled_at, id) WHERE status = 'succeeded';

-- The days whose daily run was pushed, by whichever node came first.
CREATE TABLE reconciliation_days (
    day text NOT NULL PRIMARY KEY,
    pushed_at timestamptz NOT NULL
);

-- What card schemes took back, one row for each row of the history that says so.
CREATE TABLE chargebacks (
    id uuid NOT NULL PRIMARY KEY,
    organization_id uuid,
    receipt_id uuid REFERENCES receipts (id) ON DELETE RESTRICT,
    payment_id uuid REFERENCES payments (id) ON DELETE RESTRICT,
    event_id uuid NOT NULL REFERENCES provider_events (id) ON DELETE RESTRICT,
    provider_payment_id text NOT NULL,
    state text NOT NULL,
    currency text NOT NULL,
    amount_minor bigint NOT NULL,
    fee_minor bigint NOT NULL,
    occurred_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    UNIQUE (event_id),
    CONSTRAINT chargebacks_state_check CHECK (state IN ('open')),
    CONSTRAINT chargebacks_amounts_check CHECK (amount_minor > 0 AND fee_minor >= 0)
);
CREATE INDEX chargebacks_receipt_idx ON chargebacks (receipt_id);
CREATE INDEX chargebacks_payment_idx ON chargebacks (payment_id);
CREATE INDEX chargebacks_organization_idx ON chargebacks (organization_id, created_at, id);
SELECT protect_tenants('chargebacks');

-- What was looked at before going live, and what was found: evidence, without a secret.
CREATE TABLE golive_checks (
    run_id uuid NOT NULL,
    position bigint NOT NULL,
    name text NOT NULL,
    result text NOT NULL,
    detail text NOT NULL,
    mode text NOT NULL,
    version text NOT NULL,
    checked_at timestamptz NOT NULL,
    PRIMARY KEY (run_id, position),
    CONSTRAINT golive_checks_result_check CHECK (result IN ('ok', 'warn', 'fail', 'skipped'))
);
CREATE INDEX golive_checks_checked_idx ON golive_checks (checked_at, run_id);

-- Whether checkouts may be started: at most one row, which all nodes read with each checkout.
CREATE TABLE checkout_switch (
    id bigint NOT NULL PRIMARY KEY,
    open boolean NOT NULL,
    reason text NOT NULL,
    changed_at timestamptz NOT NULL,
    CONSTRAINT checkout_switch_id_check CHECK (id = 1)
);
