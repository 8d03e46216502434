-- Finding messages again, keeping people apart, and telling those who run the platform of what is wrong.

-- Whether its words are noted below: those of messages from before this table are noted little by little.
ALTER TABLE messages ADD COLUMN searchable INTEGER NOT NULL DEFAULT 0
    CONSTRAINT messages_searchable_check CHECK (searchable IN (0, 1));
CREATE INDEX messages_unsearchable_idx ON messages (id) WHERE searchable = FALSE;
-- What a person wrote, wherever that was.
CREATE INDEX messages_author_idx ON messages (author_id, id);

-- The words that a message is found by, folded, each once. By thread, so that a search costs as much as its caller may
-- see.
CREATE TABLE message_words (
    thread_id BLOB NOT NULL,
    word TEXT NOT NULL,
    seq INTEGER NOT NULL,
    organization_id BLOB NOT NULL,
    message_id BLOB NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    -- Of the message.
    created_at INTEGER NOT NULL,
    PRIMARY KEY (thread_id, word, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_words_message_idx ON message_words (message_id);

-- Whom a person wants to hear nothing from.
CREATE TABLE account_blocks (
    account_id BLOB NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    blocked_id BLOB NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, blocked_id),
    CONSTRAINT account_blocks_self_check CHECK (account_id <> blocked_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX account_blocks_blocked_idx ON account_blocks (blocked_id, account_id);

-- What people reported, with the text as it was: it outlives the message.
CREATE TABLE message_reports (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    thread_id BLOB NOT NULL,
    message_id BLOB NOT NULL,
    author_kind TEXT NOT NULL,
    author_id BLOB NOT NULL,
    text TEXT NOT NULL,
    reporter_id BLOB NOT NULL REFERENCES accounts (id) ON DELETE RESTRICT,
    reason TEXT NOT NULL,
    comment TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    resolved_at INTEGER,
    -- What came of it.
    resolution TEXT,
    UNIQUE (message_id, reporter_id),
    CONSTRAINT message_reports_author_check CHECK (author_kind IN ('account', 'agent')),
    CONSTRAINT message_reports_reason_check
        CHECK (reason IN ('spam', 'harassment', 'hate', 'violence', 'sexual', 'illegal', 'other')),
    CONSTRAINT message_reports_resolution_check CHECK ((resolved_at IS NULL) = (resolution IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX message_reports_organization_idx ON message_reports (organization_id);
CREATE INDEX message_reports_reporter_idx ON message_reports (reporter_id);
CREATE INDEX message_reports_open_idx ON message_reports (id) WHERE resolved_at IS NULL;

-- How long an organisation keeps what is said in its threads, and why for now it may lose nothing.
CREATE TABLE chat_policies (
    organization_id BLOB NOT NULL PRIMARY KEY REFERENCES organizations (id) ON DELETE RESTRICT,
    retention_days INTEGER,
    hold_reason TEXT,
    version INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    CONSTRAINT chat_policies_retention_check CHECK (retention_days >= 1)
) STRICT, WITHOUT ROWID;
CREATE INDEX chat_policies_retention_idx ON chat_policies (organization_id) WHERE retention_days IS NOT NULL;
-- What may have had its time, the oldest first.
CREATE INDEX messages_kept_idx ON messages (organization_id, created_at, id) WHERE deleted_at IS NULL;
