-- A word says at which position of its thread it stands, and nothing that the message there says too. To forget the
-- words of a message its text is asked for them, so that no index has to find them.
CREATE TABLE message_words_anew (
    thread_id BLOB NOT NULL,
    word TEXT NOT NULL,
    seq INTEGER NOT NULL,
    organization_id BLOB NOT NULL,
    PRIMARY KEY (thread_id, word, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO message_words_anew (thread_id, word, seq, organization_id)
SELECT thread_id, word, seq, organization_id FROM message_words;
DROP TABLE message_words;
ALTER TABLE message_words_anew RENAME TO message_words;
