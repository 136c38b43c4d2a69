/*
severity: WARN
description: No upload has left a day with far less than it had, unless somebody has confirmed it or replaced the day.
message: "{days} days found that an upload has left with far less than they had, 0 expected{shrunk}."
remedy: >-
  正しくなければ、その日の分をすべて出力し直して inbox/{kind}/ に置いてください。 Drop all lines of the day again, or run
  `mv-pipeline uploads restore` with the earlier upload; `mv-pipeline uploads confirm` if it is right so.
*/
SELECT
    count(*) = 0 AS passed,
    count(*) AS days,
    coalesce(
        array_agg(
            format(
                '%%s: %%s lines %%s kg → %%s lines %%s kg, upload %%s after %%s',
                day, lines_before, kg_before, lines, kg, upload, coalesce(earlier_upload::text, 'lines of no upload')
            ) ORDER BY day
        ),
        '{{}}'
    ) AS shrunk
FROM {shrunk_days} AS s
