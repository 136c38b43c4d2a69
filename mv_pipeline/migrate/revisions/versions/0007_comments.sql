ALTER TABLE log.relation ADD COLUMN comment text;
COMMENT ON COLUMN log.relation.comment IS 'The comment as it was written from the file; NULL: others have written it.';
UPDATE log.relation SET comment = obj_description(to_regclass(name), 'pg_class');
