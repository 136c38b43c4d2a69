/*
description: 営業担当者の一覧。
description_en: Sales representatives that appear in the sales lines.
owner: team:data-platform
*/
SELECT DISTINCT
    rep_id,
    rep_name
FROM mart.v_sales_tree_detail_base
