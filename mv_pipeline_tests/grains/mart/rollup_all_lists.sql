/*
description: 受入・ヤード・king を合わせた日別集計（試験用）。
description_en: Lines of several tables together per day, for tests.
owner: team:data-platform
key: [ddate, list]
day: ddate
*/
SELECT
    ddate,
    list,
    count(*) AS line_count,
    sum(kg) AS kg
FROM (
    SELECT slip_date AS ddate, 'receive' AS list, net_weight AS kg FROM stg.v_active_shogun_final_receive
    UNION ALL
    SELECT y.slip_date, 'yard', y.net_weight FROM stg.shogun_flash_yard AS y WHERE NOT y.is_deleted
    UNION ALL
    SELECT invoice_d, 'king', net_weight_detail FROM stg.v_king_receive_clean
) AS lines
GROUP BY ddate, list
