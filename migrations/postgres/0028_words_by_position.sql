-- A word says at which position of its thread it stands, and nothing that the message there says too. To forget the
-- words of a message its text is asked for them, so that no index has to find them.
ALTER TABLE message_words DROP COLUMN message_id;
ALTER TABLE message_words DROP COLUMN created_at;
