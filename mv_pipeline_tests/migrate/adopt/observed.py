"""A database as seen from outside: columns, rows, indexes, rights, and all else that a change would show in."""

from typing import Any

from psycopg import sql

from mv_pipeline.database.connection import Connection, identifier, scalar
from mv_pipeline_tests.migrate.adopt.contract import COLUMNS, TABLES, Column

Rows = list[tuple[Any, ...]]

OURS = ("raw", "stg", "ref", "kpi", "mart", "log")
_KINDS = "CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'table' END"
_NAME = "n.nspname || '.' || c.relname"
_CLASSES = "pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
_NOT_THE_SERVERS = "n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'"


def rows(connection: Connection, query: str, *params: object) -> Rows:
    """The rows of a query."""
    return connection.execute(sql.SQL(query), params or None).fetchall()


def columns(connection: Connection) -> list[Column]:
    """Every column of the relations in our schemas, as the contract's file writes it."""
    return [
        Column(*row)
        for row in rows(
            connection,
            f"SELECT {_NAME}, {_KINDS}, row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum)::integer, "
            "a.attname, format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'no' ELSE 'yes' END, "
            "CASE WHEN a.attgenerated = 's' THEN format('generated always as %s stored', pg_get_expr(adbin, adrelid)) "
            "ELSE coalesce(pg_get_expr(adbin, adrelid), '') END "
            f"FROM {_CLASSES} JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
            "LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum "
            f"WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname IN {OURS} ORDER BY 1, a.attnum",
        )
    ]


def contents(connection: Connection, names: list[str] | None = None) -> dict[str, tuple[int, int]]:
    """How many rows each relation has and the sum of their hashes, over the contract's columns.

    Args:
        names: relations of the contract; None: every table in it.
    """
    return {name: _content(connection, name) for name in names or TABLES}


def _content(connection: Connection, name: str) -> tuple[int, int]:
    columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in COLUMNS[name])
    query = sql.SQL("SELECT count(*), coalesce(sum(hashtextextended(ROW({})::text, 0)), 0) FROM {}").format(
        columns, identifier(name)
    )
    count, total = connection.execute(query).fetchone() or (0, 0)
    return count, total


def all_rows(connection: Connection, name: str) -> set[tuple[Any, ...]]:
    """All rows of a relation of the contract; no row is there twice."""
    columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in COLUMNS[name])
    found = connection.execute(sql.SQL("SELECT {} FROM {}").format(columns, identifier(name))).fetchall()
    assert len(found) == len(set(found)) or not name.split(".")[1].startswith("mv_")
    return set(found)


def count_rows(connection: Connection, name: str) -> int:
    """How many rows a relation has."""
    return int(scalar(connection, sql.SQL("SELECT count(*) FROM {}").format(identifier(name))))


def indexes(connection: Connection) -> Rows:
    """Every index: relation, name, whether primary, unique, valid, its keys in order, and its condition."""
    return rows(
        connection,
        f"SELECT {_NAME}, i.indexrelid::regclass::text, i.indisprimary, i.indisunique, i.indisvalid, "
        "regexp_replace(pg_get_indexdef(i.indexrelid), '^.* USING ', '') "
        f"FROM {_CLASSES} JOIN pg_index AS i ON i.indrelid = c.oid WHERE {_NOT_THE_SERVERS} ORDER BY 1, 2",
    )


def double_indexes(connection: Connection) -> Rows:
    """Relations with several indexes on the same columns under the same condition."""
    return rows(
        connection,
        f"SELECT {_NAME}, regexp_replace(pg_get_indexdef(i.indexrelid), '^.* USING ', ''), count(*) "
        f"FROM {_CLASSES} JOIN pg_index AS i ON i.indrelid = c.oid WHERE n.nspname IN {OURS} "
        "GROUP BY 1, 2 HAVING count(*) > 1",
    )


def rights(connection: Connection) -> Rows:
    """Who may do what with which relation, column, schema or function; owners' own rights aside."""
    return rows(
        connection,
        "SELECT object, coalesce(r.rolname, 'PUBLIC')::text AS role, privilege_type, is_grantable FROM ("
        f"SELECT {_NAME} AS object, c.relowner AS owner, c.relacl AS acl FROM {_CLASSES} WHERE {_NOT_THE_SERVERS} "
        f"UNION ALL SELECT {_NAME} || '.' || a.attname, c.relowner, a.attacl FROM {_CLASSES} "
        f"JOIN pg_attribute AS a ON a.attrelid = c.oid WHERE {_NOT_THE_SERVERS} "
        f"UNION ALL SELECT n.nspname, n.nspowner, n.nspacl FROM pg_namespace AS n WHERE {_NOT_THE_SERVERS}"
        ") AS objects CROSS JOIN aclexplode(acl) LEFT JOIN pg_roles AS r ON r.oid = grantee "
        "WHERE grantee <> owner ORDER BY 1, 2, 3",
    )


def owners(connection: Connection) -> dict[str, str]:
    """The owner of each table, view, materialized view and sequence."""
    found = rows(
        connection,
        f"SELECT {_NAME}, pg_get_userbyid(c.relowner)::text FROM {_CLASSES} "
        f"WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') AND {_NOT_THE_SERVERS}",
    )
    return dict(found)


def comments(connection: Connection) -> dict[str, str]:
    """The comment of each relation and column that has one."""
    found = rows(
        connection,
        f"SELECT {_NAME} || coalesce('.' || a.attname, ''), d.description FROM {_CLASSES} "
        "JOIN pg_description AS d ON d.objoid = c.oid AND d.classoid = 'pg_class'::regclass "
        "LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = d.objsubid AND d.objsubid > 0 "
        f"WHERE c.relkind IN ('r', 'p', 'v', 'm') AND {_NOT_THE_SERVERS}",
    )
    return dict(found)


def sequences(connection: Connection) -> Rows:
    """Every sequence: its type, its last value, and the column that owns it.

    Those of identity columns aside: they count what was taken back as well.
    """
    return rows(
        connection,
        f"SELECT {_NAME}, s.data_type::text, s.last_value, d.refobjid::regclass::text, d.refobjsubid "
        f"FROM {_CLASSES} JOIN pg_sequences AS s ON s.schemaname = n.nspname AND s.sequencename = c.relname "
        "LEFT JOIN pg_depend AS d ON d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'a' "
        f"WHERE c.relkind = 'S' AND {_NOT_THE_SERVERS} AND NOT EXISTS (SELECT FROM pg_depend AS i "
        "WHERE i.objid = c.oid AND i.classid = 'pg_class'::regclass AND i.deptype = 'i') ORDER BY 1",
    )


_CATALOGS = {
    "schemas": "SELECT n.oid, nspname, nspowner, nspacl::text FROM pg_namespace AS n WHERE {ours}",
    "relations": "SELECT c.oid, n.nspname, relname, relkind, relowner, relfilenode, relpersistence, relispopulated, "
    "relacl::text, reloptions::text, pg_get_viewdef(CASE WHEN relkind IN ('v', 'm') THEN c.oid END) "
    "FROM {classes} WHERE {ours}",
    "columns": "SELECT c.oid, attnum, attname, atttypid, atttypmod, attnotnull, attisdropped, attacl::text, "
    "pg_get_expr(adbin, adrelid) FROM {classes} JOIN pg_attribute AS a ON a.attrelid = c.oid "
    "LEFT JOIN pg_attrdef AS d ON adrelid = attrelid AND adnum = attnum WHERE {ours}",
    "indexes": "SELECT c.oid, indexrelid, indisunique, indisprimary, indisvalid, pg_get_indexdef(indexrelid) "
    "FROM {classes} JOIN pg_index AS i ON indrelid = c.oid WHERE {ours}",
    "constraints": "SELECT k.oid, conname, conrelid, pg_get_constraintdef(k.oid) FROM pg_constraint AS k "
    "JOIN pg_namespace AS n ON n.oid = k.connamespace WHERE {ours}",
    "triggers": "SELECT t.oid, tgrelid, tgname, tgfoid, tgenabled FROM {classes} JOIN pg_trigger AS t "
    "ON tgrelid = c.oid WHERE {ours}",
    "functions": "SELECT p.oid, proname, proowner, prosrc, proconfig::text, proacl::text FROM pg_proc AS p "
    "JOIN pg_namespace AS n ON n.oid = pronamespace WHERE {ours}",
    "comments": "SELECT objoid, objsubid, description FROM pg_description AS d JOIN {classes} ON objoid = c.oid "
    "WHERE {ours}",
    "rules": "SELECT r.oid, ev_class, rulename FROM {classes} JOIN pg_rewrite AS r ON ev_class = c.oid WHERE {ours}",
}


def snapshot(connection: Connection) -> dict[str, object]:
    """Everything in the database: the catalogues with oids, sequences, and the contents of all tables.

    Two snapshots are equal if nothing was done in between, or all of it was taken back.
    """
    found: dict[str, object] = {
        what: sorted(rows(connection, query.format(classes=_CLASSES, ours=_NOT_THE_SERVERS)), key=repr)
        for what, query in _CATALOGS.items()
    }
    found["sequences"] = sequences(connection)
    stored = rows(
        connection, f"SELECT {_NAME} FROM {_CLASSES} WHERE c.relkind IN ('r', 'm') AND {_NOT_THE_SERVERS} ORDER BY 1"
    )
    found["contents"] = {
        name: rows(
            connection,
            f"SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0) FROM {name} AS t",
        )
        for (name,) in stored
    }
    return found
