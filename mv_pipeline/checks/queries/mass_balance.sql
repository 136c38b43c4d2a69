/*
# A day that has changed since the refresh is the next refresh's, and so is a day that has begun since.
description: On every day that changed within two days, the tons are those of the active staging lines.
message: "{found} tons found on the {days} days that changed lately, {expected} expected{wrong_days}."
remedy: Run `mv-pipeline refresh --full`; if the check still fails, run `mv-pipeline doctor`.
*/
WITH news AS MATERIALIZED (SELECT day FROM log.v_view_news WHERE view = ANY ({read})),
recent AS MATERIALIZED (
    SELECT DISTINCT ddate FROM ({changed}) AS changed
    WHERE changed_at > now() - interval '2 days'
    AND ddate < (SELECT least(ref.business_date(), business_date) FROM log.v_view_status WHERE relation = %(view)s)
    AND NOT EXISTS (SELECT FROM news WHERE day IS NULL OR day = ddate)
),
-- Of the staging lines themselves, not of the rollups: that is what the check is for.
counted AS (
    SELECT DISTINCT ON (ddate) ddate, net_weight_kg FROM ({fresh}) AS fresh
    WHERE ddate = ANY (ARRAY(SELECT ddate FROM recent)) ORDER BY ddate, priority
),
compared AS (
    SELECT ddate, v.tons AS found, coalesce(round(net_weight_kg / 1000, 3), 0) AS expected
    FROM recent
    LEFT JOIN counted USING (ddate)
    LEFT JOIN (SELECT {day} AS ddate, {tons} AS tons FROM {view}) AS v USING (ddate)
),
wrong AS (SELECT * FROM compared WHERE found IS DISTINCT FROM expected)
SELECT
    NOT EXISTS (SELECT FROM wrong) AS passed,
    count(*) AS days,
    coalesce(sum(found), 0) AS found,
    coalesce(sum(expected), 0) AS expected,
    ARRAY(SELECT ddate || ': ' || coalesce(found::text, 'none') || ' / ' || expected FROM wrong ORDER BY ddate)
    AS wrong_days
FROM compared
