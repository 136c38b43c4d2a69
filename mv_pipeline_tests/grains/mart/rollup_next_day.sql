/*
description: 翌日付けの集計（試験用）。
description_en: Final receive under the day after, with the lines of other tables on no day, for tests.
owner: team:data-platform
key: [ddate]
day: ddate
*/
SELECT
    slip_date + 1 AS ddate,
    count(*) AS line_count,
    (SELECT count(*) FROM stg.shogun_final_yard) AS yard_lines
FROM stg.v_active_shogun_final_receive
GROUP BY slip_date + 1
