-- What is taken off invoices that were issued.

-- Written once. The number is gapless in its own series and taken last, as an invoice's is. The parties are the
-- invoice's. Which refund a note belongs to is told by its id alone: either may be written first.
CREATE TABLE credit_notes (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    invoice_id BLOB NOT NULL REFERENCES invoices (id) ON DELETE RESTRICT,
    invoice_number TEXT NOT NULL,
    number TEXT NOT NULL,
    refund_id BLOB,
    currency TEXT NOT NULL,
    amount_minor INTEGER NOT NULL,
    tax_minor INTEGER NOT NULL,
    tax_rate_bp INTEGER NOT NULL,
    reason TEXT NOT NULL,
    account_id BLOB REFERENCES accounts (id) ON DELETE SET NULL,
    supplier_legal_name TEXT NOT NULL,
    supplier_trading_name TEXT NOT NULL,
    supplier_vat_number TEXT NOT NULL,
    supplier_address TEXT NOT NULL,
    customer_name TEXT NOT NULL,
    customer_vat_number TEXT NOT NULL,
    customer_address TEXT NOT NULL,
    test INTEGER NOT NULL,
    issued_at INTEGER NOT NULL,
    UNIQUE (supplier_legal_name, number),
    CONSTRAINT credit_notes_amounts_check CHECK (amount_minor > 0 AND tax_minor BETWEEN 0 AND amount_minor),
    CONSTRAINT credit_notes_test_check CHECK (test IN (0, 1))
) STRICT, WITHOUT ROWID;
CREATE INDEX credit_notes_organization_idx ON credit_notes (organization_id, issued_at, id);
CREATE INDEX credit_notes_invoice_idx ON credit_notes (invoice_id, issued_at, id);
CREATE INDEX credit_notes_account_idx ON credit_notes (account_id);

-- Until when an invoice is to be paid, if that is said; and the customer's name in small letters, by which lists are
-- sorted and searched.
ALTER TABLE invoices ADD COLUMN due_at INTEGER;
ALTER TABLE invoices ADD COLUMN customer_key TEXT NOT NULL DEFAULT '';

-- Each list of invoices is one part of one of these.
DROP INDEX invoices_organization_idx;
CREATE INDEX invoices_created_idx ON invoices (organization_id, status, created_at, id);
CREATE INDEX invoices_issued_idx ON invoices (organization_id, status, issued_at, id);
CREATE INDEX invoices_due_idx ON invoices (organization_id, status, due_at, id);
CREATE INDEX invoices_total_idx ON invoices (organization_id, status, total_minor, id);
CREATE INDEX invoices_number_idx ON invoices (organization_id, status, number, id);
CREATE INDEX invoices_customer_idx ON invoices (organization_id, status, customer_key, id);
