-- Who did what. Written in the transaction of the change that it tells of.
CREATE TABLE audit_events (
    id uuid NOT NULL PRIMARY KEY,
    -- None for what concerns the platform as a whole.
    organization_id uuid,
    action text NOT NULL,
    risk text NOT NULL,
    actor_kind text NOT NULL,
    actor_id uuid,
    on_behalf_of uuid,
    session_id uuid,
    purpose text,
    subject_kind text,
    subject_id uuid,
    -- Keyed digests of the states; the states themselves are not kept.
    before_digest bytea,
    after_digest bytea,
    request_id text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT audit_events_risk_check CHECK (risk IN ('low', 'medium', 'high')),
    CONSTRAINT audit_events_actor_kind_check
        CHECK (actor_kind IN ('account', 'api_key', 'service_account', 'stranger', 'platform')),
    CONSTRAINT audit_events_subject_check CHECK ((subject_kind IS NULL) = (subject_id IS NULL))
);
CREATE INDEX audit_events_organization_idx ON audit_events (organization_id, created_at, id);
SELECT protect_tenants('audit_events');
