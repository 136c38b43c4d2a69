CREATE TABLE log.taken_file (
    upload_file_id integer PRIMARY KEY,
    kind text NOT NULL,
    inbox_name bytea NOT NULL,
    path text,
    has_changed boolean NOT NULL DEFAULT false,
    stamp text,
    compared_at timestamptz
);
COMMENT ON TABLE log.taken_file IS 'Where the file of an upload lies, as long as it lies anywhere.';
COMMENT ON COLUMN log.taken_file.inbox_name IS 'Its name in the inbox, byte for byte.';
COMMENT ON COLUMN log.taken_file.path IS 'Where it lies in the home; NULL: it is in the inbox, still or again.';
COMMENT ON COLUMN log.taken_file.has_changed IS 'Whether it was put back into the inbox because somebody had written on.';
COMMENT ON COLUMN log.taken_file.stamp IS 'Its size and time of change when it was last compared with the log.';
