/*
description: 取引先の一覧。
description_en: Customers that appear in the sales lines.
owner: team:data-platform
*/
SELECT DISTINCT
    customer_id,
    customer_name
FROM mart.v_sales_tree_detail_base
