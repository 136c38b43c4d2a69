/*
# One line each: what a row is, and which rows there are. People see it in the UI and in the database.
description: 日次の受入（昨日まで）。ここに説明を書きます。
description_en: "Receive per day up to yesterday: say here what a row is."
owner: team:data-platform
# docs/adding-a-view.md says more. A plain view has no other fields.
*/
SELECT
    ddate,
    receive_net_ton
FROM mart.mv_receive_daily  -- every relation with its schema; what is read here decides the place in the graph
