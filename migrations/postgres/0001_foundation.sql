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
