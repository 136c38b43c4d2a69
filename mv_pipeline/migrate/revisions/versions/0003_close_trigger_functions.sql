REVOKE EXECUTE ON FUNCTION log.note_rows(), log.note_truncate() FROM PUBLIC;
ALTER FUNCTION log.note_rows() SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION log.note_truncate() SET search_path = pg_catalog, pg_temp;
