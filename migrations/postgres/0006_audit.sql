-- Who did what. Written in the transaction of the change that it tells of, and never changed afterwards.
CREATE TABLE audit_events (
    id uuid NOT NULL PRIMARY KEY,
    -- None for what concerns the platform as a whole.
    organization_id uuid,
    action text NOT NULL,
    outcome text NOT NULL,
    -- Why it was refused.
    reason text,
    -- How many equal refusals the entry stands for; 1 for what was done.
    occurrences bigint NOT NULL,
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
    -- Whose key sealed what is personal, and what it sealed. The key may be gone; the bytes stay.
    person_id uuid,
    personal bytea,
    created_at timestamptz NOT NULL,
    CONSTRAINT audit_events_outcome_check CHECK (outcome IN ('done', 'refused')),
    CONSTRAINT audit_events_reason_check CHECK ((outcome = 'refused') = (reason IS NOT NULL)),
    CONSTRAINT audit_events_occurrences_check CHECK (occurrences >= 1),
    CONSTRAINT audit_events_risk_check CHECK (risk IN ('low', 'medium', 'high')),
    CONSTRAINT audit_events_actor_kind_check
        CHECK (actor_kind IN ('account', 'agent', 'api_key', 'service_account', 'stranger', 'platform')),
    CONSTRAINT audit_events_subject_check CHECK ((subject_kind IS NULL) = (subject_id IS NULL)),
    CONSTRAINT audit_events_personal_check CHECK ((person_id IS NULL) = (personal IS NULL))
);
CREATE INDEX audit_events_organization_idx ON audit_events (organization_id, id);
SELECT protect_tenants('audit_events');

-- Entries that have no place in the chain yet, with the digests that they will have in it.
CREATE TABLE audit_unsealed (
    event_id uuid NOT NULL PRIMARY KEY,
    digest bytea NOT NULL,
    waits_since timestamptz NOT NULL,
    CONSTRAINT audit_unsealed_digest_check CHECK (length(digest) = 32)
);

-- The chain: each entry's place, its own digest, and the hash over the hash before it.
CREATE TABLE audit_seals (
    position bigint NOT NULL PRIMARY KEY,
    event_id uuid NOT NULL,
    digest bytea NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT audit_seals_event_id_key UNIQUE (event_id),
    CONSTRAINT audit_seals_position_check CHECK (position >= 1),
    CONSTRAINT audit_seals_digest_check CHECK (length(digest) = 32),
    CONSTRAINT audit_seals_hash_check CHECK (length(hash) = 32)
);

-- The signed end of each batch that was sealed.
CREATE TABLE audit_heads (
    position bigint NOT NULL PRIMARY KEY,
    -- The head before: the batch is what lies between.
    previous_position bigint NOT NULL,
    hash bytea NOT NULL,
    public_key bytea NOT NULL,
    signature bytea NOT NULL,
    signed_at timestamptz NOT NULL,
    CONSTRAINT audit_heads_position_check CHECK (position > previous_position AND previous_position >= 0),
    CONSTRAINT audit_heads_hash_check CHECK (length(hash) = 32),
    CONSTRAINT audit_heads_public_key_check CHECK (length(public_key) = 32),
    CONSTRAINT audit_heads_signature_check CHECK (length(signature) = 64)
);

-- Where the chain ends. One row, which whoever seals locks first, so that the chain never forks.
CREATE TABLE audit_chain (
    id bigint NOT NULL PRIMARY KEY,
    position bigint NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT audit_chain_id_check CHECK (id = 1),
    CONSTRAINT audit_chain_position_check CHECK (position >= 0),
    CONSTRAINT audit_chain_hash_check CHECK (length(hash) = 32)
);
INSERT INTO audit_chain (id, position, hash) VALUES (1, 0, decode(repeat('00', 32), 'hex'));

-- The keys of persons, wrapped by the root key. Deleting one erases what it sealed.
CREATE TABLE audit_people (
    person_id uuid NOT NULL PRIMARY KEY,
    wrapped bytea NOT NULL,
    -- When it is deleted by itself: the keys of strangers are made for a day.
    expires_at timestamptz,
    created_at timestamptz NOT NULL
);
CREATE INDEX audit_people_expires_at_idx ON audit_people (expires_at) WHERE expires_at IS NOT NULL;

CREATE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_immutable' USING ERRCODE = 'check_violation', CONSTRAINT = 'audit_immutable';
END $$;

CREATE FUNCTION audit_check_sealed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM audit_seals WHERE event_id = OLD.event_id) THEN
        RAISE EXCEPTION 'audit_not_sealed' USING ERRCODE = 'check_violation', CONSTRAINT = 'audit_not_sealed';
    END IF;
    RETURN OLD;
END $$;

CREATE FUNCTION audit_check_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.position <= OLD.position THEN
        RAISE EXCEPTION 'audit_immutable' USING ERRCODE = 'check_violation', CONSTRAINT = 'audit_immutable';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER audit_events_kept BEFORE UPDATE OR DELETE ON audit_events
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_events_kept_whole BEFORE TRUNCATE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_seals_kept BEFORE UPDATE OR DELETE ON audit_seals
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_seals_kept_whole BEFORE TRUNCATE ON audit_seals
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_heads_kept BEFORE UPDATE OR DELETE ON audit_heads
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_heads_kept_whole BEFORE TRUNCATE ON audit_heads
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
-- An entry leaves the queue when it is in the chain, and not before.
CREATE TRIGGER audit_unsealed_kept BEFORE UPDATE ON audit_unsealed
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_unsealed_sealed BEFORE DELETE ON audit_unsealed
    FOR EACH ROW EXECUTE FUNCTION audit_check_sealed();
CREATE TRIGGER audit_unsealed_kept_whole BEFORE TRUNCATE ON audit_unsealed
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_chain_forward BEFORE UPDATE ON audit_chain
    FOR EACH ROW EXECUTE FUNCTION audit_check_forward();
CREATE TRIGGER audit_chain_kept BEFORE DELETE ON audit_chain
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_chain_kept_whole BEFORE TRUNCATE ON audit_chain
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();

-- The triggers hold for whoever may write at all. The role that serves may not even try.
SELECT withhold('audit_events', 'UPDATE, DELETE');
SELECT withhold('audit_seals', 'UPDATE, DELETE');
SELECT withhold('audit_heads', 'UPDATE, DELETE');
SELECT withhold('audit_unsealed', 'UPDATE');
SELECT withhold('audit_chain', 'INSERT, DELETE');
SELECT withhold('audit_people', 'UPDATE');
