-- What is taken off invoices that were issued.

-- Written once. The number is gapless in its own series and taken last, as an invoice's is. The parties are the
-- invoice's. Which refund a note belongs to is told by its id alone: either may be written first.
CREATE TABLE credit_notes (
    id uuid NOT NULL PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    invoice_id uuid NOT NULL REFERENCES invoices (id) ON DELETE RESTRICT,
    invoice_number text NOT NULL,
    number text NOT NULL,
    refund_id uuid,
    currency text NOT NULL,
    amount_minor bigint NOT NULL,
    tax_minor bigint NOT NULL,
    tax_rate_bp bigint NOT NULL,
    reason text NOT NULL,
    account_id uuid REFERENCES accounts (id) ON DELETE SET NULL,
    supplier_legal_name text NOT NULL,
    supplier_trading_name text NOT NULL,
    supplier_vat_number text NOT NULL,
    supplier_address text NOT NULL,
    customer_name text NOT NULL,
    customer_vat_number text NOT NULL,
    customer_address text NOT NULL,
    test boolean NOT NULL,
    issued_at timestamptz NOT NULL,
    UNIQUE (supplier_legal_name, number),
    CONSTRAINT credit_notes_amounts_check CHECK (amount_minor > 0 AND tax_minor BETWEEN 0 AND amount_minor)
);
CREATE INDEX credit_notes_organization_idx ON credit_notes (organization_id, issued_at, id);
CREATE INDEX credit_notes_invoice_idx ON credit_notes (invoice_id, issued_at, id);
CREATE INDEX credit_notes_account_idx ON credit_notes (account_id);
SELECT protect_tenants('credit_notes');

-- Until when an invoice is to be paid, if that is said; and the customer's name in small letters, by which lists are
-- sorted and searched. Both texts are compared byte by byte, as SQLite does.
ALTER TABLE invoices ADD COLUMN due_at timestamptz;
ALTER TABLE invoices ADD COLUMN customer_key text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE invoices ALTER COLUMN number TYPE text COLLATE "C";

-- Each list of invoices is one part of one of these.
DROP INDEX invoices_organization_idx;
CREATE INDEX invoices_created_idx ON invoices (organization_id, status, created_at, id);
CREATE INDEX invoices_issued_idx ON invoices (organization_id, status, issued_at, id);
CREATE INDEX invoices_due_idx ON invoices (organization_id, status, due_at, id);
CREATE INDEX invoices_total_idx ON invoices (organization_id, status, total_minor, id);
CREATE INDEX invoices_number_idx ON invoices (organization_id, status, number, id);
CREATE INDEX invoices_customer_idx ON invoices (organization_id, status, customer_key, id);
