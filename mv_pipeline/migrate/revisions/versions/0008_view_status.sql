ALTER TABLE log.relation
    ADD COLUMN upstream text[], ADD COLUMN sources text[], ADD COLUMN reads_business_date boolean;
COMMENT ON COLUMN log.relation.upstream IS 'What it reads, directly or through others; NULL: not written down yet.';
COMMENT ON COLUMN log.relation.sources IS 'Those of them whose changes wait for a rollup.';

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
        -- What waits for a rollup is news even to a refresh that came after it.
        ARRAY(
            SELECT DISTINCT n.relation FROM log.change_note AS n
            WHERE n.relation = ANY (view.upstream)
            AND (n.relation = ANY (view.sources) OR NOT pg_visible_in_snapshot(n.xid, newest.snapshot))
            ORDER BY n.relation
        ) AS changed,
        coalesce(view.reads_business_date AND newest.business_date <> ref.business_date(), false) AS date_moved,
        -- log.take_over() makes the newest refresh one that has seen nothing; until then, the server is unknown.
        coalesce(newest.snapshot::text = '1:1:', false) OR NOT (
            SELECT EXISTS (SELECT FROM log.server JOIN pg_control_system() AS here USING (system_identifier))
        ) AS restored
) AS news
CROSS JOIN LATERAL (
    SELECT
        min(failed_at) AS since,
        max(failed_at) AS at,
        count(*) AS failures,
        (array_agg(error ORDER BY id DESC))[1] AS error,
        (array_agg(run_id ORDER BY id DESC))[1] AS run_id
    FROM log.refresh_failure
    WHERE relation = view.name AND failed_at > coalesce(newest.started_at, '-infinity')
) AS failed
WHERE view.kind = 'materialized view';
COMMENT ON VIEW log.v_view_status IS
    'Each materialized view: its newest refresh, what has changed since, and since when it can''t be refreshed.';
