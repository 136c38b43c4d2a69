WITH removed AS (
    DELETE FROM ref.closure_membership WHERE ddate NOT IN (SELECT ddate FROM {closure_days}) RETURNING 1
),
written AS (
    INSERT INTO ref.closure_membership AS old (ddate, start_date, end_date, closure_name)
    SELECT DISTINCT ON (c.ddate) c.ddate, p.start_date, p.end_date, p.closure_name
    FROM ref.calendar_day AS c JOIN ref.closure_periods AS p ON c.ddate BETWEEN p.start_date AND p.end_date
    ORDER BY c.ddate, p.start_date DESC, p.end_date
    ON CONFLICT (ddate) DO UPDATE SET
        start_date = excluded.start_date, end_date = excluded.end_date, closure_name = excluded.closure_name
    WHERE (old.start_date, old.end_date, old.closure_name)
        IS DISTINCT FROM (excluded.start_date, excluded.end_date, excluded.closure_name)
    RETURNING 1
)
TABLE removed UNION ALL TABLE written
