/*
# One line each: what a row is, and which rows there are. People see it in the UI and in the database.
description: 品目別の日次受入の集計。ここに説明を書きます。
description_en: "Final receive lines per day and item: say here what a row is."
owner: team:data-platform
# The columns that tell one row from another, the day among them; none of them may ever be NULL.
key: [ddate, item]
# The day. Only the days whose lines have changed are computed again, so it has to come from slip_date.
day: ddate
# docs/adding-a-view.md says more. Views read the rollup by its name, and find every change at once.
*/
SELECT
    slip_date AS ddate,
    coalesce(item_cd, 0) AS item,  -- a key holds no NULL
    count(*) AS line_count,
    sum(net_weight) AS net_weight_kg  -- sums and counts; leave rounding to the view that reads it
FROM stg.v_active_shogun_final_receive
GROUP BY slip_date, coalesce(item_cd, 0)
