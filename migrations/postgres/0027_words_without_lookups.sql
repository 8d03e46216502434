-- The words of a message go with it by a statement of the platform's. The reference had PostgreSQL look the message up
-- for every word of it that was noted, which took longer than noting the word.
ALTER TABLE message_words DROP CONSTRAINT message_words_message_id_fkey;
