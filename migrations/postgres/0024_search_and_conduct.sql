-- Finding messages again, keeping people apart, and telling those who run the platform of what is wrong.

-- Whether its words are noted below: those of messages from before this table are noted little by little.
ALTER TABLE messages ADD COLUMN searchable boolean NOT NULL DEFAULT false;
CREATE INDEX messages_unsearchable_idx ON messages (id) WHERE searchable = FALSE;
-- What a person wrote, wherever that was.
CREATE INDEX messages_author_idx ON messages (author_id, id);

-- The words that a message is found by, folded, each once. By thread, so that a search costs as much as its caller may
-- see.
CREATE TABLE message_words (
    thread_id uuid NOT NULL,
    word text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    organization_id uuid NOT NULL,
    message_id uuid NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    -- Of the message.
    created_at timestamptz NOT NULL,
    PRIMARY KEY (thread_id, word, seq)
);
CREATE INDEX message_words_message_idx ON message_words (message_id);
SELECT protect_tenants('message_words');

-- Whom a person wants to hear nothing from.
CREATE TABLE account_blocks (
    account_id uuid NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    blocked_id uuid NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, blocked_id),
    CONSTRAINT account_blocks_self_check CHECK (account_id <> blocked_id)
);
CREATE INDEX account_blocks_blocked_idx ON account_blocks (blocked_id, account_id);

-- What people reported, with the text as it was: it outlives the message.
CREATE TABLE message_reports (
    id uuid NOT NULL PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    thread_id uuid NOT NULL,
    message_id uuid NOT NULL,
    author_kind text NOT NULL,
    author_id uuid NOT NULL,
    text text NOT NULL,
    reporter_id uuid NOT NULL REFERENCES accounts (id) ON DELETE RESTRICT,
    reason text NOT NULL,
    comment text NOT NULL,
    created_at timestamptz NOT NULL,
    resolved_at timestamptz,
    -- What came of it.
    resolution text,
    UNIQUE (message_id, reporter_id),
    CONSTRAINT message_reports_author_check CHECK (author_kind IN ('account', 'agent')),
    CONSTRAINT message_reports_reason_check
        CHECK (reason IN ('spam', 'harassment', 'hate', 'violence', 'sexual', 'illegal', 'other')),
    CONSTRAINT message_reports_resolution_check CHECK ((resolved_at IS NULL) = (resolution IS NULL))
);
CREATE INDEX message_reports_organization_idx ON message_reports (organization_id);
CREATE INDEX message_reports_reporter_idx ON message_reports (reporter_id);
CREATE INDEX message_reports_open_idx ON message_reports (id) WHERE resolved_at IS NULL;
SELECT protect_tenants('message_reports');

-- How long an organisation keeps what is said in its threads, and why for now it may lose nothing.
CREATE TABLE chat_policies (
    organization_id uuid NOT NULL PRIMARY KEY REFERENCES organizations (id) ON DELETE RESTRICT,
    retention_days bigint,
    hold_reason text,
    version bigint NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT chat_policies_retention_check CHECK (retention_days >= 1)
);
CREATE INDEX chat_policies_retention_idx ON chat_policies (organization_id) WHERE retention_days IS NOT NULL;
SELECT protect_tenants('chat_policies');
-- What may have had its time, the oldest first.
CREATE INDEX messages_kept_idx ON messages (organization_id, created_at, id) WHERE deleted_at IS NULL;
