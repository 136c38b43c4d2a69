SELECT
    coalesce(max(id), 0) AS newest,
    extract(epoch FROM clock_timestamp() - max(noted_at))::float AS quiet_s,
    (
        SELECT extract(epoch FROM clock_timestamp() - min(noted_at))::float
        FROM log.v_rollup_news JOIN log.rollup USING (stored)
        WHERE inputs <> '{}'
    ) AS waiting_s
FROM log.change_note
