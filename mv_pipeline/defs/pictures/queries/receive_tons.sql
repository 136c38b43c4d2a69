WITH tons AS (
    SELECT
        date_trunc(%(unit)s, ddate)::date AS ddate,
        source_system,
        sum(receive_net_ton) AS tons,
        sum(sum(receive_net_ton)) OVER (PARTITION BY date_trunc(%(unit)s, ddate)::date) AS total
    FROM mart.mv_receive_daily
    WHERE source_system IS NOT NULL
        AND ddate >= date_trunc(%(unit)s, ref.business_date() - 1) - %(span)s::interval
    GROUP BY 1, 2
)
SELECT ddate, source_system, tons::float, (100 * tons / total)::float
FROM tons
WHERE total <> 0
ORDER BY ddate, source_system
