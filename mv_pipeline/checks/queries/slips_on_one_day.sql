/*
severity: WARN
description: No slip number of the last three months counts on two days.
message: "{slips} slip numbers found that count on more than one day, 0 expected{twice}."
remedy: >-
  伝票の日付を直したときは、直す前の日のCSVも出力し直して inbox/{kind}/ に置いてください。 Drop all lines of the earlier day again: a slip
  whose date was corrected between two files counts on both days until then.
*/
-- Numbers may begin anew after a year, and every upload waits for this.
WITH slips AS (
    SELECT {slip_number} AS slip, array_agg(DISTINCT slip_date ORDER BY slip_date) AS days
    FROM {stg}
    WHERE slip_date > ref.business_date() - 92 AND NOT is_deleted AND {slip_number} IS NOT NULL
    GROUP BY 1
    HAVING min(slip_date) < max(slip_date)
)
SELECT
    count(*) = 0 AS passed,
    count(*) AS slips,
    coalesce(array_agg(format('%%s: %%s', slip, array_to_string(days, ', ')) ORDER BY slip), '{{}}') AS twice
FROM slips
