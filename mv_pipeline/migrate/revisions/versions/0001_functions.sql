CREATE OR REPLACE FUNCTION ref.business_date() RETURNS date
LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce(
    nullif(current_setting('mv_pipeline.business_date', true), '')::date,
    (current_timestamp AT TIME ZONE 'Asia/Tokyo')::date
);
COMMENT ON FUNCTION ref.business_date() IS
    'Today in Asia/Tokyo, unless the setting mv_pipeline.business_date names another day. The only clock of the views.';

CREATE OR REPLACE FUNCTION ref.king_date(invoice_date text) RETURNS date
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE
    WHEN invoice_date !~ '^\d{4}([-/])\d{2}\1\d{2}$' THEN NULL
    WHEN pg_input_is_valid(replace(invoice_date, '/', '-'), 'date') THEN replace(invoice_date, '/', '-')::date
END;
COMMENT ON FUNCTION ref.king_date(text) IS 'The date of a king line, NULL if its text is no date.';

CREATE OR REPLACE FUNCTION log.note_rows() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $body$
DECLARE
    -- The expression for a row's day comes from the trigger's definition, never from data.
    day text := nullif(TG_ARGV[0], '');
    relation text := TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME;
    changed text := CASE TG_OP
        WHEN 'INSERT' THEN 'TABLE new_rows'
        WHEN 'DELETE' THEN 'TABLE old_rows'
        ELSE 'TABLE old_rows UNION ALL TABLE new_rows'
    END;
BEGIN
    IF day IS NULL THEN
        EXECUTE 'INSERT INTO log.change_note (relation) SELECT $1 WHERE EXISTS (' || changed || ')' USING relation;
    ELSE
        EXECUTE 'INSERT INTO log.change_note (relation, day) SELECT $1, day FROM (SELECT DISTINCT ' || day
            || ' AS day FROM (' || changed || ') AS changed) AS days WHERE day IS NOT NULL' USING relation;
    END IF;
    RETURN NULL;
END
$body$;

CREATE OR REPLACE FUNCTION log.note_truncate() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $body$
BEGIN
    INSERT INTO log.change_note (relation) VALUES (TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME);
    RETURN NULL;
END
$body$;

COMMENT ON TABLE mart.rollup_daily IS
    'One row per list, source and day over the active rows; recomputed for the days that change notes name.';
COMMENT ON TABLE log.change_note IS
    'Which relation changed, and on which day of its rows; no day: any of them. Written by triggers and refreshes.';
COMMENT ON COLUMN log.view_refresh.snapshot IS 'What the refresh could see: a note outside of it is news to the view.';
