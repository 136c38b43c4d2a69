/*
description: 最終受入のうち種類CD 1（廃棄物）と 3（有価物）の有効な明細。
description_en: Active final-receive lines with category 1 (waste) or 3 (valuable).
owner: team:data-platform
*/
SELECT
    slip_date AS sales_date,
    sales_staff_cd AS rep_id,
    sales_staff_name AS rep_name,
    lpad(client_cd, greatest(6, length(client_cd)), '0') AS customer_id,
    client_name AS customer_name,
    item_cd AS item_id,
    item_name,
    amount AS amount_yen,
    net_weight AS qty_kg,
    receive_no AS slip_no,
    category_cd,
    category_name,
    CASE category_cd WHEN 1 THEN 'waste' WHEN 3 THEN 'valuable' END AS category_kind,
    aggregate_item_cd,
    aggregate_item_name,
    id AS source_id,
    upload_file_id,
    source_row_no
FROM stg.v_active_shogun_final_receive
WHERE category_cd IN (1, 3)
