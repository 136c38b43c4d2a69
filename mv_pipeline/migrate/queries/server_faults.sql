-- What is wrong with a server, a database and its sessions, what to do, how bad it is and what it means; where it is fatal,
-- the pipeline can't work. The worst comes first.
WITH here AS MATERIALIZED (
    SELECT
        %(version)s::integer AS version,
        (
            SELECT string_agg(name, ', ' ORDER BY name)
            FROM pg_settings
            JOIN jsonb_each_text(%(pinned)s) AS pinned (name, value) USING (name)
            -- What a transaction of ours has set for itself isn't lost.
            WHERE setting <> value AND source <> 'session'
        ) AS lost
),
faults AS (
    SELECT
        format('The server is PostgreSQL %%s; %%s or later is needed', version, %(oldest)s) AS what,
        'Name another server' AS remedy,
        'fatal' AS level,
        'Nothing of this pipeline works there' AS means
    FROM here
    WHERE version < %(oldest)s
    UNION ALL
    SELECT
        'The session isn''t the server''s own' || coalesce(', and has other settings: ' || lost, ''),
        %(pooler)s,
        'fatal',
        'A setting or a lock may be gone at any statement'
    FROM here
    WHERE lost IS NOT NULL OR pg_backend_pid() <> %(pid)s
    UNION ALL
    SELECT
        format('The database''s encoding is %%s, which can''t hold every text; UTF8 is needed', getdatabaseencoding()),
        'Make another one by CREATE DATABASE … ENCODING ''UTF8'' TEMPLATE template0, and name it',
        'fatal',
        'Names that it can''t hold stop a load'
    WHERE getdatabaseencoding() <> 'UTF8'
    UNION ALL
    SELECT
        'The server is a standby, which takes no writes',
        'Name the primary, or add target_session_attrs=read-write to a URL with both',
        'fatal',
        'Nothing can be loaded or refreshed'
    WHERE pg_is_in_recovery()
    UNION ALL
    SELECT
        format('The database was migrated to revision %%s by a newer version of mv-pipeline', %(revision)s::text),
        'Install that version',
        'fatal',
        'This version would undo what that one has changed'
    WHERE %(revision)s::text <> ALL (%(known)s::text[])
    UNION ALL
    SELECT
        'Sessions may only read, as default_transaction_read_only is on',
        'When it may be written to again: '
        || 'ALTER DATABASE … or ALTER ROLE … RESET default_transaction_read_only; pg_db_role_setting says which',
        'fatal',
        'Nothing can be loaded or refreshed'
    WHERE NOT pg_is_in_recovery() AND current_setting('default_transaction_read_only')::boolean
    UNION ALL
    SELECT
        format('The server is PostgreSQL %%s; this version was tested with %%s to %%s', version, %(oldest)s, %(newest)s),
        'Look for a newer version of mv-pipeline',
        'warning',
        'What is new there may break something'
    FROM here
    WHERE version > %(newest)s
    UNION ALL
    SELECT
        format('%%s is %%s in sessions of the pipeline', name, current_setting(name, true)),
        format('ALTER DATABASE … or ALTER ROLE … RESET %%s; pg_db_role_setting says which', name),
        CASE WHEN jsonb_array_length(value) > 2 THEN 'fatal' ELSE 'failure' END,
        value->>1
    FROM jsonb_each(%(named)s) AS named (name, value)
    -- Of a library's setting nothing is known until a session uses it.
    WHERE coalesce(nullif(current_setting(name, true), ''), value->>0) <> value->>0
    UNION ALL
    SELECT
        format(
            'The publication %%s publishes updates and deletions of tables without a key: %%s',
            pubname, string_agg(schemaname || '.' || tablename, ', ' ORDER BY schemaname, tablename)
        ),
        'ALTER TABLE … REPLICA IDENTITY FULL for each of them',
        'failure',
        'Whoever changes or deletes a row there fails'
    FROM pg_publication_tables
    JOIN pg_publication USING (pubname)
    JOIN pg_class AS c ON c.oid = format('%%I.%%I', schemaname, tablename)::regclass
    WHERE (pubupdate OR pubdelete)
        AND (
            relreplident = 'n'
            OR relreplident = 'd' AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary)
        )
        AND schemaname || '.' || tablename = ANY (%(changed)s)
    GROUP BY pubname
)

SELECT * FROM faults ORDER BY level <> 'fatal'
