-- Every message moves its thread's updated_at. While an index names that column, PostgreSQL writes the thread anew into
-- all of its indexes each time; no statement walks an organisation's threads by time (a member's threads are found by
-- the memberships). Room on each page, so that the new row finds place beside the old one.
DROP INDEX threads_organization_idx;
ALTER TABLE threads SET (fillfactor = 70);
