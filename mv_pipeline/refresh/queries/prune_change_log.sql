-- The entries that every rollup and every materialized view downstream has seen.
WITH seen AS MATERIALIZED (
    SELECT unnest(upstream) AS relation, newest.snapshot
    FROM log.relation
    LEFT JOIN LATERAL (
        SELECT snapshot FROM log.view_refresh WHERE relation = name ORDER BY id DESC LIMIT 1
    ) AS newest ON true
    WHERE kind = 'materialized view'
    UNION ALL
    SELECT unnest(inputs), seen FROM log.rollup
)
DELETE FROM log.change_note AS n
WHERE NOT EXISTS (SELECT FROM log.relation WHERE upstream IS NULL)
AND NOT EXISTS (
    SELECT FROM seen WHERE seen.relation = n.relation AND pg_visible_in_snapshot(n.xid, snapshot) IS NOT TRUE
)
