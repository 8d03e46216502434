-- PayFast's history held against our books, what could not be matched, chargebacks, the checks before going live, and
-- the switch of checkouts.

-- From where an event of the inbox came: a notification, or a row of the history that we asked for. The body of the
-- latter is CSV: the names of its columns and the row, as PayFast wrote them.
ALTER TABLE provider_events ADD COLUMN source TEXT NOT NULL DEFAULT 'itn'
    CONSTRAINT provider_events_source_check CHECK (source IN ('itn', 'history'));

-- Runs: a span of days by South Africa's clocks. What PayFast says that moved, and what our books say of the same.
CREATE TABLE reconciliations (
    id BLOB NOT NULL PRIMARY KEY,
    provider TEXT NOT NULL,
    from_day TEXT NOT NULL,
    to_day TEXT NOT NULL,
    origin TEXT NOT NULL,
    status TEXT NOT NULL,
    -- Whether every day of it was over, so that nothing more could come.
    closed INTEGER NOT NULL,
    row_count INTEGER NOT NULL,
    matched_count INTEGER NOT NULL,
    repaired_count INTEGER NOT NULL,
    open_count INTEGER NOT NULL,
    currency TEXT NOT NULL,
    provider_change_minor INTEGER NOT NULL,
    booked_change_minor INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    finished_at INTEGER,
    CONSTRAINT reconciliations_provider_check CHECK (provider IN ('payfast')),
    CONSTRAINT reconciliations_origin_check CHECK (origin IN ('daily', 'staff')),
    CONSTRAINT reconciliations_status_check CHECK (status IN ('running', 'done')),
    CONSTRAINT reconciliations_span_check CHECK (from_day <= to_day),
    CONSTRAINT reconciliations_finished_check CHECK ((status = 'done') = (finished_at IS NOT NULL)),
    CONSTRAINT reconciliations_closed_check CHECK (closed IN (0, 1))
) STRICT, WITHOUT ROWID;
CREATE INDEX reconciliations_started_idx ON reconciliations (started_at, id);

-- What could not be matched, each once however often it is found.
CREATE TABLE reconciliation_differences (
    id BLOB NOT NULL PRIMARY KEY,
    reconciliation_id BLOB NOT NULL REFERENCES reconciliations (id) ON DELETE RESTRICT,
    kind TEXT NOT NULL,
    -- PayFast's id of the payment, the key of the row, or the id of a refund of ours.
    subject TEXT NOT NULL,
    state TEXT NOT NULL,
    detail TEXT NOT NULL,
    explanation TEXT NOT NULL,
    currency TEXT NOT NULL,
    -- By how much PayFast's account changed for it, and by how much ours.
    provider_minor INTEGER NOT NULL,
    booked_minor INTEGER NOT NULL,
    event_id BLOB REFERENCES provider_events (id) ON DELETE RESTRICT,
    occurred_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    decided_at INTEGER,
    UNIQUE (kind, subject),
    CONSTRAINT reconciliation_differences_kind_check CHECK (
        kind IN (
            'missing_payment', 'missing_refund', 'missing_payout', 'missing_charge', 'missing_chargeback',
            'extra_payment', 'extra_refund', 'amount_differs', 'fee_differs', 'unknown_row', 'broken_balance'
        )
    ),
    CONSTRAINT reconciliation_differences_state_check CHECK (state IN ('open', 'repaired', 'explained')),
    CONSTRAINT reconciliation_differences_decided_check CHECK ((state = 'open') = (decided_at IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX reconciliation_differences_reconciliation_idx
    ON reconciliation_differences (reconciliation_id, created_at, id);
CREATE INDEX reconciliation_differences_state_idx ON reconciliation_differences (state, created_at, id);
CREATE INDEX reconciliation_differences_created_idx ON reconciliation_differences (created_at, id);
CREATE INDEX reconciliation_differences_event_idx ON reconciliation_differences (event_id);

-- Which row of the history is which receipt or refund of ours.
CREATE TABLE reconciliation_matches (
    subject_id BLOB NOT NULL PRIMARY KEY,
    row_key TEXT NOT NULL,
    reconciliation_id BLOB NOT NULL REFERENCES reconciliations (id) ON DELETE RESTRICT,
    UNIQUE (row_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX reconciliation_matches_reconciliation_idx ON reconciliation_matches (reconciliation_id);

-- Refunds are found by when they ended: those that the history does not list.
CREATE INDEX refunds_settled_idx ON refunds (settled_at, id) WHERE status = 'succeeded';

-- The days whose daily run was pushed, by whichever node came first.
CREATE TABLE reconciliation_days (
    day TEXT NOT NULL PRIMARY KEY,
    pushed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What card schemes took back, one row for each row of the history that says so.
CREATE TABLE chargebacks (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB,
    receipt_id BLOB REFERENCES receipts (id) ON DELETE RESTRICT,
    payment_id BLOB REFERENCES payments (id) ON DELETE RESTRICT,
    event_id BLOB NOT NULL REFERENCES provider_events (id) ON DELETE RESTRICT,
    provider_payment_id TEXT NOT NULL,
    state TEXT NOT NULL,
    currency TEXT NOT NULL,
    amount_minor INTEGER NOT NULL,
    fee_minor INTEGER NOT NULL,
    occurred_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (event_id),
    CONSTRAINT chargebacks_state_check CHECK (state IN ('open')),
    CONSTRAINT chargebacks_amounts_check CHECK (amount_minor > 0 AND fee_minor >= 0)
) STRICT, WITHOUT ROWID;
CREATE INDEX chargebacks_receipt_idx ON chargebacks (receipt_id);
CREATE INDEX chargebacks_payment_idx ON chargebacks (payment_id);
CREATE INDEX chargebacks_organization_idx ON chargebacks (organization_id, created_at, id);

-- What was looked at before going live, and what was found: evidence, without a secret.
CREATE TABLE golive_checks (
    run_id BLOB NOT NULL,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    result TEXT NOT NULL,
    detail TEXT NOT NULL,
    mode TEXT NOT NULL,
    version TEXT NOT NULL,
    checked_at INTEGER NOT NULL,
    PRIMARY KEY (run_id, position),
    CONSTRAINT golive_checks_result_check CHECK (result IN ('ok', 'warn', 'fail', 'skipped'))
) STRICT, WITHOUT ROWID;
CREATE INDEX golive_checks_checked_idx ON golive_checks (checked_at, run_id);

-- Whether checkouts may be started: at most one row, which all nodes read with each checkout.
CREATE TABLE checkout_switch (
    id INTEGER NOT NULL PRIMARY KEY,
    open INTEGER NOT NULL,
    reason TEXT NOT NULL,
    changed_at INTEGER NOT NULL,
    CONSTRAINT checkout_switch_id_check CHECK (id = 1),
    CONSTRAINT checkout_switch_open_check CHECK (open IN (0, 1))
) STRICT, WITHOUT ROWID;
