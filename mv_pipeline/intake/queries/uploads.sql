-- The rows of the log, with the name of their CSV kind and what became of the file. The log's own words (spec: Staging)
-- are fewer: a file whose rows were there already is logged as a success.
(
    SELECT
        *,
        'shogun_' || lower(file_type) || '_' || csv_type AS kind,
        CASE
            WHEN processing_status = 'failed' THEN 'rejected'
            WHEN processing_status <> 'success' THEN 'unfinished'
            WHEN metadata ? 'duplicate_of' THEN 'duplicate'
            ELSE 'loaded'
        END AS state
    FROM log.upload_file
)
