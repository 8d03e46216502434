-- Who did what. Written in the transaction of the change that it tells of.
CREATE TABLE audit_events (
    id BLOB NOT NULL PRIMARY KEY,
    -- None for what concerns the platform as a whole.
    organization_id BLOB,
    action TEXT NOT NULL,
    risk TEXT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor_id BLOB,
    on_behalf_of BLOB,
    session_id BLOB,
    purpose TEXT,
    subject_kind TEXT,
    subject_id BLOB,
    -- Keyed digests of the states; the states themselves are not kept.
    before_digest BLOB,
    after_digest BLOB,
    request_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    CONSTRAINT audit_events_risk_check CHECK (risk IN ('low', 'medium', 'high')),
    CONSTRAINT audit_events_actor_kind_check
        CHECK (actor_kind IN ('account', 'api_key', 'service_account', 'stranger', 'platform')),
    CONSTRAINT audit_events_subject_check CHECK ((subject_kind IS NULL) = (subject_id IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_events_organization_idx ON audit_events (organization_id, created_at, id);
