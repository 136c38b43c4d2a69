-- So that somebody may publish all tables: without a key of its own, a row of this one can't be deleted then.
ALTER TABLE log.rollup_day REPLICA IDENTITY FULL;
