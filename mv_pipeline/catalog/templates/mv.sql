/*
# One line each: what a row is, and which rows there are. People see it in the UI and in the database.
description: 日次の受入（1日1行、昨日まで）。ここに説明を書きます。
description_en: "Receive per day up to yesterday: say here what a row is."
owner: team:data-platform
# The columns that tell one row from another; none of them may ever be NULL. They become the unique index.
key: [ddate]
# critical: a run fails if this can't be refreshed. optional: it is reported, and only what reads it is skipped.
criticality: optional
# One row for each day: until_yesterday or calendar. Leave it out if a row isn't a day.
days: until_yesterday
# docs/adding-a-view.md has the other fields, and the checks that you can state here.
*/
SELECT
    c.ddate,  -- the key comes from the side of the join that is always there
    coalesce(s.slip_count, 0)::integer AS slip_count,
    coalesce(s.net_weight_kg / 1000, 0)::numeric(18, 3) AS net_ton
FROM ref.calendar_day AS c
LEFT JOIN mart.v_receive_source AS s ON s.ddate = c.ddate  -- a row per day; also v_shipment_source, v_yard_source, mv_*
WHERE c.ddate < ref.business_date()  -- the only clock: not now(), not current_date
