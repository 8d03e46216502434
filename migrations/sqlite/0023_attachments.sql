-- Files that go with messages. Their bytes are kept elsewhere, under keys that follow from the ids; a row is there
-- before the first byte of it is, and until the last one is gone.

CREATE TABLE attachments (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    thread_id BLOB NOT NULL REFERENCES threads (id) ON DELETE RESTRICT,
    account_id BLOB NOT NULL REFERENCES accounts (id) ON DELETE RESTRICT,
    -- The message that it went with.
    message_id BLOB REFERENCES messages (id) ON DELETE SET NULL,
    file_name TEXT NOT NULL,
    -- What its sender said of it: the bytes that come in are held against it.
    size_bytes INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    part_bytes INTEGER NOT NULL,
    state TEXT NOT NULL,
    -- What it turned out to be, once it was complete.
    media_type TEXT,
    stored_bytes INTEGER,
    preview_type TEXT,
    preview_bytes INTEGER,
    -- What it counts for in attachment_usage.
    charged_bytes INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    -- When it is removed if it was not sent.
    expires_at INTEGER NOT NULL,
    CONSTRAINT attachments_size_check CHECK (size_bytes >= 1 AND part_bytes >= 1 AND charged_bytes >= 0),
    CONSTRAINT attachments_hash_check CHECK (length(sha256) = 32),
    CONSTRAINT attachments_state_check CHECK (
        state IN ('uploading', 'scanning', 'available', 'refused', 'removed')
    ),
    CONSTRAINT attachments_complete_check CHECK (
        (media_type IS NULL) = (stored_bytes IS NULL) AND (preview_type IS NULL) = (preview_bytes IS NULL)
        AND (media_type IS NOT NULL OR state IN ('uploading', 'removed'))
    )
) STRICT, WITHOUT ROWID;
CREATE INDEX attachments_organization_idx ON attachments (organization_id);
CREATE INDEX attachments_thread_idx ON attachments (thread_id, state);
CREATE INDEX attachments_account_idx ON attachments (account_id);
CREATE INDEX attachments_message_idx ON attachments (message_id);
-- What was not sent, by the time at which it is removed.
CREATE INDEX attachments_unsent_idx ON attachments (expires_at) WHERE message_id IS NULL AND state <> 'removed';

-- The parts that came in. What a part is was said before its bytes are written: whoever writes the same part at the
-- same time writes the same bytes.
CREATE TABLE attachment_parts (
    attachment_id BLOB NOT NULL REFERENCES attachments (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    organization_id BLOB NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    sha256 BLOB NOT NULL,
    -- Whether the bytes are written.
    stored INTEGER NOT NULL,
    PRIMARY KEY (attachment_id, number),
    CONSTRAINT attachment_parts_number_check CHECK (number >= 1),
    CONSTRAINT attachment_parts_stored_check CHECK (stored IN (0, 1))
) STRICT, WITHOUT ROWID;
CREATE INDEX attachment_parts_organization_idx ON attachment_parts (organization_id);

-- How much each organisation stores. The row is also the lock under which it is decided whether there is room.
CREATE TABLE attachment_usage (
    organization_id BLOB NOT NULL PRIMARY KEY REFERENCES organizations (id) ON DELETE RESTRICT,
    stored_bytes INTEGER NOT NULL,
    CONSTRAINT attachment_usage_bytes_check CHECK (stored_bytes >= 0)
) STRICT, WITHOUT ROWID;

-- What a message tells of its attachments.
ALTER TABLE messages ADD COLUMN attachments TEXT NOT NULL DEFAULT '[]';
