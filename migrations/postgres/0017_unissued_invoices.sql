-- What checkouts made and nobody has paid yet, whoever's it is: few, and the oldest of them are given up.
CREATE INDEX invoices_unissued_idx ON invoices (created_at, id) WHERE status = 'open' AND origin = 'checkout';
