/*
severity: WARN
description: No line counts on a day after the business date.
message: "{lines} lines found on days after {business_date}, 0 expected{days}."
remedy: >-
  伝票日付が先の日になっています。将軍で日付を直し、正しい日と間違えた日のCSVを inbox/{kind}/ に置き直してください。 Correct the dates and
  drop the days again; a day without any line left needs `UPDATE stg.{kind} SET is_deleted = true, deleted_at = now(),
  deleted_by = 'your name' WHERE slip_date = 'the day'`.
*/
WITH future AS (
    SELECT slip_date, count(*) AS lines, array_agg(DISTINCT upload_file_id) AS uploads
    FROM {stg} WHERE slip_date > ref.business_date() AND NOT is_deleted GROUP BY slip_date
)
SELECT
    count(*) = 0 AS passed,
    coalesce(sum(lines), 0)::bigint AS lines,
    ref.business_date() AS business_date,
    coalesce(
        array_agg(
            format('%%s: %%s lines, upload %%s', slip_date, lines, array_to_string(uploads, ', ', 'none'))
            ORDER BY slip_date
        ),
        '{{}}'
    ) AS days
FROM future
