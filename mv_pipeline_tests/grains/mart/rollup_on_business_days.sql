/*
description: 営業日の集計（試験用）。
description_en: Flash receive per day with the day's type, which follows from tables whose rows have no day, for tests.
owner: team:data-platform
key: [ddate, day_type]
day: ddate
*/
SELECT
    r.slip_date AS ddate,
    c.day_type,
    count(*) AS line_count,
    count(DISTINCT r.receive_no) AS slips
FROM stg.v_active_shogun_flash_receive AS r
INNER JOIN ref.v_calendar_classified AS c ON c.ddate = r.slip_date
GROUP BY r.slip_date, c.day_type
