CREATE OR REPLACE TRIGGER mv_pipeline_note_insert AFTER INSERT ON {table}
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION log.note_rows({day});
CREATE OR REPLACE TRIGGER mv_pipeline_note_update AFTER UPDATE ON {table}
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION log.note_rows({day});
CREATE OR REPLACE TRIGGER mv_pipeline_note_delete AFTER DELETE ON {table}
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION log.note_rows({day});
CREATE TRIGGER mv_pipeline_note_truncate AFTER TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION log.note_truncate();
INSERT INTO log.change_note (relation) VALUES ({name});
