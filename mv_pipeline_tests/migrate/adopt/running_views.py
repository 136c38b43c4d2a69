"""The views of the running database as somebody else wrote them: read from `relations.md`, not from `sql/`.

They promise the same rows and columns by other words. No relation of ours is read, and no file of `sql/`.
"""

VIEWS: dict[str, str] = {}

VIEWS["ref.v_closure_days"] = """
SELECT generate_series(start_date, end_date, interval '1 day')::date AS ddate, closure_name FROM ref.closure_periods
"""

VIEWS["ref.v_calendar_classified"] = """
SELECT k.ddate, k.y, k.m, k.iso_year, k.iso_week, k.iso_dow, k.is_holiday, k.is_second_sunday, k.is_company_closed,
    CASE x.override_type
        WHEN 'FORCE_CLOSED' THEN 'CLOSED'
        WHEN 'FORCE_OPEN' THEN 'NORMAL'
        WHEN 'FORCE_RESERVATION' THEN 'RESERVATION'
        ELSE k.plain_type
    END AS day_type,
    CASE x.override_type
        WHEN 'FORCE_CLOSED' THEN false
        WHEN 'FORCE_OPEN' THEN true
        WHEN 'FORCE_RESERVATION' THEN true
        ELSE k.plain_type <> 'CLOSED'
    END AS is_business
FROM (
    SELECT d.*, CASE
        WHEN d.is_company_closed OR d.is_second_sunday THEN 'CLOSED'
        WHEN d.is_holiday OR d.iso_dow = 7 THEN 'RESERVATION'
        ELSE 'NORMAL'
    END AS plain_type
    FROM (
        SELECT c.*,
            EXISTS (SELECT 1 FROM ref.holiday_jp AS h WHERE h.hdate = c.ddate) AS is_holiday,
            c.iso_dow = 7 AND (extract(day FROM c.ddate)::integer + 6) / 7 = 2 AS is_second_sunday,
            EXISTS (
                SELECT 1 FROM ref.closure_periods AS p WHERE c.ddate >= p.start_date AND c.ddate <= p.end_date
            ) AS is_company_closed
        FROM ref.calendar_day AS c
    ) AS d
) AS k
LEFT JOIN ref.calendar_exception AS x USING (ddate)
"""

VIEWS["stg.v_king_receive_clean"] = """
SELECT * FROM (
    SELECT CASE
            WHEN k.invoice_date !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$' AND k.invoice_date !~ '^[0-9]{4}/[0-9]{2}/[0-9]{2}$'
                THEN NULL
            WHEN pg_input_is_valid(k.invoice_date::text, 'date')
                THEN to_date(replace(k.invoice_date, '/', '-'), 'YYYY-MM-DD')
        END AS invoice_d,
        k.invoice_no, k.net_weight_detail, k.amount
    FROM stg.receive_king_final AS k
    WHERE k.vehicle_type_code = 1 AND k.net_weight_detail IS NOT NULL AND k.net_weight_detail <> 0
) AS read WHERE invoice_d IS NOT NULL
"""

# Active rows: written as a comparison for receive and shipment, and exactly as our own definition says it for yard.
ACTIVE = {"receive": "is_deleted = false", "shipment": "is_deleted IS FALSE", "yard": "NOT is_deleted"}

VIEWS["mart.mv_receive_daily"] = """
WITH lines AS (
    SELECT 1 AS place, 'shogun_final' AS source, slip_date AS day, receive_no AS slip, net_weight AS kg, amount AS yen
    FROM stg.shogun_final_receive WHERE is_deleted = false
    UNION ALL
    SELECT 2, 'shogun_flash', slip_date, receive_no, net_weight, amount
    FROM stg.shogun_flash_receive WHERE is_deleted = false
    UNION ALL
    SELECT 3, 'king', invoice_d, invoice_no, net_weight_detail, amount FROM stg.v_king_receive_clean
), sums AS (
    SELECT day, place, source, coalesce(sum(kg), 0) AS kg, coalesce(sum(yen), 0) AS yen, count(DISTINCT slip) AS slips
    FROM lines WHERE day IS NOT NULL GROUP BY day, place, source
), best AS (
    SELECT * FROM (SELECT *, min(place) OVER (PARTITION BY day) AS first FROM sums) AS s WHERE place = first
)
SELECT c.ddate, c.y, c.m, c.iso_year, c.iso_week, c.iso_dow, c.is_business, c.is_holiday, c.day_type,
    coalesce(round(b.kg / 1000, 3), 0)::numeric(18,3) AS receive_net_ton,
    coalesce(b.slips, 0)::integer AS receive_vehicle_count,
    CASE WHEN b.slips > 0 THEN round(b.kg / b.slips, 3) END::numeric(18,3) AS avg_weight_kg_per_vehicle,
    coalesce(round(b.yen), 0)::numeric(18,0) AS sales_yen,
    CASE WHEN b.kg > 0 THEN round(b.yen / b.kg, 3) END::numeric(18,3) AS unit_price_yen_per_kg,
    b.source AS source_system
FROM ref.v_calendar_classified AS c LEFT JOIN best AS b ON b.day = c.ddate
WHERE c.ddate < DATE '{today}'
"""

VIEWS["mart.v_receive_daily"] = "SELECT * FROM mart.mv_receive_daily"

VIEWS["mart.v_receive_monthly"] = """
SELECT r.y, r.m, min(r.ddate) AS month_start, max(r.ddate) AS month_end, sum(r.receive_net_ton) AS receive_net_ton,
    sum(r.receive_vehicle_count) AS receive_vehicle_count, sum(r.sales_yen) AS sales_yen,
    sum(CASE WHEN r.is_business THEN 1 ELSE 0 END) AS business_days, count(r.ddate) AS total_days
FROM mart.mv_receive_daily AS r GROUP BY r.y, r.m
"""

VIEWS["mart.v_receive_weekly"] = """
SELECT r.iso_year, r.iso_week, min(r.ddate) AS week_start, max(r.ddate) AS week_end,
    sum(r.receive_net_ton) AS receive_net_ton, sum(r.receive_vehicle_count) AS receive_vehicle_count,
    sum(r.sales_yen) AS sales_yen, sum(CASE WHEN r.is_business THEN 1 ELSE 0 END) AS business_days,
    count(r.ddate) AS total_days
FROM mart.mv_receive_daily AS r GROUP BY r.iso_year, r.iso_week
"""

VIEWS["mart.v_daily_target_with_calendar"] = """
SELECT c.ddate, c.iso_year, c.iso_week, c.iso_dow, c.day_type, c.is_business, p.target_ton, p.scope_used, p.created_at
FROM ref.v_calendar_classified AS c
LEFT JOIN (
    SELECT *, row_number() OVER (PARTITION BY ddate::date ORDER BY created_at DESC) AS place
    FROM mart.daily_target_plan
) AS p ON p.ddate::date = c.ddate AND p.place = 1
"""

VIEWS["mart.mv_target_card_per_day"] = """
WITH days AS (
    SELECT c.*, coalesce(t.target_ton, 0)::numeric AS target, coalesce(r.receive_net_ton, 0)::numeric AS actual
    FROM ref.v_calendar_classified AS c
    LEFT JOIN mart.v_daily_target_with_calendar AS t ON t.ddate = c.ddate
    LEFT JOIN mart.mv_receive_daily AS r ON r.ddate = c.ddate
), weeks AS (
    SELECT iso_year, iso_week, sum(target) AS target, sum(actual) AS actual FROM days GROUP BY iso_year, iso_week
), months AS (
    SELECT y, m, sum(actual) AS actual FROM days GROUP BY y, m
)
SELECT d.ddate, d.target AS day_target_ton, w.target AS week_target_ton,
    (
        SELECT k.value FROM kpi.monthly_targets AS k
        WHERE k.metric = 'inbound' AND k.segment = 'factory' AND k.month_date = make_date(d.y, d.m, 1)
        ORDER BY k.updated_at DESC LIMIT 1
    )::numeric AS month_target_ton,
    coalesce(p.actual, 0) AS day_actual_ton_prev,
    w.actual AS week_actual_ton, m.actual AS month_actual_ton, d.iso_year, d.iso_week, d.iso_dow, d.day_type,
    d.is_business
FROM days AS d JOIN weeks AS w USING (iso_year, iso_week) JOIN months AS m USING (y, m)
LEFT JOIN days AS p ON p.ddate = d.ddate - 1
"""

VIEWS["mart.v_sales_tree_detail_base"] = """
SELECT s.slip_date AS sales_date, s.sales_staff_cd AS rep_id, s.sales_staff_name AS rep_name,
    repeat('0', 6 - length(s.client_cd)) || s.client_cd AS customer_id, s.client_name AS customer_name,
    s.item_cd AS item_id, s.item_name, s.amount AS amount_yen, s.net_weight AS qty_kg, s.receive_no AS slip_no,
    s.category_cd, s.category_name, CASE WHEN s.category_cd = 1 THEN 'waste' ELSE 'valuable' END AS category_kind,
    s.aggregate_item_cd, s.aggregate_item_name, s.id AS source_id, s.upload_file_id, s.source_row_no
FROM stg.shogun_final_receive AS s
WHERE s.is_deleted = false AND (s.category_cd = 1 OR s.category_cd = 3)
"""

VIEWS["mart.v_sales_tree_daily"] = """
SELECT sales_date, rep_id, rep_name, customer_id, customer_name, item_id, item_name, amount_yen, qty_kg,
    qty_kg AS net_weight_kg, slip_no, category_cd
FROM mart.v_sales_tree_detail_base
"""

# Its columns are promised nowhere: nothing reads it.
VIEWS["mart.mv_sales_tree_daily"] = "SELECT * FROM mart.v_sales_tree_daily"

VIEWS["mart.v_customer_sales_daily"] = """
SELECT sales_date, customer_id, max(customer_name) AS customer_name, max(rep_id) AS rep_id, max(rep_name) AS rep_name,
    count(DISTINCT slip_no) AS visit_count, sum(amount_yen) AS total_amount_yen, sum(qty_kg) AS total_qty_kg,
    sum(net_weight_kg) AS total_net_weight_kg
FROM mart.v_sales_tree_daily GROUP BY sales_date, customer_id
"""

VIEWS["ref.v_customer"] = """
SELECT customer_id, customer_name FROM mart.v_sales_tree_detail_base GROUP BY customer_id, customer_name
"""

VIEWS["ref.v_item"] = """
SELECT item_id, item_name, category_cd, category_name FROM mart.v_sales_tree_detail_base
GROUP BY item_id, item_name, category_cd, category_name
"""

VIEWS["ref.v_sales_rep"] = """
SELECT rep_id, rep_name FROM mart.v_sales_tree_detail_base GROUP BY rep_id, rep_name
"""
