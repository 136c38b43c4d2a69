/*
description: 取引先・品目・業者別の日次集計（ベンチマーク用）。
description_en: Receive lines per day, customer, item and vendor; the benchmark's own.
owner: team:data-platform
key: [slip_date, client_cd, item_cd, vendor_cd]
day: slip_date
*/
SELECT
    slip_date,
    client_cd,
    item_cd,
    vendor_cd,
    count(*) AS line_count,
    count(DISTINCT receive_no) AS slip_count,
    sum(net_weight) AS net_weight_kg,
    sum(amount) AS amount_yen
FROM stg.v_active_shogun_final_receive
GROUP BY slip_date, client_cd, item_cd, vendor_cd
