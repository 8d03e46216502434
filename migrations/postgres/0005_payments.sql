-- Plans, invoices, payments, subscriptions, the inbox of provider notifications and the double-entry ledger.

-- What can be bought. `id` is a stable word, so that a program can name a plan without looking it up.
CREATE TABLE plans (
    id text NOT NULL PRIMARY KEY,
    position bigint NOT NULL,
    name text NOT NULL,
    description text NOT NULL,
    kind text NOT NULL,
    currency text NOT NULL,
    monthly_minor bigint NOT NULL,
    yearly_minor bigint,
    agents_max bigint NOT NULL,
    executions_max bigint NOT NULL,
    listed boolean NOT NULL,
    UNIQUE (position),
    CONSTRAINT plans_kind_check CHECK (kind IN ('subscription', 'verification')),
    CONSTRAINT plans_price_check CHECK (monthly_minor >= 0 AND (yearly_minor IS NULL OR yearly_minor >= 0)),
    CONSTRAINT plans_limits_check CHECK (agents_max >= 0 AND executions_max >= 0)
);

INSERT INTO plans
    (id, position, name, description, kind, currency, monthly_minor, yearly_minor, agents_max, executions_max, listed)
VALUES
    ('free', 1, 'Free', 'For trying things out.',
     'subscription', 'ZAR', 0, 0, 3, 50, true),
    ('pro', 2, 'Pro', 'For people who work with agents every day.',
     'subscription', 'ZAR', 52900, 499000, 50, 2000, true),
    ('enterprise', 3, 'Enterprise', 'For teams that run on agents.',
     'subscription', 'ZAR', 179900, 1719000, 500, 8000, true),
    ('live-verification', 4, 'Live verification',
     'A payment of R5.00 that proves a live merchant account; it gives nothing.',
     'verification', 'ZAR', 500, NULL, 0, 0, false);

-- Who is invoiced. The row is also the lock under which everything about an organisation's money is decided.
CREATE TABLE billing_profiles (
    organization_id uuid NOT NULL PRIMARY KEY REFERENCES organizations (id) ON DELETE RESTRICT,
    name text NOT NULL,
    email text NOT NULL,
    vat_number text NOT NULL,
    address text NOT NULL,
    country text NOT NULL,
    version bigint NOT NULL,
    updated_at timestamptz NOT NULL
);
SELECT protect_tenants('billing_profiles');

CREATE TABLE subscriptions (
    id uuid NOT NULL PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    plan_id text NOT NULL REFERENCES plans (id) ON DELETE RESTRICT,
    billing_cycle text NOT NULL,
    anchor_day bigint NOT NULL,
    period_start timestamptz NOT NULL,
    period_end timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    UNIQUE (organization_id),
    CONSTRAINT subscriptions_cycle_check CHECK (billing_cycle IN ('monthly', 'yearly')),
    CONSTRAINT subscriptions_anchor_check CHECK (anchor_day BETWEEN 1 AND 31),
    CONSTRAINT subscriptions_period_check CHECK (period_start < period_end)
);
CREATE INDEX subscriptions_plan_idx ON subscriptions (plan_id);
SELECT protect_tenants('subscriptions');

CREATE TABLE invoices (
    id uuid NOT NULL PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    origin text NOT NULL,
    -- Gapless in its series and given when the invoice is issued. A checkout's is issued by being paid: what nobody
    -- pays takes no number.
    number text,
    status text NOT NULL,
    currency text NOT NULL,
    total_minor bigint NOT NULL,
    tax_minor bigint NOT NULL,
    tax_rate_bp bigint NOT NULL,
    prices_include_tax boolean NOT NULL,
    credited_minor bigint NOT NULL,
    supplier_legal_name text NOT NULL,
    supplier_trading_name text NOT NULL,
    supplier_vat_number text NOT NULL,
    supplier_address text NOT NULL,
    customer_name text NOT NULL,
    customer_vat_number text NOT NULL,
    customer_address text NOT NULL,
    test boolean NOT NULL,
    created_at timestamptz NOT NULL,
    issued_at timestamptz,
    paid_at timestamptz,
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
    )
);
CREATE INDEX invoices_organization_idx ON invoices (organization_id, created_at, id);
SELECT protect_tenants('invoices');

CREATE TABLE invoice_lines (
    invoice_id uuid NOT NULL REFERENCES invoices (id) ON DELETE RESTRICT,
    organization_id uuid NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    position bigint NOT NULL,
    description text NOT NULL,
    quantity bigint NOT NULL,
    unit_minor bigint NOT NULL,
    total_minor bigint NOT NULL,
    plan_id text REFERENCES plans (id) ON DELETE RESTRICT,
    billing_cycle text,
    period_start timestamptz,
    period_end timestamptz,
    PRIMARY KEY (invoice_id, position),
    CONSTRAINT invoice_lines_cycle_check CHECK (billing_cycle IN ('monthly', 'yearly')),
    CONSTRAINT invoice_lines_total_check CHECK (quantity > 0 AND total_minor = quantity * unit_minor)
);
CREATE INDEX invoice_lines_organization_idx ON invoice_lines (organization_id);
CREATE INDEX invoice_lines_plan_idx ON invoice_lines (plan_id);
SELECT protect_tenants('invoice_lines');

-- One row for each series of numbers. Taking a number locks it until the transaction ends, so that a number that is
-- rolled back is the next one's.
CREATE TABLE invoice_counters (
    legal_name text NOT NULL,
    series text NOT NULL,
    next_number bigint NOT NULL,
    PRIMARY KEY (legal_name, series),
    CONSTRAINT invoice_counters_next_check CHECK (next_number > 0)
);

-- Attempts to pay. Each carries what it buys.
CREATE TABLE payments (
    id uuid NOT NULL PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    account_id uuid REFERENCES accounts (id) ON DELETE SET NULL,
    invoice_id uuid NOT NULL REFERENCES invoices (id) ON DELETE RESTRICT,
    provider text NOT NULL,
    status text NOT NULL,
    plan_id text REFERENCES plans (id) ON DELETE RESTRICT,
    billing_cycle text,
    currency text NOT NULL,
    amount_minor bigint NOT NULL,
    fee_minor bigint,
    provider_payment_id text,
    test boolean NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    settled_at timestamptz,
    UNIQUE (provider, provider_payment_id),
    CONSTRAINT payments_provider_check CHECK (provider IN ('payfast')),
    CONSTRAINT payments_status_check CHECK (
        status IN ('created', 'pending', 'succeeded', 'failed', 'cancelled', 'expired', 'superseded')
    ),
    CONSTRAINT payments_cycle_check CHECK (billing_cycle IN ('monthly', 'yearly')),
    CONSTRAINT payments_amount_check CHECK (amount_minor > 0),
    CONSTRAINT payments_fee_check CHECK (fee_minor IS NULL OR fee_minor >= 0),
    CONSTRAINT payments_settled_check CHECK ((status = 'succeeded') = (settled_at IS NOT NULL))
);
CREATE INDEX payments_organization_idx ON payments (organization_id, created_at, id);
CREATE INDEX payments_organization_status_idx ON payments (organization_id, status, id);
CREATE INDEX payments_status_idx ON payments (status, created_at);
CREATE INDEX payments_account_idx ON payments (account_id);
CREATE INDEX payments_invoice_idx ON payments (invoice_id);
CREATE INDEX payments_plan_idx ON payments (plan_id);
SELECT protect_tenants('payments');

-- The inbox: signed notifications as they came, stored before they are answered. The same bytes again only count up.
CREATE TABLE provider_events (
    id uuid NOT NULL PRIMARY KEY,
    provider text NOT NULL,
    body bytea NOT NULL,
    body_hash bytea NOT NULL,
    peer text NOT NULL,
    headers text NOT NULL,
    status text NOT NULL,
    detail text NOT NULL,
    payment_status text NOT NULL,
    provider_payment_id text NOT NULL,
    payment_reference text NOT NULL,
    deliveries bigint NOT NULL,
    received_at timestamptz NOT NULL,
    last_received_at timestamptz NOT NULL,
    applied_at timestamptz,
    UNIQUE (provider, body_hash),
    CONSTRAINT provider_events_provider_check CHECK (provider IN ('payfast')),
    CONSTRAINT provider_events_status_check
        CHECK (status IN ('received', 'applied', 'ignored', 'unapplied', 'refused')),
    CONSTRAINT provider_events_applied_check CHECK ((status = 'received') = (applied_at IS NULL))
);
CREATE INDEX provider_events_received_idx ON provider_events (received_at, id);
CREATE INDEX provider_events_status_idx ON provider_events (status, received_at, id);

-- Each effect of a provider's payment happens once, whatever is delivered how often.
CREATE TABLE provider_effects (
    provider text NOT NULL,
    provider_payment_id text NOT NULL,
    payment_status text NOT NULL,
    event_id uuid NOT NULL REFERENCES provider_events (id) ON DELETE RESTRICT,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (provider, provider_payment_id, payment_status)
);
CREATE INDEX provider_effects_event_idx ON provider_effects (event_id);

-- Money that arrived, one row for each payment at the provider, whatever it was for. What is given back is given back
-- from here.
CREATE TABLE receipts (
    id uuid NOT NULL PRIMARY KEY,
    organization_id uuid,
    payment_id uuid REFERENCES payments (id) ON DELETE RESTRICT,
    invoice_id uuid REFERENCES invoices (id) ON DELETE RESTRICT,
    event_id uuid NOT NULL REFERENCES provider_events (id) ON DELETE RESTRICT,
    provider text NOT NULL,
    provider_payment_id text NOT NULL,
    status text NOT NULL,
    currency text NOT NULL,
    gross_minor bigint NOT NULL,
    fee_minor bigint NOT NULL,
    returned_minor bigint NOT NULL,
    test boolean NOT NULL,
    created_at timestamptz NOT NULL,
    UNIQUE (provider, provider_payment_id),
    CONSTRAINT receipts_provider_check CHECK (provider IN ('payfast')),
    CONSTRAINT receipts_status_check CHECK (status IN ('applied', 'unapplied')),
    CONSTRAINT receipts_applied_check CHECK ((status = 'applied') = (invoice_id IS NOT NULL)),
    CONSTRAINT receipts_amounts_check CHECK (
        gross_minor > 0 AND fee_minor BETWEEN 0 AND gross_minor AND returned_minor BETWEEN 0 AND gross_minor
    )
);
CREATE INDEX receipts_organization_idx ON receipts (organization_id, created_at, id);
CREATE INDEX receipts_payment_idx ON receipts (payment_id);
CREATE INDEX receipts_invoice_idx ON receipts (invoice_id);
CREATE INDEX receipts_event_idx ON receipts (event_id);
CREATE INDEX receipts_status_idx ON receipts (status, created_at, id);
SELECT protect_tenants('receipts');

-- What claimed to be a notification and is not signed by the provider. Bounded by count and age; evidence, never
-- acted on.
CREATE TABLE provider_quarantine (
    id uuid NOT NULL PRIMARY KEY,
    provider text NOT NULL,
    -- Apart from the rest, so that strangers cannot push out what came from the provider's own addresses.
    listed_source boolean NOT NULL,
    body bytea NOT NULL,
    peer text NOT NULL,
    headers text NOT NULL,
    reason text NOT NULL,
    received_at timestamptz NOT NULL,
    CONSTRAINT provider_quarantine_provider_check CHECK (provider IN ('payfast'))
);
CREATE INDEX provider_quarantine_received_idx ON provider_quarantine (listed_source, received_at, id);

-- What an operator must look at. The same thing in the same window is one alarm that counts.
CREATE TABLE alarms (
    id uuid NOT NULL PRIMARY KEY,
    kind text NOT NULL,
    dedupe_key text NOT NULL,
    organization_id uuid,
    subject text NOT NULL,
    detail text NOT NULL,
    occurrences bigint NOT NULL,
    created_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    UNIQUE (kind, dedupe_key)
);
CREATE INDEX alarms_created_idx ON alarms (created_at, id);
SELECT protect_tenants('alarms');

CREATE TABLE ledger_accounts (
    id text NOT NULL PRIMARY KEY,
    kind text NOT NULL,
    name text NOT NULL,
    CONSTRAINT ledger_accounts_kind_check CHECK (kind IN ('asset', 'liability', 'income', 'expense'))
);

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
    id uuid NOT NULL PRIMARY KEY,
    organization_id uuid,
    kind text NOT NULL,
    payment_id uuid,
    invoice_id uuid,
    event_id uuid,
    memo text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT ledger_transactions_kind_check CHECK (
        kind IN (
            'invoice_issued', 'settlement', 'unapplied_receipt', 'credit_note', 'write_off', 'refund', 'chargeback',
            'provider_charge', 'bank_payout'
        )
    ),
    CONSTRAINT ledger_transactions_payment_fkey FOREIGN KEY (payment_id) REFERENCES payments (id) ON DELETE RESTRICT,
    CONSTRAINT ledger_transactions_invoice_fkey FOREIGN KEY (invoice_id) REFERENCES invoices (id) ON DELETE RESTRICT,
    CONSTRAINT ledger_transactions_event_fkey FOREIGN KEY (event_id) REFERENCES provider_events (id) ON DELETE RESTRICT
);
CREATE INDEX ledger_transactions_payment_idx ON ledger_transactions (payment_id);
CREATE INDEX ledger_transactions_invoice_idx ON ledger_transactions (invoice_id);
CREATE INDEX ledger_transactions_event_idx ON ledger_transactions (event_id);
CREATE INDEX ledger_transactions_organization_idx ON ledger_transactions (organization_id, created_at, id);
SELECT protect_tenants('ledger_transactions');

CREATE TABLE ledger_entries (
    transaction_id uuid NOT NULL REFERENCES ledger_transactions (id) ON DELETE RESTRICT,
    position bigint NOT NULL,
    account_id text NOT NULL REFERENCES ledger_accounts (id) ON DELETE RESTRICT,
    currency text NOT NULL,
    amount_minor bigint NOT NULL,
    PRIMARY KEY (transaction_id, position),
    CONSTRAINT ledger_entries_amount_check CHECK (amount_minor <> 0)
);
CREATE INDEX ledger_entries_account_idx ON ledger_entries (account_id, currency);

CREATE TABLE ledger_postings (
    transaction_id uuid NOT NULL PRIMARY KEY REFERENCES ledger_transactions (id) ON DELETE RESTRICT,
    posted_at timestamptz NOT NULL
);

ALTER TABLE ledger_transactions ADD CONSTRAINT ledger_transactions_posting_fkey
    FOREIGN KEY (id) REFERENCES ledger_postings (transaction_id) ON DELETE RESTRICT DEFERRABLE INITIALLY DEFERRED;

CREATE FUNCTION ledger_check_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM ledger_entries WHERE transaction_id = NEW.transaction_id) < 2
       OR EXISTS (
           SELECT 1 FROM ledger_entries WHERE transaction_id = NEW.transaction_id
           GROUP BY currency HAVING sum(amount_minor) <> 0
       )
    THEN
        RAISE EXCEPTION 'ledger_unbalanced' USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_unbalanced';
    END IF;
    RETURN NEW;
END $$;

-- A head that this transaction's snapshot cannot see was committed, and so posted, by another.
CREATE FUNCTION ledger_check_open() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM ledger_postings WHERE transaction_id = NEW.transaction_id)
       OR NOT EXISTS (SELECT 1 FROM ledger_transactions WHERE id = NEW.transaction_id)
    THEN
        RAISE EXCEPTION 'ledger_posted' USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_posted';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION ledger_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ledger_immutable' USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_immutable';
END $$;

CREATE TRIGGER ledger_postings_balanced BEFORE INSERT ON ledger_postings
    FOR EACH ROW EXECUTE FUNCTION ledger_check_balanced();
CREATE TRIGGER ledger_entries_open BEFORE INSERT ON ledger_entries
    FOR EACH ROW EXECUTE FUNCTION ledger_check_open();
CREATE TRIGGER ledger_transactions_kept BEFORE UPDATE OR DELETE ON ledger_transactions
    FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_transactions_kept_whole BEFORE TRUNCATE ON ledger_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_entries_kept BEFORE UPDATE OR DELETE ON ledger_entries
    FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_entries_kept_whole BEFORE TRUNCATE ON ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_postings_kept BEFORE UPDATE OR DELETE ON ledger_postings
    FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_postings_kept_whole BEFORE TRUNCATE ON ledger_postings
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();

-- The simulator's memory, used in simulator mode only: the faults that it was told to have (at most one row), and what
-- it sent lately.
CREATE TABLE simulator_faults (
    id bigint NOT NULL PRIMARY KEY,
    plan jsonb NOT NULL,
    payments bigint NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT simulator_faults_id_check CHECK (id = 1),
    CONSTRAINT simulator_faults_payments_check CHECK (payments >= 0)
);

CREATE TABLE simulator_deliveries (
    id uuid NOT NULL PRIMARY KEY,
    provider_payment_id text NOT NULL,
    payment_reference text NOT NULL,
    payment_status text NOT NULL,
    amount_minor bigint NOT NULL,
    fate jsonb NOT NULL,
    due_at timestamptz NOT NULL,
    sends bigint NOT NULL,
    answer bigint,
    sent_at timestamptz,
    confirmations bigint NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX simulator_deliveries_provider_idx ON simulator_deliveries (provider_payment_id, payment_status, id);
CREATE INDEX simulator_deliveries_reference_idx ON simulator_deliveries (payment_reference, id);
