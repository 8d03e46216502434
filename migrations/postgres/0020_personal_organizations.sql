-- An account knows its own organisation, so that to learn who calls nobody has to look behind the wall between tenants.
-- The two are made in one transaction, the account first.
ALTER TABLE accounts ADD COLUMN personal_organization_id uuid
    REFERENCES organizations (id) DEFERRABLE INITIALLY DEFERRED;
UPDATE accounts SET personal_organization_id =
    (SELECT o.id FROM organizations AS o WHERE o.personal_account_id = accounts.id);
-- No organisation is two people's own.
CREATE UNIQUE INDEX accounts_personal_organization_id_key ON accounts (personal_organization_id);
