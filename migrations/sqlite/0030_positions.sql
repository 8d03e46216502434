-- Every message and every event was noted in an index of its organisation, which no statement uses: they are found by
-- their thread. An organisation that has any is never deleted, so that nothing has to look for them by it.
DROP INDEX messages_organization_idx;
DROP INDEX thread_events_organization_idx;
