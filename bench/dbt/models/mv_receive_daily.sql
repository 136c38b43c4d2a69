{{ config(indexes=[{'columns': ['ddate'], 'unique': true}, {'columns': ['iso_year', 'iso_week']}]) }}
-- mart.mv_receive_daily straight from the staging lines. Counting in two steps (by slip, then by day) is no faster.
WITH sources AS (
    SELECT
        slip_date AS ddate,
        1 AS priority,
        'shogun_final' AS source,
        count(DISTINCT receive_no) AS slip_count,
        coalesce(sum(net_weight), 0) AS net_weight_kg,
        coalesce(sum(amount), 0) AS amount_yen
    FROM stg.v_active_shogun_final_receive
    GROUP BY slip_date
    UNION ALL
    SELECT
        slip_date AS ddate,
        2 AS priority,
        'shogun_flash' AS source,
        count(DISTINCT receive_no) AS slip_count,
        coalesce(sum(net_weight), 0) AS net_weight_kg,
        coalesce(sum(amount), 0) AS amount_yen
    FROM stg.v_active_shogun_flash_receive
    GROUP BY slip_date
    UNION ALL
    SELECT
        invoice_d AS ddate,
        3 AS priority,
        'king' AS source,
        count(DISTINCT invoice_no) AS slip_count,
        coalesce(sum(net_weight_detail), 0) AS net_weight_kg,
        coalesce(sum(amount), 0) AS amount_yen
    FROM stg.v_king_receive_clean
    GROUP BY invoice_d
),
chosen AS (
    SELECT DISTINCT ON (ddate) ddate, source, slip_count, net_weight_kg, amount_yen
    FROM sources
    ORDER BY ddate, priority
)
SELECT
    c.ddate,
    c.y,
    c.m,
    c.iso_year,
    c.iso_week,
    c.iso_dow,
    c.is_business,
    c.is_holiday,
    c.day_type,
    coalesce(s.net_weight_kg / 1000, 0)::numeric(18, 3) AS receive_net_ton,
    coalesce(s.slip_count, 0)::integer AS receive_vehicle_count,
    (s.net_weight_kg / nullif(s.slip_count, 0))::numeric(18, 3) AS avg_weight_kg_per_vehicle,
    coalesce(s.amount_yen, 0)::numeric(18, 0) AS sales_yen,
    CASE WHEN s.net_weight_kg > 0 THEN s.amount_yen / s.net_weight_kg END::numeric(18, 3) AS unit_price_yen_per_kg,
    s.source AS source_system
FROM ref.v_calendar_classified AS c
LEFT JOIN chosen AS s ON s.ddate = c.ddate
WHERE c.ddate < ref.business_date()
