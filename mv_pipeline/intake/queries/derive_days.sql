DROP TABLE IF EXISTS pg_temp.derived;

CREATE TEMP TABLE derived ON COMMIT DROP AS
WITH accepted AS (
    SELECT id AS upload_file_id
    FROM {uploads}
    WHERE kind = {kind} AND processing_status = 'success' AND NOT is_deleted
        -- Uploads of other software don't say which days they hold, so their lines are read.
        AND coalesce((metadata->>'last_day')::date >= {first}, true)
        AND coalesce((metadata->>'first_day')::date <= {last}, true)
)
SELECT t.*, t.upload_file_id = max(t.upload_file_id) OVER (PARTITION BY t.slip_date) AS wins
FROM ({typed}) AS t WHERE t.slip_date BETWEEN {first} AND {last};

ANALYZE pg_temp.derived;

-- The three of them change different rows: those of the winning upload, new ones, and those of earlier uploads.
WITH updated AS (
    UPDATE {stg} AS s SET ({columns}) = ROW ({derived})
    FROM pg_temp.derived AS d
    WHERE d.wins AND s.upload_file_id = d.upload_file_id AND s.source_row_no = d.source_row_no
        AND ROW ({current}) IS DISTINCT FROM ROW ({derived})
    RETURNING 1
),
inserted AS (
    INSERT INTO {stg} ({columns}, upload_file_id, source_row_no)
    SELECT {columns}, upload_file_id, source_row_no
    FROM pg_temp.derived AS d
    WHERE d.wins AND NOT EXISTS (
        SELECT FROM {stg} AS s WHERE s.upload_file_id = d.upload_file_id AND s.source_row_no = d.source_row_no
    )
    ORDER BY upload_file_id, source_row_no
    RETURNING 1
),
deleted AS (
    UPDATE {stg} AS s SET is_deleted = true, deleted_at = now(), deleted_by = 'backfill'
    FROM (SELECT slip_date, min(upload_file_id) AS winner FROM pg_temp.derived WHERE wins GROUP BY 1) AS w
    WHERE s.slip_date = w.slip_date AND NOT s.is_deleted AND s.upload_file_id < w.winner
    RETURNING 1
)
SELECT
    ARRAY(SELECT DISTINCT slip_date FROM pg_temp.derived ORDER BY 1) AS days,
    (SELECT count(*) FROM inserted) AS inserted,
    (SELECT count(*) FROM updated) AS updated,
    (SELECT count(*) FROM deleted) AS deleted
