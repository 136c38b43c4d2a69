-- A view, since it is read with its owner's rights and becomes part of the plan of what reads it; a function doesn't.
CREATE VIEW log.v_server AS
SELECT EXISTS (
    SELECT FROM log.server JOIN pg_control_system() AS here USING (system_identifier)
) AS counted_here;
COMMENT ON VIEW log.v_server IS
    'Whether this is the server that counted the transactions that the log names; a dump brings those of another one.';

CREATE VIEW log.v_view_news AS
SELECT view.name AS view, n.relation, n.day, n.noted_at
FROM log.relation AS view
CROSS JOIN LATERAL (
    SELECT snapshot FROM log.view_refresh WHERE relation = view.name ORDER BY id DESC LIMIT 1
) AS newest
JOIN log.change_note AS n
    ON n.relation = ANY (view.upstream)
    -- What can't be seen isn't older than the oldest transaction that ran then.
    AND n.xid >= pg_snapshot_xmin(newest.snapshot) AND NOT pg_visible_in_snapshot(n.xid, newest.snapshot)
WHERE view.kind = 'materialized view';
COMMENT ON VIEW log.v_view_news IS
    'What each materialized view hasn''t seen, by what has changed upstream; no day: any of its days.';

CREATE OR REPLACE VIEW log.v_rollup_news AS
SELECT r.stored, n.relation, n.day, n.noted_at
FROM log.rollup AS r
JOIN log.change_note AS n
    ON n.relation = ANY (r.inputs)
    -- What can't be seen isn't older than the oldest transaction that ran then.
    AND n.xid >= pg_snapshot_xmin(r.seen) AND NOT pg_visible_in_snapshot(n.xid, r.seen)
UNION ALL
SELECT stored, '', day, noted_at FROM log.rollup_day
UNION ALL
-- Where others counted, nobody knows what has been seen.
SELECT stored, '', NULL, updated_at FROM log.rollup WHERE NOT (SELECT counted_here FROM log.v_server);

CREATE OR REPLACE FUNCTION log.take_over() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF (SELECT counted_here FROM log.v_server) THEN
        RETURN false;
    END IF;
    LOCK TABLE log.server IN EXCLUSIVE MODE;
    -- Who waited for the lock finds the work done.
    IF (SELECT counted_here FROM log.v_server) THEN
        RETURN false;
    END IF;
    UPDATE log.change_note SET xid = pg_current_xact_id();
    UPDATE log.view_refresh SET snapshot = '1:1:'
    WHERE id IN (SELECT max(id) FROM log.view_refresh GROUP BY relation);
    UPDATE log.rollup SET seen = '1:1:';
    INSERT INTO log.rollup_day (stored) SELECT stored FROM log.rollup ON CONFLICT DO NOTHING;
    DELETE FROM log.server;
    INSERT INTO log.server (system_identifier) SELECT system_identifier FROM pg_control_system();
    RETURN true;
END
$body$;

DROP VIEW log.v_view_status;
CREATE VIEW log.v_view_status AS
SELECT
    view.name AS relation,
    newest.started_at AS refreshed_at,
    newest.seconds,
    newest.row_count,
    newest.size_bytes,
    newest.business_date,
    news.changed,
    news.date_moved,
    news.restored,
    newest.id IS NULL OR view.upstream IS NULL OR news.changed <> '{}' OR news.date_moved OR news.restored AS stale,
    -- What a transaction noted long ago and committed just now has waited since the refresh that couldn't see it.
    CASE WHEN NOT news.restored AND (news.changed <> '{}' OR news.date_moved) THEN greatest(
        newest.started_at,
        least(
            news.noted_at,
            CASE WHEN news.date_moved THEN ref.business_date()::timestamp AT TIME ZONE 'Asia/Tokyo' END
        )
    ) END AS waiting_since,
    failed.since AS failing_since,
    failed.at AS failed_at,
    failed.failures,
    failed.error,
    failed.run_id
FROM log.relation AS view
LEFT JOIN LATERAL (
    SELECT * FROM log.view_refresh WHERE relation = view.name ORDER BY id DESC LIMIT 1
) AS newest ON true
CROSS JOIN LATERAL (
    SELECT
        coalesce(array_agg(DISTINCT n.relation ORDER BY n.relation), '{}') AS changed,
        min(n.noted_at) AS noted_at,
        coalesce(view.reads_business_date AND newest.business_date <> ref.business_date(), false) AS date_moved,
        -- log.take_over() makes the newest refresh one that has seen nothing; until then, others counted.
        coalesce(newest.snapshot::text = '1:1:', false) OR NOT (SELECT counted_here FROM log.v_server) AS restored
    FROM log.v_view_news AS n WHERE n.view = view.name
) AS news
CROSS JOIN LATERAL (
    SELECT
        min(failed_at) AS since,
        max(failed_at) AS at,
        count(*) AS failures,
        (array_agg(error ORDER BY id DESC))[1] AS error,
        (array_agg(run_id ORDER BY id DESC))[1] AS run_id
    FROM log.refresh_failure
    -- A refresh of another run that was under way when this one failed, and has succeeded, makes it good.
    WHERE relation = view.name
    AND failed_at > coalesce(newest.started_at + make_interval(secs => newest.seconds), '-infinity')
) AS failed
WHERE view.kind = 'materialized view';
COMMENT ON VIEW log.v_view_status IS
    'Each materialized view: its newest refresh, what has changed since, and since when it can''t be refreshed.';

COMMENT ON TABLE log.refresh_failure IS
    'Views that couldn''t be refreshed and rollups that couldn''t be stored, after all retries; a success ends it.';

CREATE OR REPLACE FUNCTION log.forget(before timestamptz, at_most integer)
RETURNS TABLE (log_table text, removed bigint)
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
    -- A failure that no success has followed still stands, while there is what failed.
    DELETE FROM log.refresh_failure WHERE id IN (
        SELECT f.id FROM log.refresh_failure AS f
        WHERE f.failed_at < oldest
        AND (
            EXISTS (SELECT FROM log.view_refresh AS n WHERE n.relation = f.relation AND n.started_at > f.failed_at)
            OR EXISTS (SELECT FROM log.rollup AS r WHERE r.relation = f.relation AND r.updated_at > f.failed_at)
            OR NOT EXISTS (SELECT FROM log.relation AS there WHERE there.name = f.relation)
        )
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
