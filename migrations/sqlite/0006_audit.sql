-- Who did what. Written in the transaction of the change that it tells of, and never changed afterwards.
CREATE TABLE audit_events (
    id BLOB NOT NULL PRIMARY KEY,
    -- None for what concerns the platform as a whole.
    organization_id BLOB,
    action TEXT NOT NULL,
    outcome TEXT NOT NULL,
    -- Why it was refused.
    reason TEXT,
    -- How many equal refusals the entry stands for; 1 for what was done.
    occurrences INTEGER NOT NULL,
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
    -- Whose key sealed what is personal, and what it sealed. The key may be gone; the bytes stay.
    person_id BLOB,
    personal BLOB,
    created_at INTEGER NOT NULL,
    CONSTRAINT audit_events_outcome_check CHECK (outcome IN ('done', 'refused')),
    CONSTRAINT audit_events_reason_check CHECK ((outcome = 'refused') = (reason IS NOT NULL)),
    CONSTRAINT audit_events_occurrences_check CHECK (occurrences >= 1),
    CONSTRAINT audit_events_risk_check CHECK (risk IN ('low', 'medium', 'high')),
    CONSTRAINT audit_events_actor_kind_check
        CHECK (actor_kind IN ('account', 'agent', 'api_key', 'service_account', 'stranger', 'platform')),
    CONSTRAINT audit_events_subject_check CHECK ((subject_kind IS NULL) = (subject_id IS NULL)),
    CONSTRAINT audit_events_personal_check CHECK ((person_id IS NULL) = (personal IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_events_organization_idx ON audit_events (organization_id, id);

-- Entries that have no place in the chain yet, with the digests that they will have in it.
CREATE TABLE audit_unsealed (
    event_id BLOB NOT NULL PRIMARY KEY,
    digest BLOB NOT NULL,
    waits_since INTEGER NOT NULL,
    CONSTRAINT audit_unsealed_digest_check CHECK (length(digest) = 32)
) STRICT, WITHOUT ROWID;

-- The chain: each entry's place, its own digest, and the hash over the hash before it.
CREATE TABLE audit_seals (
    position INTEGER NOT NULL PRIMARY KEY,
    event_id BLOB NOT NULL,
    digest BLOB NOT NULL,
    hash BLOB NOT NULL,
    CONSTRAINT audit_seals_event_id_key UNIQUE (event_id),
    CONSTRAINT audit_seals_position_check CHECK (position >= 1),
    CONSTRAINT audit_seals_digest_check CHECK (length(digest) = 32),
    CONSTRAINT audit_seals_hash_check CHECK (length(hash) = 32)
) STRICT, WITHOUT ROWID;

-- The signed end of each batch that was sealed.
CREATE TABLE audit_heads (
    position INTEGER NOT NULL PRIMARY KEY,
    -- The head before: the batch is what lies between.
    previous_position INTEGER NOT NULL,
    hash BLOB NOT NULL,
    public_key BLOB NOT NULL,
    signature BLOB NOT NULL,
    signed_at INTEGER NOT NULL,
    CONSTRAINT audit_heads_position_check CHECK (position > previous_position AND previous_position >= 0),
    CONSTRAINT audit_heads_hash_check CHECK (length(hash) = 32),
    CONSTRAINT audit_heads_public_key_check CHECK (length(public_key) = 32),
    CONSTRAINT audit_heads_signature_check CHECK (length(signature) = 64)
) STRICT, WITHOUT ROWID;

-- Where the chain ends. One row, which whoever seals locks first, so that the chain never forks.
CREATE TABLE audit_chain (
    id INTEGER NOT NULL PRIMARY KEY,
    position INTEGER NOT NULL,
    hash BLOB NOT NULL,
    CONSTRAINT audit_chain_id_check CHECK (id = 1),
    CONSTRAINT audit_chain_position_check CHECK (position >= 0),
    CONSTRAINT audit_chain_hash_check CHECK (length(hash) = 32)
) STRICT, WITHOUT ROWID;
INSERT INTO audit_chain (id, position, hash) VALUES (1, 0, zeroblob(32));

-- The keys of persons, wrapped by the root key. Deleting one erases what it sealed.
CREATE TABLE audit_people (
    person_id BLOB NOT NULL PRIMARY KEY,
    wrapped BLOB NOT NULL,
    -- When it is deleted by itself: the keys of strangers are made for a day.
    expires_at INTEGER,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_people_expires_at_idx ON audit_people (expires_at) WHERE expires_at IS NOT NULL;

CREATE TRIGGER audit_events_kept_update BEFORE UPDATE ON audit_events
BEGIN SELECT RAISE(ABORT, 'audit_immutable'); END;
CREATE TRIGGER audit_events_kept_delete BEFORE DELETE ON audit_events
BEGIN SELECT RAISE(ABORT, 'audit_immutable'); END;
CREATE TRIGGER audit_seals_kept_update BEFORE UPDATE ON audit_seals
BEGIN SELECT RAISE(ABORT, 'audit_immutable'); END;
CREATE TRIGGER audit_seals_kept_delete BEFORE DELETE ON audit_seals
BEGIN SELECT RAISE(ABORT, 'audit_immutable'); END;
CREATE TRIGGER audit_heads_kept_update BEFORE UPDATE ON audit_heads
BEGIN SELECT RAISE(ABORT, 'audit_immutable'); END;
CREATE TRIGGER audit_heads_kept_delete BEFORE DELETE ON audit_heads
BEGIN SELECT RAISE(ABORT, 'audit_immutable'); END;
-- An entry leaves the queue when it is in the chain, and not before.
CREATE TRIGGER audit_unsealed_kept BEFORE UPDATE ON audit_unsealed
BEGIN SELECT RAISE(ABORT, 'audit_immutable'); END;
CREATE TRIGGER audit_unsealed_sealed BEFORE DELETE ON audit_unsealed
WHEN NOT EXISTS (SELECT 1 FROM audit_seals WHERE event_id = OLD.event_id)
BEGIN SELECT RAISE(ABORT, 'audit_not_sealed'); END;
CREATE TRIGGER audit_chain_forward BEFORE UPDATE ON audit_chain
WHEN NEW.position <= OLD.position
BEGIN SELECT RAISE(ABORT, 'audit_immutable'); END;
CREATE TRIGGER audit_chain_kept BEFORE DELETE ON audit_chain
BEGIN SELECT RAISE(ABORT, 'audit_immutable'); END;
