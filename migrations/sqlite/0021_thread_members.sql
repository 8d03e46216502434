-- Threads of several people: who may do what in them, how far each has read, and what each makes of them; messages that
-- are edited, deleted and reacted to.

ALTER TABLE threads ADD COLUMN kind TEXT NOT NULL DEFAULT 'group'
    CONSTRAINT threads_kind_check CHECK (kind IN ('direct', 'group', 'agent'));
UPDATE threads SET kind = 'agent' WHERE listing_id IS NOT NULL;
-- Counts the changes of the thread's own fields.
ALTER TABLE threads ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
-- The two people of a direct thread, of whom an organisation has one.
ALTER TABLE threads ADD COLUMN direct_key TEXT;
-- Since when it is gone for everybody; a job removes what is left of it.
ALTER TABLE threads ADD COLUMN deleted_at INTEGER;
CREATE UNIQUE INDEX threads_organization_id_direct_key_key ON threads (organization_id, direct_key);

-- Until now whoever opened a thread was its only member.
ALTER TABLE thread_members ADD COLUMN role TEXT NOT NULL DEFAULT 'owner'
    CONSTRAINT thread_members_role_check CHECK (role IN ('owner', 'member', 'reader'));
-- The last event that the person has read, and the one that others were told of.
ALTER TABLE thread_members ADD COLUMN read_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE thread_members ADD COLUMN told_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE thread_members ADD COLUMN muted INTEGER NOT NULL DEFAULT 0
    CONSTRAINT thread_members_muted_check CHECK (muted IN (0, 1));
ALTER TABLE thread_members ADD COLUMN archived INTEGER NOT NULL DEFAULT 0
    CONSTRAINT thread_members_archived_check CHECK (archived IN (0, 1));
ALTER TABLE thread_members ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0
    CONSTRAINT thread_members_pinned_check CHECK (pinned IN (0, 1));

UPDATE thread_members SET
    read_seq = (SELECT t.last_seq FROM threads AS t WHERE t.id = thread_members.thread_id),
    told_seq = (SELECT t.last_seq FROM threads AS t WHERE t.id = thread_members.thread_id);
-- Where others are to be told how far somebody has read: nowhere, most of the time.
CREATE INDEX thread_members_untold_idx ON thread_members (thread_id, organization_id) WHERE read_seq > told_seq;

ALTER TABLE messages ADD COLUMN edited_at INTEGER;
-- A message that was deleted keeps its place and loses its text.
ALTER TABLE messages ADD COLUMN deleted_at INTEGER;

-- Where the texts of a message stand in the events, beside the one that created it: they go with the message.
CREATE TABLE message_edits (
    message_id BLOB NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    organization_id BLOB NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    PRIMARY KEY (message_id, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_edits_organization_idx ON message_edits (organization_id);

CREATE TABLE message_reactions (
    message_id BLOB NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    emoji TEXT NOT NULL,
    account_id BLOB NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    organization_id BLOB NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (message_id, emoji, account_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_reactions_account_idx ON message_reactions (account_id);
CREATE INDEX message_reactions_message_idx ON message_reactions (message_id, account_id);
CREATE INDEX message_reactions_organization_idx ON message_reactions (organization_id);
