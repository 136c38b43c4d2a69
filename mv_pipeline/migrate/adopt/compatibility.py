"""Whether a database that others made can be taken over: incompatibilities, missing objects, and what is worth knowing.

Changes nothing. An incompatibility stops a migration before anything is touched; a remark doesn't.
"""

from dataclasses import dataclass, field

from psycopg import sql

from mv_pipeline.catalog.tables import KING, ROLLUPS, TABLES
from mv_pipeline.database.connection import Connection, scalar
from mv_pipeline.migrate import revise, tables
from mv_pipeline.migrate.indexes import Index
from mv_pipeline.migrate.tables import Shape, compare_table

_PEOPLES = {table.name for table in TABLES if table.maintained_by == "people"}
_RETURNS = {"ref.business_date()": "date", "ref.king_date(text)": "date"}
PLAN_TABLE = "mart.daily_target_plan"


@dataclass(frozen=True)
class CompatibilityReport:
    """How the tables of a database report.

    Args:
        adopted: tables that stand and aren't this project's yet.
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
    """Hold the tables that stand against those that are wanted.

    Args:
        connection: in a transaction that the caller rolls back.
    """
    first = revise.current(connection) is None
    shapes = [*(_base_shapes() if first else []), *tables.shapes()]
    partitions = [table.name for table in ROLLUPS.values()]
    missing = [name for name in partitions if scalar(connection, "SELECT to_regclass(%s) IS NULL", [name])]
    report = CompatibilityReport(created=missing)
    # A kind's table takes its ids from a sequence, which has to be there to compare the two.
    connection.execute("CREATE SCHEMA IF NOT EXISTS stg")
    standing = {
        shape.name for shape in shapes if not scalar(connection, "SELECT to_regclass(%s) IS NULL", [shape.name])
    }
    tables.create_sequences(connection)
    for shape in shapes:
        if shape.name not in standing:
            report.created.append(shape.name)
            continue
        found = compare_table(connection, shape)
        report.incompatibilities.extend(found.incompatibilities)
        report.missing.extend(found.missing)
        if first:
            report.adopted.append(shape.name)
    if first:
        report.incompatibilities.extend(_function_incompatibilities(connection))
        if not report.incompatibilities:
            report.remarks.extend(
                [*_function_remarks(connection), *_plan_remarks(connection, report), *_king_remarks(connection, report)]
            )
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


def _function_incompatibilities(connection: Connection) -> list[str]:
    rows = connection.execute(
        "SELECT f, format_type(p.prorettype, NULL), w FROM unnest(%s::text[], %s::text[]) AS wanted (f, w) "
        "JOIN pg_proc AS p ON p.oid = to_regprocedure(f) WHERE format_type(p.prorettype, NULL) <> w OR p.proretset",
        [list(_RETURNS), list(_RETURNS.values())],
    )
    return [f"{name} returns {found}; it has to return {wanted}. Rename it." for name, found, wanted in rows]


def _function_remarks(connection: Connection) -> list[str]:
    rows = connection.execute(
        "SELECT f FROM unnest(%s::text[]) AS f WHERE to_regprocedure(f) IS NOT NULL", [list(_RETURNS)]
    )
    return [f"{name} stands already; it gets the body that the views here were written for." for (name,) in rows]


def _plan_remarks(connection: Connection, report: CompatibilityReport) -> list[str]:
    if PLAN_TABLE not in report.adopted:
        return []
    days = connection.execute(
        "SELECT ddate::date::text FROM mart.daily_target_plan WHERE ddate IS NOT NULL "
        "GROUP BY ddate::date HAVING count(*) > 1 ORDER BY 1"
    ).fetchall()
    if not days:
        return []
    return [
        f"{PLAN_TABLE}: {len(days)} days have more than one plan, {days[0][0]} the first of them. "
        "The latest created_at counts; the others stay where they are."
    ]


def _king_remarks(connection: Connection, report: CompatibilityReport) -> list[str]:
    if KING.name not in report.adopted:
        return []
    # As ref.king_date reads it, which isn't there yet.
    count, example = connection.execute(
        # An empty one says least, so it is the last to be shown.
        r"SELECT count(*), coalesce(min(invoice_date) FILTER (WHERE invoice_date <> ''), '') "
        r"FROM stg.receive_king_final WHERE invoice_date IS NOT NULL AND NOT ("
        r"invoice_date ~ '^\d{4}([-/])\d{2}\1\d{2}$' AND pg_input_is_valid(replace(invoice_date, '/', '-'), 'date'))"
    ).fetchone() or (0, "")
    if not count:
        return []
    return [
        f"{KING.name}: the invoice_date of {count} lines is no date (“{example}”, for example). "
        "They count for no day; correct them if they should."
    ]
