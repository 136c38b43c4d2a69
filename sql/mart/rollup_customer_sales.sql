/*
description: 取引先別の日次売上の集計（最終受入のうち種類CD 1 と 3）。
description_en: Sales per day and customer, stored by day.
owner: team:data-platform
key: [sales_date, customer]
day: sales_date
*/
SELECT
    sales_date,
    coalesce(customer_id, '') AS customer,  -- a key holds no NULL; no customer's id is empty, since ids are padded
    max(customer_name) AS customer_name,
    max(rep_id) AS rep_id,
    max(rep_name) AS rep_name,
    count(DISTINCT slip_no) AS visit_count,
    sum(amount_yen) AS total_amount_yen,
    sum(qty_kg) AS total_qty_kg
FROM mart.v_sales_tree_detail_base
GROUP BY sales_date, coalesce(customer_id, '')
