/*
description: 取引先別の日次売上。
description_en: Sales per day and customer.
owner: team:data-platform
*/
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
GROUP BY sales_date, customer_id
