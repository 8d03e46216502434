-- Every message moves its thread's updated_at. While an index names that column, it is written anew each time; no
-- statement walks an organisation's threads by time (a member's threads are found by the memberships).
DROP INDEX threads_organization_idx;
