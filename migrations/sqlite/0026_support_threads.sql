-- Threads in which the people of an organisation reach the platform's support staff.

-- A column's check cannot be changed: the column is made anew.
ALTER TABLE threads RENAME COLUMN kind TO kind_before;
ALTER TABLE threads ADD COLUMN kind TEXT NOT NULL DEFAULT 'group'
    CONSTRAINT threads_kind_check CHECK (kind IN ('direct', 'group', 'agent', 'support'));
UPDATE threads SET kind = kind_before;
ALTER TABLE threads DROP COLUMN kind_before;

-- Staff that took up a support thread are its members, and the organisation's they are not.
ALTER TABLE thread_members RENAME COLUMN role TO role_before;
ALTER TABLE thread_members ADD COLUMN role TEXT NOT NULL DEFAULT 'owner'
    CONSTRAINT thread_members_role_check CHECK (role IN ('owner', 'member', 'reader', 'support'));
UPDATE thread_members SET role = role_before;
ALTER TABLE thread_members DROP COLUMN role_before;

-- Whom a support thread waits for.
CREATE TABLE support_threads (
    thread_id BLOB NOT NULL PRIMARY KEY REFERENCES threads (id) ON DELETE CASCADE,
    organization_id BLOB NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    state TEXT NOT NULL,
    priority TEXT NOT NULL,
    -- Since when it is in this state.
    since INTEGER NOT NULL,
    CONSTRAINT support_threads_state_check CHECK (state IN ('open', 'waiting', 'closed')),
    CONSTRAINT support_threads_priority_check CHECK (priority IN ('low', 'normal', 'high', 'urgent'))
) STRICT, WITHOUT ROWID;
CREATE INDEX support_threads_organization_idx ON support_threads (organization_id);
CREATE INDEX support_threads_state_idx ON support_threads (state, since, thread_id);

-- Where in a product the agent of a thread is met.
ALTER TABLE threads ADD COLUMN placement TEXT;
UPDATE threads SET placement = 'chat' WHERE listing_id IS NOT NULL;
