SELECT
    ARRAY(
        SELECT a.attname::text
        FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n)
        JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE n <= i.indnkeyatts
        ORDER BY n
    ),
    indisunique,
    c.relname::text,
    indpred IS NULL AND indexprs IS NULL,
    indisvalid,
    pg_get_indexdef(indexrelid)
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = indexrelid
WHERE indrelid = %s::regclass
ORDER BY indexrelid
