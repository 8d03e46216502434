-- Threads in which the people of an organisation reach the platform's support staff.

ALTER TABLE threads DROP CONSTRAINT threads_kind_check;
ALTER TABLE threads ADD CONSTRAINT threads_kind_check CHECK (kind IN ('direct', 'group', 'agent', 'support'));

-- Staff that took up a support thread are its members, and the organisation's they are not.
ALTER TABLE thread_members DROP CONSTRAINT thread_members_role_check;
ALTER TABLE thread_members
    ADD CONSTRAINT thread_members_role_check CHECK (role IN ('owner', 'member', 'reader', 'support'));

-- Whom a support thread waits for.
CREATE TABLE support_threads (
    thread_id uuid NOT NULL PRIMARY KEY REFERENCES threads (id) ON DELETE CASCADE,
    organization_id uuid NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    state text NOT NULL,
    priority text NOT NULL,
    -- Since when it is in this state.
    since timestamptz NOT NULL,
    CONSTRAINT support_threads_state_check CHECK (state IN ('open', 'waiting', 'closed')),
    CONSTRAINT support_threads_priority_check CHECK (priority IN ('low', 'normal', 'high', 'urgent'))
);
CREATE INDEX support_threads_organization_idx ON support_threads (organization_id);
CREATE INDEX support_threads_state_idx ON support_threads (state, since, thread_id);
SELECT protect_tenants('support_threads');

-- Where in a product the agent of a thread is met.
ALTER TABLE threads ADD COLUMN placement text;
UPDATE threads SET placement = 'chat' WHERE listing_id IS NOT NULL;
