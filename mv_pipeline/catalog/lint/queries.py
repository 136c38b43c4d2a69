"""Faults that a file's SELECT has by itself."""

from collections.abc import Iterator

from sqlglot import exp
from sqlglot.errors import ParseError

from mv_pipeline.catalog.lint.files import SqlFile
from mv_pipeline.catalog.lint.findings import Finding, Rule, sql_reason

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


def query_faults(file: SqlFile) -> Iterator[Finding]:
    """Find what is wrong with the SELECT by itself: unreadable, a star, a clock, a volatile function."""
    parsed = file.parsed
    if isinstance(parsed, ParseError):
        details = parsed.errors[0] if parsed.errors else {}
        wrong = f"The SQL can't be read: {sql_reason(parsed)}"
        line = file.parser_line(details.get("line"))
        yield file.finding(line, Rule.QUERY, f"{wrong.rstrip('.')}.", "Mend it; psql says more.")
    elif parsed is None:
        yield file.finding(
            file.parser_line(1),
            Rule.QUERY,
            "This isn't one SELECT.",
            "Write a single SELECT (or WITH … SELECT); the pipeline makes CREATE and REFRESH itself.",
        )
    else:
        yield from _star_faults(file, parsed)
        for node in parsed.walk():
            yield from _function_faults(file, node)


def _star_faults(file: SqlFile, tree: exp.Query) -> Iterator[Finding]:
    """A star over the file's own CTEs is harmless: their columns are written out beside it."""
    for select in tree.find_all(exp.Select):
        stars = [column for column in select.expressions if column.is_star]
        sources = [select.args.get("from_"), *(select.args.get("joins") or [])]
        reads = [source.this for source in sources if source]
        others = any(isinstance(source, exp.Table) and source in file.tables for source in reads)
        if stars and (others or select is tree):
            yield file.finding(
                file.query_line(select),
                Rule.STAR,
                "SELECT * hands on whatever columns its source will have one day.",
                "Name the columns.",
            )


def _function_faults(file: SqlFile, node: exp.Expr) -> Iterator[Finding]:
    name = _function_name(node)
    word = node.this.name.strip().lower() if isinstance(node, exp.Cast) and node.this.is_string else ""
    if name in _CLOCKS or (name == "age" and not node.args.get("expression") and len(node.expressions) < 2):
        called = file.written(node) or name
        yield file.finding(
            file.query_line(node),
            Rule.CLOCK,
            f"{called} is a clock of its own: no test, replay or repair could set it.",
            "Write ref.business_date() for today; for when a row last changed, take the changed_at of its source.",
        )
    elif word in _CLOCK_WORDS and node.args["to"].this in exp.DataType.TEMPORAL_TYPES:
        yield file.finding(
            file.query_line(node),
            Rule.CLOCK,
            f"'{word}' is read once, when the view is made, and stays that day for ever.",
            "Write ref.business_date(), with + 1 or - 1 for the day after or before.",
        )
    elif name in _VOLATILE or isinstance(node, exp.TableSample):
        yield file.finding(
            file.query_line(node),
            Rule.VOLATILE,
            f"{file.written(node) or 'TABLESAMPLE'} gives another value each time: a refresh rewrites every row.",
            "Leave it out: a row has to follow from the rows that it is made of.",
        )


def _function_name(node: exp.Expr) -> str:
    if isinstance(node, exp.Anonymous):
        return node.name.lower()
    return node.sql_name().lower() if isinstance(node, exp.Func) else ""
