-- Conversations. Every durable change of a thread is a row of thread_events, whose seq is taken from threads.last_seq
-- in the same transaction: the row's lock makes the order of positions the order of commits, and a rollback leaves no
-- hole.

CREATE TABLE threads (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    created_by BLOB NOT NULL REFERENCES accounts (id) ON DELETE RESTRICT,
    title TEXT NOT NULL,
    -- The agent that answers in the thread.
    listing_id BLOB REFERENCES listings (id) ON DELETE RESTRICT,
    last_seq INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    CONSTRAINT threads_last_seq_check CHECK (last_seq >= 0),
    CONSTRAINT threads_epoch_check CHECK (epoch >= 1)
) STRICT, WITHOUT ROWID;
CREATE INDEX threads_organization_idx ON threads (organization_id, updated_at, id);
CREATE INDEX threads_created_by_idx ON threads (created_by);
CREATE INDEX threads_listing_idx ON threads (listing_id);

CREATE TABLE thread_members (
    thread_id BLOB NOT NULL REFERENCES threads (id) ON DELETE CASCADE,
    account_id BLOB NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    organization_id BLOB NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (thread_id, account_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX thread_members_account_idx ON thread_members (account_id, organization_id, thread_id);
CREATE INDEX thread_members_organization_idx ON thread_members (organization_id);

CREATE TABLE thread_events (
    thread_id BLOB NOT NULL REFERENCES threads (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    organization_id BLOB NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    actor_kind TEXT NOT NULL,
    actor_id BLOB NOT NULL,
    -- What changed, with everything that a reader needs.
    payload TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (thread_id, seq),
    CONSTRAINT thread_events_seq_check CHECK (seq >= 1),
    CONSTRAINT thread_events_actor_check CHECK (actor_kind IN ('account', 'agent'))
) STRICT, WITHOUT ROWID;
CREATE INDEX thread_events_organization_idx ON thread_events (organization_id);

CREATE TABLE messages (
    id BLOB NOT NULL PRIMARY KEY,
    thread_id BLOB NOT NULL REFERENCES threads (id) ON DELETE CASCADE,
    organization_id BLOB NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    seq INTEGER NOT NULL,
    author_kind TEXT NOT NULL,
    author_id BLOB NOT NULL,
    -- The sender's idempotency key, and what it was used for. Kept as long as the message.
    client_message_id BLOB,
    body_hash BLOB,
    reply_to BLOB REFERENCES messages (id) ON DELETE CASCADE,
    text TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (thread_id, author_id, client_message_id),
    UNIQUE (thread_id, seq),
    CONSTRAINT messages_author_check CHECK (author_kind IN ('account', 'agent')),
    CONSTRAINT messages_key_check CHECK (
        (author_kind = 'account') = (client_message_id IS NOT NULL)
        AND (client_message_id IS NULL) = (body_hash IS NULL)
    )
) STRICT, WITHOUT ROWID;
CREATE INDEX messages_organization_idx ON messages (organization_id);
CREATE INDEX messages_reply_to_idx ON messages (reply_to);

-- One answer of an agent to one message. The answer's id is fixed from the start, so that every attempt writes pieces
-- of the same message.
CREATE TABLE agent_turns (
    message_id BLOB NOT NULL PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    thread_id BLOB NOT NULL REFERENCES threads (id) ON DELETE CASCADE,
    organization_id BLOB NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    listing_id BLOB NOT NULL REFERENCES listings (id) ON DELETE RESTRICT,
    answer_id BLOB NOT NULL,
    -- Whether a program wrote the message: its credential says nothing of tools, so that no tool is used for it.
    by_program INTEGER NOT NULL,
    state TEXT NOT NULL,
    input_tokens INTEGER,
    output_tokens INTEGER,
    created_at INTEGER NOT NULL,
    ended_at INTEGER,
    UNIQUE (answer_id),
    CONSTRAINT agent_turns_program_check CHECK (by_program IN (0, 1)),
    CONSTRAINT agent_turns_state_check CHECK (state IN ('pending', 'answered', 'failed')),
    CONSTRAINT agent_turns_end_check CHECK ((state = 'pending') = (ended_at IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX agent_turns_thread_idx ON agent_turns (thread_id);
CREATE INDEX agent_turns_organization_idx ON agent_turns (organization_id, created_at);
CREATE INDEX agent_turns_listing_idx ON agent_turns (listing_id);

-- The journal of a turn that calls tools: what the model said and called in each round. What is here is not asked of
-- the model again after a crash.
CREATE TABLE agent_rounds (
    message_id BLOB NOT NULL REFERENCES agent_turns (message_id) ON DELETE CASCADE,
    round INTEGER NOT NULL,
    organization_id BLOB NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    text TEXT NOT NULL,
    input_tokens INTEGER,
    output_tokens INTEGER,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (message_id, round),
    CONSTRAINT agent_rounds_round_check CHECK (round >= 1)
) STRICT, WITHOUT ROWID;
CREATE INDEX agent_rounds_organization_idx ON agent_rounds (organization_id);

-- Each call of a round, written before it is made. A call that has ended is not made again; one that has not is made
-- again with the same key, which follows from message, round and position.
CREATE TABLE agent_tool_calls (
    message_id BLOB NOT NULL,
    round INTEGER NOT NULL,
    position INTEGER NOT NULL,
    organization_id BLOB NOT NULL REFERENCES organizations (id) ON DELETE RESTRICT,
    -- The model's id of the call.
    call_id TEXT NOT NULL,
    tool TEXT NOT NULL,
    arguments TEXT NOT NULL,
    -- What came of it.
    outcome TEXT,
    created_at INTEGER NOT NULL,
    ended_at INTEGER,
    PRIMARY KEY (message_id, round, position),
    FOREIGN KEY (message_id, round) REFERENCES agent_rounds (message_id, round) ON DELETE CASCADE,
    CONSTRAINT agent_tool_calls_position_check CHECK (position >= 1),
    CONSTRAINT agent_tool_calls_end_check CHECK ((outcome IS NULL) = (ended_at IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX agent_tool_calls_organization_idx ON agent_tool_calls (organization_id);
