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
        -- log.take_over() makes the newest refresh one that has seen nothing; until then, the server is unknown.
        coalesce(newest.snapshot::text = '1:1:', false) OR NOT (
            SELECT EXISTS (SELECT FROM log.server JOIN pg_control_system() AS here USING (system_identifier))
        ) AS restored
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
