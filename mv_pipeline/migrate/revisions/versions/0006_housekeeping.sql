CREATE TABLE log.server (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    system_identifier bigint NOT NULL,
    since timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE log.server IS
    'The server whose transaction numbers stand in change_note.xid and view_refresh.snapshot; a dump keeps it.';
-- A log that holds something already may have come from another server: then the first look finds no row.
INSERT INTO log.server (system_identifier)
SELECT system_identifier FROM pg_control_system() WHERE NOT EXISTS (SELECT FROM log.view_refresh);

CREATE FUNCTION log.take_over() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    here bigint := (SELECT system_identifier FROM pg_control_system());
BEGIN
    IF EXISTS (SELECT FROM log.server WHERE system_identifier = here) THEN
        RETURN false;
    END IF;
    LOCK TABLE log.server IN EXCLUSIVE MODE;
    -- Who waited for the lock finds the work done.
    IF EXISTS (SELECT FROM log.server WHERE system_identifier = here) THEN
        RETURN false;
    END IF;
    UPDATE log.change_note SET xid = pg_current_xact_id();
    UPDATE log.view_refresh SET snapshot = '1:1:'
    WHERE id IN (SELECT max(id) FROM log.view_refresh GROUP BY relation);
    DELETE FROM log.server;
    INSERT INTO log.server (system_identifier) VALUES (here);
    RETURN true;
END
$body$;
COMMENT ON FUNCTION log.take_over() IS
    'Once after a restore on another server: every note is news again, and no refresh has seen anything.';

CREATE FUNCTION log.forget(before timestamptz, at_most integer) RETURNS TABLE (log_table text, removed bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    -- Whoever may call this can't take away what is going on.
    oldest timestamptz := least(before, now() - interval '1 day');
BEGIN
    DELETE FROM log.view_refresh WHERE id IN (
        SELECT r.id FROM log.view_refresh AS r
        WHERE r.started_at < oldest
        AND EXISTS (SELECT FROM log.view_refresh AS n WHERE n.relation = r.relation AND n.id > r.id)
        ORDER BY r.id LIMIT at_most
    );
    GET DIAGNOSTICS removed = ROW_COUNT;
    log_table := 'log.view_refresh';
    RETURN NEXT;
    -- A failure that no refresh has followed still stands.
    DELETE FROM log.refresh_failure WHERE id IN (
        SELECT f.id FROM log.refresh_failure AS f
        WHERE f.failed_at < oldest
        AND EXISTS (SELECT FROM log.view_refresh AS n WHERE n.relation = f.relation AND n.started_at > f.failed_at)
        ORDER BY f.id LIMIT at_most
    );
    GET DIAGNOSTICS removed = ROW_COUNT;
    log_table := 'log.refresh_failure';
    RETURN NEXT;
    -- For a week somebody may still have to be told that it is over.
    DELETE FROM log.incident WHERE id IN (
        SELECT i.id FROM log.incident AS i
        WHERE i.closed_at < oldest AND (i.told = '{}' OR i.closed_at < now() - interval '8 days')
        ORDER BY i.id LIMIT at_most
    );
    GET DIAGNOSTICS removed = ROW_COUNT;
    log_table := 'log.incident';
    RETURN NEXT;
END
$body$;
COMMENT ON FUNCTION log.forget(timestamptz, integer) IS
    'Deletes old rows of the log that nothing reads any more, at most so many of each table, none of the last day.';

REVOKE EXECUTE ON FUNCTION log.take_over(), log.forget(timestamptz, integer) FROM PUBLIC;
