-- Plans, invoices, payments, subscriptions, the inbox of provider notifications and the double-entry ledger.

-- What can be bought. `id` is a stable word, so that a program can name a plan without looking it up.
CREATE TABLE plans (
    id TEXT NOT NULL PRIMARY KEY,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    kind TEXT NOT NULL,
    currency TEXT NOT NULL,
    monthly_minor INTEGER NOT NULL,
    yearly_minor INTEGER,
    agents_max INTEGER NOT NULL,
    executions_max INTEGER NOT NULL,
    listed INTEGER NOT NULL,
    UNIQUE (position),
    CONSTRAINT plans_kind_check CHECK (kind IN ('subscription', 'verification')),
    CONSTRAINT plans_price_check CHECK (monthly_minor >= 0 AND (yearly_minor IS NULL OR yearly_minor >= 0)),
    CONSTRAINT plans_limits_check CHECK (agents_max >= 0 AND executions_max >= 0),
    CONSTRAINT plans_listed_check CHECK (listed IN (0, 1))
) STRICT, WITHOUT ROWID;

INSERT INTO plans
    (id, position, name, description, kind, currency, monthly_minor, yearly_minor, agents_max, executions_max, listed)
VALUES
    ('free', 1, 'Free', 'For trying things out.',
     'subscription', 'ZAR', 0, 0, 3, 50, 1),
    ('pro', 2, 'Pro', 'For people who work with agents every day.',
     'subscription', 'ZAR', 52900, 499000, 50, 2000, 1),
    ('enterprise', 3, 'Enterprise', 'For teams that run on agents.',
     'subscription', 'ZAR', 179900, 1719000, 500, 8000, 1),
    ('live-verification', 4, 'Live verification',
     'A payment of R5.00 that proves a live merchant account; it gives nothing.',
     'verification', 'ZAR', 500, NULL, 0, 0, 0);

-- Who is invoiced. The row is also the lock under which everything about an organisation's money is decided.
CREATE TABLE billing_profiles (
    organization_id BLOB NOT NULL PRIMARY KEY REFERENCES organizations (id) ON DELETE RESTRICT,
    name TEXT NOT NULL,
    email TEXT NOT NULL,
    vat_number TEXT NOT NULL,
    address TEXT NOT NULL,
    country TEXT NOT NULL,
    version INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE subscriptions (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    plan_id TEXT NOT NULL REFERENCES plans (id) ON DELETE RESTRICT,
    billing_cycle TEXT NOT NULL,
    anchor_day INTEGER NOT NULL,
    period_start INTEGER NOT NULL,
    period_end INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (organization_id),
    CONSTRAINT subscriptions_cycle_check CHECK (billing_cycle IN ('monthly', 'yearly')),
    CONSTRAINT subscriptions_anchor_check CHECK (anchor_day BETWEEN 1 AND 31),
    CONSTRAINT subscriptions_period_check CHECK (period_start < period_end)
) STRICT, WITHOUT ROWID;
CREATE INDEX subscriptions_plan_idx ON subscriptions (plan_id);

CREATE TABLE invoices (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    origin TEXT NOT NULL,
    -- Gapless in its series and given when the invoice is issued. A checkout's is issued by being paid: what nobody
    -- pays takes no number.
    number TEXT,
    status TEXT NOT NULL,
    currency TEXT NOT NULL,
    total_minor INTEGER NOT NULL,
    tax_minor INTEGER NOT NULL,
    tax_rate_bp INTEGER NOT NULL,
    prices_include_tax INTEGER NOT NULL,
    credited_minor INTEGER NOT NULL,
    supplier_legal_name TEXT NOT NULL,
    supplier_trading_name TEXT NOT NULL,
    supplier_vat_number TEXT NOT NULL,
    supplier_address TEXT NOT NULL,
    customer_name TEXT NOT NULL,
    customer_vat_number TEXT NOT NULL,
    customer_address TEXT NOT NULL,
    test INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    issued_at INTEGER,
    paid_at INTEGER,
    UNIQUE (supplier_legal_name, number),
    CONSTRAINT invoices_origin_check CHECK (origin IN ('checkout', 'staff')),
    CONSTRAINT invoices_status_check CHECK (status IN ('draft', 'open', 'paid', 'void', 'uncollectible')),
    CONSTRAINT invoices_total_check CHECK (total_minor > 0 AND tax_minor >= 0 AND tax_minor <= total_minor),
    CONSTRAINT invoices_credited_check CHECK (credited_minor BETWEEN 0 AND total_minor),
    CONSTRAINT invoices_issued_check CHECK ((number IS NOT NULL) = (issued_at IS NOT NULL)),
    CONSTRAINT invoices_paid_check CHECK ((status = 'paid') = (paid_at IS NOT NULL)),
    CONSTRAINT invoices_number_check CHECK (
        (status <> 'draft' OR number IS NULL) AND (status NOT IN ('paid', 'uncollectible') OR number IS NOT NULL)
        AND (status <> 'open' OR (number IS NOT NULL) = (origin = 'staff'))
    ),
    CONSTRAINT invoices_test_check CHECK (test IN (0, 1)),
    CONSTRAINT invoices_include_check CHECK (prices_include_tax IN (0, 1))
) STRICT, WITHOUT ROWID;
CREATE INDEX invoices_organization_idx ON invoices (organization_id, created_at, id);

CREATE TABLE invoice_lines (
    invoice_id BLOB NOT NULL REFERENCES invoices (id) ON DELETE RESTRICT,
    organization_id BLOB NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    position INTEGER NOT NULL,
    description TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    unit_minor INTEGER NOT NULL,
    total_minor INTEGER NOT NULL,
    plan_id TEXT REFERENCES plans (id) ON DELETE RESTRICT,
    billing_cycle TEXT,
    period_start INTEGER,
    period_end INTEGER,
    PRIMARY KEY (invoice_id, position),
    CONSTRAINT invoice_lines_cycle_check CHECK (billing_cycle IN ('monthly', 'yearly')),
    CONSTRAINT invoice_lines_total_check CHECK (quantity > 0 AND total_minor = quantity * unit_minor)
) STRICT, WITHOUT ROWID;
CREATE INDEX invoice_lines_organization_idx ON invoice_lines (organization_id);
CREATE INDEX invoice_lines_plan_idx ON invoice_lines (plan_id);

-- One row for each series of numbers. Taking a number locks it until the transaction ends, so that a number that is
-- rolled back is the next one's.
CREATE TABLE invoice_counters (
    legal_name TEXT NOT NULL,
    series TEXT NOT NULL,
    next_number INTEGER NOT NULL,
    PRIMARY KEY (legal_name, series),
    CONSTRAINT invoice_counters_next_check CHECK (next_number > 0)
) STRICT, WITHOUT ROWID;

-- Attempts to pay. Each carries what it buys.
CREATE TABLE payments (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    account_id BLOB REFERENCES accounts (id) ON DELETE SET NULL,
    invoice_id BLOB NOT NULL REFERENCES invoices (id) ON DELETE RESTRICT,
    provider TEXT NOT NULL,
    status TEXT NOT NULL,
    plan_id TEXT REFERENCES plans (id) ON DELETE RESTRICT,
    billing_cycle TEXT,
    currency TEXT NOT NULL,
    amount_minor INTEGER NOT NULL,
    fee_minor INTEGER,
    provider_payment_id TEXT,
    test INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    settled_at INTEGER,
    UNIQUE (provider, provider_payment_id),
    CONSTRAINT payments_provider_check CHECK (provider IN ('payfast')),
    CONSTRAINT payments_status_check CHECK (
        status IN ('created', 'pending', 'succeeded', 'failed', 'cancelled', 'expired', 'superseded')
    ),
    CONSTRAINT payments_cycle_check CHECK (billing_cycle IN ('monthly', 'yearly')),
    CONSTRAINT payments_amount_check CHECK (amount_minor > 0),
    CONSTRAINT payments_fee_check CHECK (fee_minor IS NULL OR fee_minor >= 0),
    CONSTRAINT payments_settled_check CHECK ((status = 'succeeded') = (settled_at IS NOT NULL)),
    CONSTRAINT payments_test_check CHECK (test IN (0, 1))
) STRICT, WITHOUT ROWID;
CREATE INDEX payments_organization_idx ON payments (organization_id, created_at, id);
CREATE INDEX payments_organization_status_idx ON payments (organization_id, status, id);
CREATE INDEX payments_status_idx ON payments (status, created_at);
CREATE INDEX payments_account_idx ON payments (account_id);
CREATE INDEX payments_invoice_idx ON payments (invoice_id);
CREATE INDEX payments_plan_idx ON payments (plan_id);

-- The inbox: signed notifications as they came, stored before they are answered. The same bytes again only count up.
CREATE TABLE provider_events (
    id BLOB NOT NULL PRIMARY KEY,
    provider TEXT NOT NULL,
    body BLOB NOT NULL,
    body_hash BLOB NOT NULL,
    peer TEXT NOT NULL,
    headers TEXT NOT NULL,
    status TEXT NOT NULL,
    detail TEXT NOT NULL,
    payment_status TEXT NOT NULL,
    provider_payment_id TEXT NOT NULL,
    payment_reference TEXT NOT NULL,
    deliveries INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    last_received_at INTEGER NOT NULL,
    applied_at INTEGER,
    UNIQUE (provider, body_hash),
    CONSTRAINT provider_events_provider_check CHECK (provider IN ('payfast')),
    CONSTRAINT provider_events_status_check
        CHECK (status IN ('received', 'applied', 'ignored', 'unapplied', 'refused')),
    CONSTRAINT provider_events_applied_check CHECK ((status = 'received') = (applied_at IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX provider_events_received_idx ON provider_events (received_at, id);
CREATE INDEX provider_events_status_idx ON provider_events (status, received_at, id);

-- Each effect of a provider's payment happens once, whatever is delivered how often.
CREATE TABLE provider_effects (
    provider TEXT NOT NULL,
    provider_payment_id TEXT NOT NULL,
    payment_status TEXT NOT NULL,
    event_id BLOB NOT NULL REFERENCES provider_events (id) ON DELETE RESTRICT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (provider, provider_payment_id, payment_status)
) STRICT, WITHOUT ROWID;
CREATE INDEX provider_effects_event_idx ON provider_effects (event_id);

-- Money that arrived, one row for each payment at the provider, whatever it was for. What is given back is given back
-- from here.
CREATE TABLE receipts (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB,
    payment_id BLOB REFERENCES payments (id) ON DELETE RESTRICT,
    invoice_id BLOB REFERENCES invoices (id) ON DELETE RESTRICT,
    event_id BLOB NOT NULL REFERENCES provider_events (id) ON DELETE RESTRICT,
    provider TEXT NOT NULL,
    provider_payment_id TEXT NOT NULL,
    status TEXT NOT NULL,
    currency TEXT NOT NULL,
    gross_minor INTEGER NOT NULL,
    fee_minor INTEGER NOT NULL,
    returned_minor INTEGER NOT NULL,
    test INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (provider, provider_payment_id),
    CONSTRAINT receipts_provider_check CHECK (provider IN ('payfast')),
    CONSTRAINT receipts_status_check CHECK (status IN ('applied', 'unapplied')),
    CONSTRAINT receipts_applied_check CHECK ((status = 'applied') = (invoice_id IS NOT NULL)),
    CONSTRAINT receipts_amounts_check CHECK (
        gross_minor > 0 AND fee_minor BETWEEN 0 AND gross_minor AND returned_minor BETWEEN 0 AND gross_minor
    ),
    CONSTRAINT receipts_test_check CHECK (test IN (0, 1))
) STRICT, WITHOUT ROWID;
CREATE INDEX receipts_organization_idx ON receipts (organization_id, created_at, id);
CREATE INDEX receipts_payment_idx ON receipts (payment_id);
CREATE INDEX receipts_invoice_idx ON receipts (invoice_id);
CREATE INDEX receipts_event_idx ON receipts (event_id);
CREATE INDEX receipts_status_idx ON receipts (status, created_at, id);

-- What claimed to be a notification and is not signed by the provider. Bounded by count and age; evidence, never
-- acted on.
CREATE TABLE provider_quarantine (
    id BLOB NOT NULL PRIMARY KEY,
    provider TEXT NOT NULL,
    -- Apart from the rest, so that strangers cannot push out what came from the provider's own addresses.
    listed_source INTEGER NOT NULL,
    body BLOB NOT NULL,
    peer TEXT NOT NULL,
    headers TEXT NOT NULL,
    reason TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    CONSTRAINT provider_quarantine_provider_check CHECK (provider IN ('payfast')),
    CONSTRAINT provider_quarantine_source_check CHECK (listed_source IN (0, 1))
) STRICT, WITHOUT ROWID;
CREATE INDEX provider_quarantine_received_idx ON provider_quarantine (listed_source, received_at, id);

-- What an operator must look at. The same thing in the same window is one alarm that counts.
CREATE TABLE alarms (
    id BLOB NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    dedupe_key TEXT NOT NULL,
    organization_id BLOB,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    occurrences INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    UNIQUE (kind, dedupe_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX alarms_created_idx ON alarms (created_at, id);

CREATE TABLE ledger_accounts (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    CONSTRAINT ledger_accounts_kind_check CHECK (kind IN ('asset', 'liability', 'income', 'expense'))
) STRICT, WITHOUT ROWID;

INSERT INTO ledger_accounts (id, kind, name) VALUES
    ('receivable', 'asset', 'Owed by customers on issued invoices'),
    ('payfast_clearing', 'asset', 'Held by PayFast'),
    ('bank', 'asset', 'Paid out by PayFast to the bank'),
    ('provider_fees', 'expense', 'Fees of payment providers'),
    ('revenue', 'income', 'Sales without tax'),
    ('deferred_revenue', 'liability', 'Sales still to be delivered, without tax'),
    ('vat_output', 'liability', 'Value-added tax to be paid over'),
    ('customer_credit', 'liability', 'Credit that customers may buy with'),
    ('unapplied_receipts', 'liability', 'Money received for no open order'),
    ('refunds', 'income', 'Sales undone by credit notes and refunds, without tax'),
    ('chargebacks', 'expense', 'Taken back by card schemes'),
    ('bad_debts', 'expense', 'Invoices given up for lost'),
    ('developer_payables', 'liability', 'Owed to developers'),
    ('payouts', 'asset', 'On its way to developers');

-- A ledger transaction is three things: its head, its entries, and its posting. The head cannot be committed without
-- its posting (a deferred foreign key), the posting cannot be inserted unless the entries balance (a trigger), and no
-- entry can be added once it is posted (another). So no commit leaves an unbalanced transaction, whoever writes it.
CREATE TABLE ledger_transactions (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB,
    kind TEXT NOT NULL,
    payment_id BLOB,
    invoice_id BLOB,
    event_id BLOB,
    memo TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    CONSTRAINT ledger_transactions_kind_check CHECK (
        kind IN (
            'invoice_issued', 'settlement', 'unapplied_receipt', 'credit_note', 'write_off', 'refund', 'chargeback',
            'provider_charge', 'bank_payout'
        )
    ),
    CONSTRAINT ledger_transactions_posting_fkey FOREIGN KEY (id) REFERENCES ledger_postings (transaction_id)
        ON DELETE RESTRICT DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT ledger_transactions_payment_fkey FOREIGN KEY (payment_id) REFERENCES payments (id) ON DELETE RESTRICT,
    CONSTRAINT ledger_transactions_invoice_fkey FOREIGN KEY (invoice_id) REFERENCES invoices (id) ON DELETE RESTRICT,
    CONSTRAINT ledger_transactions_event_fkey FOREIGN KEY (event_id) REFERENCES provider_events (id) ON DELETE RESTRICT
) STRICT, WITHOUT ROWID;
CREATE INDEX ledger_transactions_payment_idx ON ledger_transactions (payment_id);
CREATE INDEX ledger_transactions_invoice_idx ON ledger_transactions (invoice_id);
CREATE INDEX ledger_transactions_event_idx ON ledger_transactions (event_id);
CREATE INDEX ledger_transactions_organization_idx ON ledger_transactions (organization_id, created_at, id);

CREATE TABLE ledger_entries (
    transaction_id BLOB NOT NULL REFERENCES ledger_transactions (id) ON DELETE RESTRICT,
    position INTEGER NOT NULL,
    account_id TEXT NOT NULL REFERENCES ledger_accounts (id) ON DELETE RESTRICT,
    currency TEXT NOT NULL,
    amount_minor INTEGER NOT NULL,
    PRIMARY KEY (transaction_id, position),
    CONSTRAINT ledger_entries_amount_check CHECK (amount_minor <> 0)
) STRICT, WITHOUT ROWID;
CREATE INDEX ledger_entries_account_idx ON ledger_entries (account_id, currency);

CREATE TABLE ledger_postings (
    transaction_id BLOB NOT NULL PRIMARY KEY REFERENCES ledger_transactions (id) ON DELETE RESTRICT,
    posted_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER ledger_postings_balanced BEFORE INSERT ON ledger_postings
BEGIN
    SELECT RAISE(ABORT, 'ledger_unbalanced')
    WHERE (SELECT count(*) FROM ledger_entries WHERE transaction_id = NEW.transaction_id) < 2
       OR EXISTS (
           SELECT 1 FROM ledger_entries WHERE transaction_id = NEW.transaction_id
           GROUP BY currency HAVING sum(amount_minor) <> 0
       );
END;

CREATE TRIGGER ledger_entries_open BEFORE INSERT ON ledger_entries
BEGIN
    SELECT RAISE(ABORT, 'ledger_posted')
    WHERE EXISTS (SELECT 1 FROM ledger_postings WHERE transaction_id = NEW.transaction_id)
       OR NOT EXISTS (SELECT 1 FROM ledger_transactions WHERE id = NEW.transaction_id);
END;

CREATE TRIGGER ledger_transactions_kept_update BEFORE UPDATE ON ledger_transactions
BEGIN SELECT RAISE(ABORT, 'ledger_immutable'); END;
CREATE TRIGGER ledger_transactions_kept_delete BEFORE DELETE ON ledger_transactions
BEGIN SELECT RAISE(ABORT, 'ledger_immutable'); END;
CREATE TRIGGER ledger_entries_kept_update BEFORE UPDATE ON ledger_entries
BEGIN SELECT RAISE(ABORT, 'ledger_immutable'); END;
CREATE TRIGGER ledger_entries_kept_delete BEFORE DELETE ON ledger_entries
BEGIN SELECT RAISE(ABORT, 'ledger_immutable'); END;
CREATE TRIGGER ledger_postings_kept_update BEFORE UPDATE ON ledger_postings
BEGIN SELECT RAISE(ABORT, 'ledger_immutable'); END;
CREATE TRIGGER ledger_postings_kept_delete BEFORE DELETE ON ledger_postings
BEGIN SELECT RAISE(ABORT, 'ledger_immutable'); END;

-- The simulator's memory, used in simulator mode only: the faults that it was told to have (at most one row), and what
-- it sent lately.
CREATE TABLE simulator_faults (
    id INTEGER NOT NULL PRIMARY KEY,
    plan TEXT NOT NULL,
    payments INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    CONSTRAINT simulator_faults_id_check CHECK (id = 1),
    CONSTRAINT simulator_faults_payments_check CHECK (payments >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE simulator_deliveries (
    id BLOB NOT NULL PRIMARY KEY,
    provider_payment_id TEXT NOT NULL,
    payment_reference TEXT NOT NULL,
    payment_status TEXT NOT NULL,
    amount_minor INTEGER NOT NULL,
    fate TEXT NOT NULL,
    due_at INTEGER NOT NULL,
    sends INTEGER NOT NULL,
    answer INTEGER,
    sent_at INTEGER,
    confirmations INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX simulator_deliveries_provider_idx ON simulator_deliveries (provider_payment_id, payment_status, id);
CREATE INDEX simulator_deliveries_reference_idx ON simulator_deliveries (payment_reference, id);
