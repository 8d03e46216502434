-- The words of a message go with it by a statement of the platform's. SQLite drops no reference: the table is made
-- anew.
CREATE TABLE message_words_anew (
    thread_id BLOB NOT NULL,
    word TEXT NOT NULL,
    seq INTEGER NOT NULL,
    organization_id BLOB NOT NULL,
    message_id BLOB NOT NULL,
    -- Of the message.
    created_at INTEGER NOT NULL,
    PRIMARY KEY (thread_id, word, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO message_words_anew (thread_id, word, seq, organization_id, message_id, created_at)
SELECT thread_id, word, seq, organization_id, message_id, created_at FROM message_words;
DROP TABLE message_words;
ALTER TABLE message_words_anew RENAME TO message_words;
CREATE INDEX message_words_message_idx ON message_words (message_id);
