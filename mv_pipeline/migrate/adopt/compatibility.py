"""Whether a database that others made can be taken over: incompatibilities, missing objects, and what is worth knowing.

Changes nothing. An incompatibility stops a migration before anything is touched; a remark doesn't.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import LiteralString

from psycopg import sql

from mv_pipeline.catalog.tables import KING, TABLES
from mv_pipeline.database.connection import Connection, one_row
from mv_pipeline.migrate import revise, table_shapes
from mv_pipeline.migrate.indexes import Index
from mv_pipeline.migrate.state import kind_of
from mv_pipeline.migrate.table_shapes import Shape, compare_table

_PEOPLES = {table.name for table in TABLES if table.maintained_by == "people"}
_RETURNS = {"ref.business_date()": "date", "ref.king_date(text)": "date"}
# By table: a query for how many odd entries it has and an example, and the sentence about them.
_ODDITIES: dict[str, tuple[LiteralString, str]] = {
    "mart.daily_target_plan": (
        "SELECT count(*), min(day)::text FROM (SELECT ddate::date AS day FROM mart.daily_target_plan "
        "WHERE ddate IS NOT NULL GROUP BY ddate::date HAVING count(*) > 1) AS days",
        "{count} days have more than one plan, {example} the first of them. "
        "The latest created_at counts; the others stay where they are.",
    ),
    KING.name: (
        # As ref.king_date reads it, which isn't there yet. An empty one says least, so it is the last to be shown.
        r"SELECT count(*), coalesce(min(invoice_date) FILTER (WHERE invoice_date <> ''), '') "
        r"FROM stg.receive_king_final WHERE invoice_date IS NOT NULL AND NOT ("
        r"invoice_date ~ '^\d{4}([-/])\d{2}\1\d{2}$' AND pg_input_is_valid(replace(invoice_date, '/', '-'), 'date'))",
        "the invoice_date of {count} lines is no date (“{example}”, for example). "
        "They count for no day; correct them if they should.",
    ),
}


@dataclass(frozen=True)
class CompatibilityReport:
    """How the tables of a database compare with those that are wanted.

    Args:
        adopted: tables that exist and aren't this project's yet.
        created: tables that are missing.
        missing: missing indexes and keys of tables that exist.
        incompatibilities: what has to be changed first, a sentence each.
        remarks: what is worth knowing, a sentence each.
    """

    adopted: list[str] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    missing: list[Index] = field(default_factory=list)
    incompatibilities: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def read_report(connection: Connection) -> CompatibilityReport:
    """Compare the existing tables with those that are wanted.

    Args:
        connection: in a transaction that the caller rolls back.
    """
    first = revise.current(connection) is None
    shapes = [*(_base_shapes() if first else []), *table_shapes.shapes()]
    report = CompatibilityReport(created=[one.name for one in shapes if kind_of(connection, one.name) is None])
    # A kind's table takes its ids from a sequence, which has to be there to compare the two.
    connection.execute("CREATE SCHEMA IF NOT EXISTS stg")
    table_shapes.create_sequences(connection)
    for shape in shapes:
        if shape.name in report.created:
            continue
        incompatibilities, missing = compare_table(connection, shape)
        report.incompatibilities.extend(incompatibilities)
        report.missing.extend(missing)
        if first:
            report.adopted.append(shape.name)
    if first:
        functions = _read_functions(connection)
        report.incompatibilities.extend(
            f"{name} returns {found}; it has to return {_RETURNS[name]}. Rename it."
            for name, found in functions.items()
            if found != _RETURNS[name]
        )
        if not report.incompatibilities:
            report.remarks.extend(
                f"{name} exists already; it gets the body that the views here were written for." for name in functions
            )
            report.remarks.extend(_odd_entries(connection, report.adopted))
    return report


def _base_shapes() -> list[Shape]:
    base = revise.base()
    return [
        Shape(
            name,
            sql.SQL(body),
            tuple(columns for table, columns in base.INDEXES.values() if table == name),
            inserted=name not in _PEOPLES,
        )
        for name, body in base.TABLES.items()
    ]


def _read_functions(connection: Connection) -> dict[str, str]:
    """What the functions return that others have made under the names of ours."""
    rows = connection.execute(
        "SELECT name, CASE WHEN proretset THEN 'SETOF ' ELSE '' END || format_type(prorettype, NULL) "
        "FROM unnest(%s::text[]) AS name JOIN pg_proc AS p ON p.oid = to_regprocedure(name)",
        [list(_RETURNS)],
    )
    return dict(rows.fetchall())


def _odd_entries(connection: Connection, adopted: list[str]) -> Iterator[str]:
    for table, (query, sentence) in _ODDITIES.items():
        if table in adopted:
            count, example = one_row(connection, query)
            if count:
                yield f"{table}: {sentence.format(count=count, example=example)}"
