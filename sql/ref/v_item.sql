/*
description: 品名の一覧。
description_en: Items that appear in the sales lines.
owner: team:data-platform
*/
SELECT DISTINCT
    item_id,
    item_name,
    category_cd,
    category_name
FROM mart.v_sales_tree_detail_base
