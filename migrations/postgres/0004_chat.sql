-- Conversations. Every durable change of a thread is a row of thread_events, whose seq is taken from threads.last_seq
-- in the same transaction: the row's lock makes the order of positions the order of commits, and a rollback leaves no
-- hole.

CREATE TABLE threads (
    id uuid NOT NULL PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    created_by uuid NOT NULL REFERENCES accounts (id) ON DELETE RESTRICT,
    title text NOT NULL,
    -- The agent that answers in the thread.
    listing_id uuid REFERENCES listings (id) ON DELETE RESTRICT,
    last_seq bigint NOT NULL,
    epoch bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT threads_last_seq_check CHECK (last_seq >= 0),
    CONSTRAINT threads_epoch_check CHECK (epoch >= 1)
);
CREATE INDEX threads_organization_idx ON threads (organization_id, updated_at, id);
CREATE INDEX threads_created_by_idx ON threads (created_by);
CREATE INDEX threads_listing_idx ON threads (listing_id);
SELECT protect_tenants('threads');

CREATE TABLE thread_members (
    thread_id uuid NOT NULL REFERENCES threads (id) ON DELETE CASCADE,
    account_id uuid NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    organization_id uuid NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (thread_id, account_id)
);
CREATE INDEX thread_members_account_idx ON thread_members (account_id, organization_id, thread_id);
CREATE INDEX thread_members_organization_idx ON thread_members (organization_id);
SELECT protect_tenants('thread_members');

CREATE TABLE thread_events (
    thread_id uuid NOT NULL REFERENCES threads (id) ON DELETE CASCADE,
    seq bigint NOT NULL,
    organization_id uuid NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    actor_kind text NOT NULL,
    actor_id uuid NOT NULL,
    -- What changed, with everything that a reader needs.
    payload jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (thread_id, seq),
    CONSTRAINT thread_events_seq_check CHECK (seq >= 1),
    CONSTRAINT thread_events_actor_check CHECK (actor_kind IN ('account', 'agent'))
);
CREATE INDEX thread_events_organization_idx ON thread_events (organization_id);
SELECT protect_tenants('thread_events');

CREATE TABLE messages (
    id uuid NOT NULL PRIMARY KEY,
    thread_id uuid NOT NULL REFERENCES threads (id) ON DELETE CASCADE,
    organization_id uuid NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    seq bigint NOT NULL,
    author_kind text NOT NULL,
    author_id uuid NOT NULL,
    -- The sender's idempotency key, and what it was used for. Kept as long as the message.
    client_message_id uuid,
    body_hash bytea,
    reply_to uuid REFERENCES messages (id) ON DELETE CASCADE,
    text text NOT NULL,
    created_at timestamptz NOT NULL,
    UNIQUE (thread_id, author_id, client_message_id),
    UNIQUE (thread_id, seq),
    CONSTRAINT messages_author_check CHECK (author_kind IN ('account', 'agent')),
    CONSTRAINT messages_key_check CHECK (
        (author_kind = 'account') = (client_message_id IS NOT NULL)
        AND (client_message_id IS NULL) = (body_hash IS NULL)
    )
);
CREATE INDEX messages_organization_idx ON messages (organization_id);
CREATE INDEX messages_reply_to_idx ON messages (reply_to);
SELECT protect_tenants('messages');

-- One answer of an agent to one message. The answer's id is fixed from the start, so that every attempt writes pieces
-- of the same message.
CREATE TABLE agent_turns (
    message_id uuid NOT NULL PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    thread_id uuid NOT NULL REFERENCES threads (id) ON DELETE CASCADE,
    organization_id uuid NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    listing_id uuid NOT NULL REFERENCES listings (id) ON DELETE RESTRICT,
    answer_id uuid NOT NULL,
    -- Whether a program wrote the message: its credential says nothing of tools, so that no tool is used for it.
    by_program boolean NOT NULL,
    state text NOT NULL,
    input_tokens bigint,
    output_tokens bigint,
    created_at timestamptz NOT NULL,
    ended_at timestamptz,
    UNIQUE (answer_id),
    CONSTRAINT agent_turns_state_check CHECK (state IN ('pending', 'answered', 'failed')),
    CONSTRAINT agent_turns_end_check CHECK ((state = 'pending') = (ended_at IS NULL))
);
CREATE INDEX agent_turns_thread_idx ON agent_turns (thread_id);
CREATE INDEX agent_turns_organization_idx ON agent_turns (organization_id, created_at);
CREATE INDEX agent_turns_listing_idx ON agent_turns (listing_id);
SELECT protect_tenants('agent_turns');

-- The journal of a turn that calls tools: what the model said and called in each round. What is here is not asked of
-- the model again after a crash.
CREATE TABLE agent_rounds (
    message_id uuid NOT NULL REFERENCES agent_turns (message_id) ON DELETE CASCADE,
    round bigint NOT NULL,
    organization_id uuid NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    text text NOT NULL,
    input_tokens bigint,
    output_tokens bigint,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (message_id, round),
    CONSTRAINT agent_rounds_round_check CHECK (round >= 1)
);
CREATE INDEX agent_rounds_organization_idx ON agent_rounds (organization_id);
SELECT protect_tenants('agent_rounds');

-- Each call of a round, written before it is made. A call that has ended is not made again; one that has not is made
-- again with the same key, which follows from message, round and position.
CREATE TABLE agent_tool_calls (
    message_id uuid NOT NULL,
    round bigint NOT NULL,
    position bigint NOT NULL,
    organization_id uuid NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    -- The model's id of the call.
    call_id text NOT NULL,
    tool text NOT NULL,
    arguments text NOT NULL,
    -- What came of it.
    outcome jsonb,
    created_at timestamptz NOT NULL,
    ended_at timestamptz,
    PRIMARY KEY (message_id, round, position),
    FOREIGN KEY (message_id, round) REFERENCES agent_rounds (message_id, round) ON DELETE CASCADE,
    CONSTRAINT agent_tool_calls_position_check CHECK (position >= 1),
    CONSTRAINT agent_tool_calls_end_check CHECK ((outcome IS NULL) = (ended_at IS NULL))
);
CREATE INDEX agent_tool_calls_organization_idx ON agent_tool_calls (organization_id);
SELECT protect_tenants('agent_tool_calls');
