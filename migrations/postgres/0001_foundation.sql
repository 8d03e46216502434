-- The second wall between tenants. Every table that names its tenant is handed to this function in the migration that
-- makes it: without a scope nobody reads or writes a row of it, in an organisation's scope only that organisation's
-- rows, and for a named purpose of the platform all of them. It holds for the owner too. The floor sets the scope in
-- each transaction (src/db/scope.rs); whoever names an organisation has no purpose beside it. The settings are read in
-- subselects, once for a statement and not for each row.
CREATE FUNCTION protect_tenants(of_tenants regclass, tenant_column name DEFAULT 'organization_id')
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    tenant text := format(
        '%I = (SELECT CAST(nullif(current_setting(''capecontrol.organization'', true), '''') AS uuid))', tenant_column
    );
    platform text := '(SELECT current_setting(''capecontrol.purpose'', true) <> '''' '
        || 'AND coalesce(current_setting(''capecontrol.organization'', true), '''') = '''')';
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', of_tenants);
    EXECUTE format('CREATE POLICY tenant ON %s USING (%s) WITH CHECK (%s)', of_tenants, tenant, tenant);
    EXECUTE format('CREATE POLICY platform ON %s USING (%s) WITH CHECK (%s)', of_tenants, platform, platform);
END $$;

-- What the role that serves has no need of is not given to it. A table that is only added to is handed to this function
-- in the migration that makes it, with what is withheld, such as 'UPDATE, DELETE'. It stands in the table's comment,
-- which backups keep; whoever gives the role its rights (src/db/role.rs) reads it there.
CREATE FUNCTION withhold(of_table regclass, privileges text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('COMMENT ON TABLE %s IS %L', of_table, 'served without ' || privileges);
END $$;

-- Work to be done after a transaction commits. A finished job is deleted; one that failed for good stays, dead.
CREATE TABLE jobs (
  id              uuid        NOT NULL PRIMARY KEY,
  kind            text        NOT NULL,
  organization_id uuid,
  payload         text        NOT NULL,
  state           text        NOT NULL,
  run_at          timestamptz NOT NULL,
  attempts        bigint      NOT NULL,
  fence           bigint      NOT NULL,
  lease_until     timestamptz,
  last_error      text,
  created_at      timestamptz NOT NULL,
  CONSTRAINT jobs_state_check CHECK (state IN ('ready', 'running', 'dead')),
  CONSTRAINT jobs_lease_check CHECK ((state = 'running') = (lease_until IS NOT NULL))
);

CREATE INDEX jobs_state_run_at_idx ON jobs (state, run_at, id);
-- Only of what runs: an index that also held the waiting ones was taken to find those, in no order.
CREATE INDEX jobs_lease_until_idx ON jobs (lease_until) WHERE state = 'running';
-- What no tenant caused has no tenant, and is the platform's alone.
SELECT protect_tenants('jobs');

-- Answers of mutating calls, kept so that a repetition gets the first answer.
CREATE TABLE idempotency_keys (
  principal  text        NOT NULL,
  method     text        NOT NULL,
  key        uuid        NOT NULL,
  body_hash  bytea       NOT NULL,
  answer     text,
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (principal, method, key)
);

CREATE INDEX idempotency_keys_expires_at_idx ON idempotency_keys (expires_at);
