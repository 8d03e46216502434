-- Money that goes back, and what the inbox is asked by.

-- A refund is proposed by one person and approved by another. What is approved is set aside on its receipt. PayFast has
-- no idempotency key, so that at most one refund of a receipt is under way: only then its traces tell which one it was.
CREATE TABLE refunds (
    id uuid NOT NULL PRIMARY KEY,
    receipt_id uuid NOT NULL REFERENCES receipts (id) ON DELETE RESTRICT,
    organization_id uuid,
    payment_id uuid REFERENCES payments (id) ON DELETE RESTRICT,
    provider_payment_id text NOT NULL,
    destination text NOT NULL,
    status text NOT NULL,
    currency text NOT NULL,
    amount_minor bigint NOT NULL,
    fee_minor bigint,
    reason text NOT NULL,
    -- Who did it is told also when their accounts are gone.
    maker_id uuid NOT NULL,
    checker_id uuid,
    note text NOT NULL,
    detail text NOT NULL,
    available_minor bigint,
    -- The booking, once it succeeded; none for credit on a credit note, which is its booking.
    transaction_id uuid REFERENCES ledger_transactions (id) ON DELETE RESTRICT,
    test boolean NOT NULL,
    created_at timestamptz NOT NULL,
    decided_at timestamptz,
    sent_at timestamptz,
    settled_at timestamptz,
    CONSTRAINT refunds_destination_check CHECK (destination IN ('source', 'credit')),
    CONSTRAINT refunds_status_check CHECK (
        status IN ('proposed', 'approved', 'rejected', 'sent', 'unknown', 'succeeded', 'failed')
    ),
    CONSTRAINT refunds_amounts_check CHECK (amount_minor > 0 AND (fee_minor IS NULL OR fee_minor >= 0)),
    CONSTRAINT refunds_people_check CHECK (checker_id <> maker_id),
    CONSTRAINT refunds_decided_check CHECK (
        (status = 'proposed') = (checker_id IS NULL) AND (checker_id IS NULL) = (decided_at IS NULL)
    ),
    CONSTRAINT refunds_sent_check CHECK (status NOT IN ('sent', 'unknown') OR sent_at IS NOT NULL),
    CONSTRAINT refunds_settled_check CHECK ((status IN ('succeeded', 'failed')) = (settled_at IS NOT NULL)),
    CONSTRAINT refunds_booked_check CHECK (transaction_id IS NULL OR status = 'succeeded')
);
CREATE INDEX refunds_receipt_idx ON refunds (receipt_id);
CREATE UNIQUE INDEX refunds_receipt_id_key ON refunds (receipt_id) WHERE status IN ('sent', 'unknown');
CREATE INDEX refunds_payment_idx ON refunds (payment_id, created_at, id);
CREATE INDEX refunds_organization_idx ON refunds (organization_id, created_at, id);
CREATE INDEX refunds_status_idx ON refunds (status, created_at, id);
CREATE INDEX refunds_created_idx ON refunds (created_at, id);
CREATE INDEX refunds_transaction_idx ON refunds (transaction_id);
SELECT protect_tenants('refunds');

CREATE INDEX provider_events_provider_payment_idx ON provider_events (provider_payment_id, received_at, id);
CREATE INDEX provider_events_reference_idx ON provider_events (payment_reference, received_at, id);
CREATE INDEX provider_quarantine_page_idx ON provider_quarantine (received_at, id);
