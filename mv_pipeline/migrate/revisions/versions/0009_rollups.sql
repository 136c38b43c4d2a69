CREATE SCHEMA rollup;

CREATE TABLE log.rollup (
    stored text PRIMARY KEY,
    relation text NOT NULL,
    inputs text[] NOT NULL,
    seen pg_snapshot NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE log.rollup IS 'The table that stores a rollup''s rows; another one for each definition.';
COMMENT ON COLUMN log.rollup.inputs IS 'The tables whose changes concern it.';
COMMENT ON COLUMN log.rollup.seen IS 'What it has seen of the change log: an entry outside of it is news.';

CREATE TABLE log.rollup_day (
    stored text NOT NULL REFERENCES log.rollup ON DELETE CASCADE,
    day date,
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE NULLS NOT DISTINCT (stored, day)
);
COMMENT ON TABLE log.rollup_day IS
    'Days to compute whether the change log names them or not: not filled yet, or found wrong; no day: every day.';

CREATE INDEX change_note_relation_xid ON log.change_note (relation, xid);

CREATE VIEW log.v_rollup_news AS
SELECT r.stored, n.relation, n.day, n.noted_at
FROM log.rollup AS r
JOIN log.change_note AS n
    ON n.relation = ANY (r.inputs)
    -- What can't be seen isn't older than the oldest transaction that ran then.
    AND n.xid >= pg_snapshot_xmin(r.seen) AND NOT pg_visible_in_snapshot(n.xid, r.seen)
UNION ALL
SELECT stored, '', day, noted_at FROM log.rollup_day
UNION ALL
-- On another server than the one that counted the transactions, nobody knows what has been seen.
SELECT stored, '', NULL, updated_at FROM log.rollup
WHERE NOT (SELECT EXISTS (SELECT FROM log.server JOIN pg_control_system() AS here USING (system_identifier)));
COMMENT ON VIEW log.v_rollup_news IS
    'What each stored table hasn''t seen, by the table that has changed; days of its own come without a table.';

CREATE FUNCTION log.seen() RETURNS pg_snapshot
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
    SELECT CASE
        WHEN own < pg_snapshot_xmax(snapshot) THEN concat_ws(
            ':', least(pg_snapshot_xmin(snapshot), own), pg_snapshot_xmax(snapshot),
            (SELECT string_agg(x::text, ',' ORDER BY x) FROM (SELECT pg_snapshot_xip(snapshot) UNION SELECT own) AS t (x))
        )::pg_snapshot
        ELSE snapshot
    END
    FROM (SELECT pg_current_snapshot() AS snapshot, pg_current_xact_id_if_assigned() AS own) AS here
$body$;
COMMENT ON FUNCTION log.seen() IS
    'What this statement can see, without what its own transaction has written: that may go on to write.';

-- Nothing writes here any more: who runs an older version is refused instead of clearing what others haven't seen.
CREATE SCHEMA IF NOT EXISTS mv_pipeline_old_mart;
ALTER TABLE mart.rollup_daily SET SCHEMA mv_pipeline_old_mart;
DO $body$
DECLARE
    part text;
BEGIN
    FOR part IN
        SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'mv_pipeline_old_mart.rollup_daily'::regclass
    LOOP
        EXECUTE 'ALTER TABLE ' || part || ' SET SCHEMA mv_pipeline_old_mart';
    END LOOP;
END
$body$;

CREATE OR REPLACE FUNCTION log.take_over() RETURNS boolean
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
    UPDATE log.rollup SET seen = '1:1:';
    INSERT INTO log.rollup_day (stored) SELECT stored FROM log.rollup ON CONFLICT DO NOTHING;
    DELETE FROM log.server;
    INSERT INTO log.server (system_identifier) VALUES (here);
    RETURN true;
END
$body$;

DROP VIEW log.v_view_status;
ALTER TABLE log.relation DROP COLUMN sources;
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
        ARRAY(
            SELECT DISTINCT n.relation FROM log.change_note AS n
            WHERE n.relation = ANY (view.upstream)
            AND n.xid >= pg_snapshot_xmin(newest.snapshot) AND NOT pg_visible_in_snapshot(n.xid, newest.snapshot)
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
