/*
description: 取引先別の日次売上。
description_en: Sales per day and customer.
owner: team:data-platform
*/
SELECT
    sales_date,
    nullif(customer, '') AS customer_id,
    customer_name,
    rep_id,
    rep_name,
    visit_count,
    total_amount_yen,
    total_qty_kg,
    total_qty_kg AS total_net_weight_kg
FROM mart.rollup_customer_sales
UNION ALL
-- A rollup stores days, so lines without one are added up here.
SELECT
    sales_date,
    customer_id,
    max(customer_name) AS customer_name,
    max(rep_id) AS rep_id,
    max(rep_name) AS rep_name,
    count(DISTINCT slip_no) AS visit_count,
    sum(amount_yen) AS total_amount_yen,
    sum(qty_kg) AS total_qty_kg,
    sum(qty_kg) AS total_net_weight_kg
FROM mart.v_sales_tree_detail_base
WHERE sales_date IS NULL
GROUP BY sales_date, customer_id
