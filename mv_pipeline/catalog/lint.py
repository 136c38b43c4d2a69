"""What else is wrong with SQL files: the catalogue takes it, but it would show in the data, or never."""

from collections.abc import Collection
from pathlib import Path

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from mv_pipeline.catalog.relations import Header
from mv_pipeline.catalog.sql_file import VIEW_SCHEMAS, Rule, SqlFile, SqlFolder, Violation, name_violations, sql_reason
from mv_pipeline.catalog.tables import ROLLUPS

_CLOCKS = {
    *("now", "clock_timestamp", "statement_timestamp", "transaction_timestamp", "timeofday", "getdate"),
    *("current_timestamp", "current_date", "current_time", "localtimestamp", "localtime"),
}
_CLOCK_WORDS = {"now", "today", "tomorrow", "yesterday"}
_VOLATILE = {
    *("random", "rand", "random_normal", "setseed", "gen_random_uuid", "uuid", "uuidv4", "uuidv7", "uuid_generate_v1"),
    *("uuid_generate_v4", "gen_random_bytes", "nextval", "currval", "lastval", "setval", "txid_current"),
    *("pg_current_xact_id", "pg_backend_pid", "pg_sleep", "current_user", "session_user", "user"),
}


def lint(sql_dir: Path, pictures: Collection[str] | None = None) -> list[Violation]:
    """Find every violation in every SQL file below the folder and in the file of dashboards, by file and line.

    Args:
        sql_dir: the folder with one folder for each schema.
        pictures: the pictures that a header may name; None: any.

    Raises:
        CatalogError: the folder has no SQL file.
    """
    folder = SqlFolder(sql_dir, pictures)
    for file in folder.files.values():
        for judge in (_name, _fields, _columns, _checks, _query):
            judge(file)
    _lines(folder)
    message = "The file is in no schema's folder, so nothing reads it."
    fix = f"Move it to one of {', '.join(f'{schema}/' for schema in VIEW_SCHEMAS)} below {sql_dir}."
    for path in sql_dir.rglob("*.sql"):
        if path.parent.parent != sql_dir:
            folder.others.append(Violation(path, None, Rule.FILE_NAME, message, fix))
    return folder.violations


def _name(file: SqlFile) -> None:
    for message, fix in name_violations(file.relation.name):
        file.add(None, Rule.FILE_NAME, message, fix)


def _fields(file: SqlFile) -> None:
    seen: set[str] = set()
    for name, line in file.field_lines:
        if name in seen:
            message = f"`{name}` is written twice, and only the last one counts."
            file.add(line, Rule.FIELD, message, "Keep one of them.")
        seen.add(name)
    for name in seen & Header.model_fields.keys() - {"description", "description_en", "owner"}:
        if not file.relation.materialized:
            message = f"`{name}` has no effect on a plain view."
            fix = "Leave it out, or name the file mv_… to make it a materialized view."
            file.add(file.line_of(name), Rule.FIELD, message, fix)


def _columns(file: SqlFile) -> None:
    """Columns that the header names but the SELECT doesn't have, and those that are named twice."""
    header, output = file.relation.header, file.relation.output
    named = [(Rule.KEY, "key", "The key's column", header.key)]
    named += [(Rule.INDEX, "indexes", "The index's column", columns) for columns in header.indexes]
    named += [(Rule.FIELD, "balance", "`balance`'s column", (header.balance.tons,))] if header.balance else []
    for rule, field, what, columns in named:
        if len(set(columns)) < len(columns):
            file.add(file.line_of(field), rule, f"{_shown(columns)} names a column twice.", "Name it once.")
        for column in dict.fromkeys(columns):
            if output and column not in output:
                message, fix = f"{what} “{column}” isn't in the SELECT.", f"Its columns are {', '.join(output)}."
                file.add(file.line_of(field), rule, message, fix)
    for position, columns in enumerate(header.indexes):
        if columns in (header.key, *header.indexes[:position]):
            what = "the key, which has an index" if columns == header.key else "another one"
            message = f"The index {_shown(columns)} is the same as {what}."
            file.add(file.line_of("indexes"), Rule.INDEX, message, "Leave it out.")


def _shown(columns: tuple[str, ...]) -> str:
    return f"[{', '.join(columns)}]"


def _checks(file: SqlFile) -> None:
    balance = file.relation.header.balance
    if balance and balance.csv_type not in ROLLUPS:
        message = f"`balance` names the list “{balance.csv_type}”, which doesn't exist."
        fix = f"The lists are {', '.join(ROLLUPS)}."
        file.add(file.line_of("balance"), Rule.UNKNOWN_RELATION, message, fix)
    for name, check in file.relation.header.checks.items():
        try:
            sqlglot.parse_one(check.sql, dialect="postgres")
        except SqlglotError as error:
            message = f"The SQL of the check `{name}` can't be parsed: {sql_reason(error)}."
            file.add(file.line_of("checks"), Rule.QUERY, message, "Correct it; psql says more.")


def _query(file: SqlFile) -> None:
    for select in file.relation.tree.find_all(exp.Select):
        # A star over the file's own CTEs is harmless: their columns are written in the same file.
        sources = [source.this for source in (select.args.get("from_"), *(select.args.get("joins") or [])) if source]
        if any(column.is_star for column in select.expressions) and (
            select is file.relation.tree
            or any(source in file.relation.tables for source in sources if isinstance(source, exp.Table))
        ):
            message = "SELECT * passes on whatever columns its source will have one day."
            file.add(file.query_line(select), Rule.STAR, message, "Name the columns.")
    for node in file.relation.tree.walk():
        _functions(file, node)


def _functions(file: SqlFile, node: exp.Expr) -> None:
    """What gives another value at another time."""
    name = node.name.lower() if isinstance(node, exp.Anonymous) else ""
    name = node.sql_name().lower() if isinstance(node, exp.Func) and not name else name
    # The parser knows some functions by another name than the file does.
    meta = node.meta
    written = file.relation.query[meta["start"] : meta["end"] + 1].lower() if "start" in meta else node.name
    word = node.this.name.strip().lower() if isinstance(node, exp.Cast) and node.this.is_string else ""
    if name in _CLOCKS or (name == "age" and not node.args.get("expression") and len(node.expressions) < 2):
        message = f"{written or name} is another clock than the pipeline's: no test, replay or repair could set it."
        fix = "Write ref.business_date() for today; for when a row last changed, take the changed_at of its source."
        file.add(file.query_line(node), Rule.CLOCK, message, fix)
    elif word in _CLOCK_WORDS and node.args["to"].this in exp.DataType.TEMPORAL_TYPES:
        message = f"'{word}' is evaluated once, when the view is made, and never again."
        fix = "Write ref.business_date(), with + 1 or - 1 for the day after or before."
        file.add(file.query_line(node), Rule.CLOCK, message, fix)
    elif name in _VOLATILE or isinstance(node, exp.TableSample):
        message = f"{written or 'TABLESAMPLE'} gives another value each time: a refresh rewrites every row."
        fix = "Leave it out: a row has to follow from the rows that it is made of."
        file.add(file.query_line(node), Rule.VOLATILE, message, fix)


def _lines(folder: SqlFolder) -> None:
    """A materialized view reads the rollup; what a rollup or another materialized view reads doesn't count."""
    # The tables of lines that reading a relation reads live; of the tables only those hold lines.
    lines: dict[str, frozenset[str]] = {}
    for name, relation in folder.catalog.relations.items():
        reads = {
            other: lines.get(other, frozenset({other} if other.startswith(("raw.", "stg.")) else ()))
            for other in sorted(relation.dependencies)
        }
        lines[name] = frozenset().union(*reads.values())
        if relation.materialized:
            _lines_of(folder.files[name], {other: tables for other, tables in reads.items() if tables})
            lines[name] = frozenset()


def _lines_of(file: SqlFile, lines: dict[str, frozenset[str]]) -> None:
    """Judge one materialized view.

    Args:
        file: the view.
        lines: the tables of lines that it reads live, by what it reads itself.
    """
    said = file.relation.header.reads_lines
    if said and not lines:
        file.add(
            file.line_of("reads_lines"), Rule.LINES, "`reads_lines` is written, but no lines are read.", "Leave it out."
        )
    for name, tables in lines.items() if not said else ():
        through = "" if tables == {name} else f", through {name}"
        table = next(table for table in file.relation.tables if f"{table.db}.{table.name}" == name)
        file.add(
            file.query_line(table),
            Rule.LINES,
            f"Each refresh reads every line of {', '.join(sorted(tables))}{through}, and takes longer every year.",
            "Read another mv_… or mart.v_<list>_source, which have a row per day; if single lines are needed, "
            "say why in the header: `reads_lines: …`.",
        )
