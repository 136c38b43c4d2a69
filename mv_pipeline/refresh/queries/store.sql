WITH fresh AS MATERIALIZED ({fresh}),
written AS (
    INSERT INTO {stored} AS old ({columns}) SELECT {columns} FROM fresh ON CONFLICT ({key}) {update} RETURNING 1
),
vanished AS (
    DELETE FROM {stored} AS stored
    WHERE {stored_ones} AND NOT EXISTS (SELECT FROM fresh WHERE {same_key}) RETURNING 1
)
TABLE written UNION ALL TABLE vanished
