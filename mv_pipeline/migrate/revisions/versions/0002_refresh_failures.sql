CREATE TABLE log.refresh_failure (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    relation text NOT NULL,
    failed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    error text NOT NULL,
    run_id text
);
CREATE INDEX refresh_failure_relation ON log.refresh_failure (relation, id);
COMMENT ON TABLE log.refresh_failure IS
    'Refreshes that failed after their retries; a later row in log.view_refresh ends it.';
