CREATE TABLE log.incident (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL,
    kind text NOT NULL,
    level text NOT NULL,
    audience text NOT NULL,
    state text NOT NULL,
    title text NOT NULL,
    message text NOT NULL,
    opened_at timestamptz NOT NULL,
    first_seen_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    closed_at timestamptz,
    notified_at timestamptz,
    told text[] NOT NULL DEFAULT '{}'
);
CREATE UNIQUE INDEX incident_open ON log.incident (key) WHERE closed_at IS NULL;
COMMENT ON COLUMN log.incident.opened_at IS 'Since when it is so; first_seen_at: when a look found out.';
COMMENT ON COLUMN log.incident.state IS 'Another value under the same key is news again.';
COMMENT ON COLUMN log.incident.told IS 'The receivers that know of it and have not been told of its end.';
