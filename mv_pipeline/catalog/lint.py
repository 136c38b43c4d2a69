"""What is wrong with SQL files that can be read: what can't work, and what would show in the data, or never."""

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.merge_subqueries import merge_subqueries
from sqlglot.optimizer.qualify import qualify

from mv_pipeline.catalog.csv_kinds import KINDS, LISTS
from mv_pipeline.catalog.day import DayError
from mv_pipeline.catalog.realtime import CHANGED_AT
from mv_pipeline.catalog.relations import Catalog, Header, RelationKind, Rollup, made_relations
from mv_pipeline.catalog.sql_file import Rule, SqlFile, sql_reason
from mv_pipeline.catalog.tables import TRACKED

VIEW_SCHEMAS = ("kpi", "mart", "ref", "stg")
_NAME = re.compile(r"(mv|v|rollup)_[a-z0-9_]+")
# A name has 63 bytes in PostgreSQL; a key's index is named <name>_key, a rollup's table ends in _ and eight digits.
_LONGEST_NAME = 59
_LONGEST_ROLLUP_NAME = 54
# A schema as the parser's optimizer has it.
_LINES: dict[str, object] = {
    "stg": {kind.name: {column.name: column.type for column in kind.columns} for kind in KINDS}
}
_ACROSS_DAYS = (exp.Window, exp.Limit, exp.Offset, exp.Fetch, exp.Cube, exp.Rollup, exp.GroupingSets)
# The header's fields that have an effect, other than those that every relation has.
_EFFECTIVE: dict[RelationKind, set[str]] = {
    "view": set(),
    "rollup": {"key", "indexes", "day", "source_of"},
    "materialized view": {*Header.model_fields} - {"day", "source_of"},
}
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


def judge(
    files: Mapping[str, SqlFile], catalog: Catalog, known: Collection[str], pictures: Collection[str] | None
) -> None:
    """Add to the files what can't work, so that no catalogue is made of them.

    Args:
        files: by the relation's name.
        catalog: all relations; none if they read each other in a circle.
        known: what a view may read.
        pictures: the pictures that a header may name; None: any.
    """
    for file in files.values():
        for rule in (_name, _repeated_fields, _columns, _checks):
            rule(file)
        _references(file, known, pictures)
        _criticality(file, catalog)
        relation = catalog.relations.get(file.relation.name)
        if isinstance(relation, Rollup) and not file.violations:
            _rollup(file, relation, catalog)


def judge_style(files: Mapping[str, SqlFile], catalog: Catalog) -> None:
    """Add to the files what the catalogue takes, but would show in the data, or never."""
    for file in files.values():
        _without_effect(file)
        _query(file)
    _lines(files, catalog)


def name_violations(name: str) -> Iterator[tuple[str, str]]:
    """Say why a view can't have this name, and what to do."""
    schema, _, table = name.partition(".")
    if schema not in VIEW_SCHEMAS:
        yield f"“{schema}” is no schema that holds views.", f"Use one of {', '.join(VIEW_SCHEMAS)}."
    if not _NAME.fullmatch(table):
        fix = "Name it mv_…, v_… or rollup_…, in small letters, digits and underscores."
        yield f"“{table}” is no name of a view.", fix
    elif len(table) > (longest := _LONGEST_ROLLUP_NAME if table.startswith("rollup_") else _LONGEST_NAME):
        message = f"The name has {len(table)} letters, and PostgreSQL would cut what is made of it."
        yield message, f"Use at most {longest}."


def taken_name(name: str) -> Iterator[tuple[str, str]]:
    """Say that a view of this name is made from the CSV kinds, and what to do."""
    if name in {relation.name for relation in made_relations()}:
        yield f"{name} is made from the CSV kinds already.", "Choose another name."


def instead_of(name: str, known: Iterable[str]) -> str:
    """Say what to write instead of a relation that doesn't exist."""
    close = difflib.get_close_matches(name, sorted(known), n=1)
    if close:
        return f"Did you mean {close[0]}?"
    return "Add it first, as a file of its own or, for a table, to the catalogue."


def _name(file: SqlFile) -> None:
    name = file.relation.name
    for message, fix in (*name_violations(name), *taken_name(name)):
        file.add(None, Rule.FILE_NAME, message, fix)


def _repeated_fields(file: SqlFile) -> None:
    seen: set[str] = set()
    for name, line in file.field_lines:
        if name in seen:
            message = f"`{name}` is written twice, and only the last one counts."
            file.add(line, Rule.FIELD, message, "Keep one of them.")
        seen.add(name)


def _without_effect(file: SqlFile) -> None:
    header = file.relation.header
    kind = file.relation.kind
    for name, line in file.field_lines:
        if name in {*Header.model_fields} - {"description", "description_en", "owner"} - _EFFECTIVE[kind]:
            kinds = [other for other, fields in _EFFECTIVE.items() if name in fields]
            message = f"`{name}` has no effect on a {'plain view' if kind == 'view' else kind}."
            file.add(line, Rule.FIELD, message, f"Leave it out; it is for a {' or a '.join(kinds)}.")
    for position, columns in enumerate(header.indexes):
        if columns in (header.key, *header.indexes[:position]):
            what = "the key, which has an index" if columns == header.key else "another one"
            message = f"The index {_shown(columns)} is the same as {what}."
            file.add(file.line_of("indexes"), Rule.INDEX, message, "Leave it out.")


def _columns(file: SqlFile) -> None:
    """Columns that the header names but the SELECT doesn't have, and those that are named twice."""
    header = file.relation.header
    output = file.relation.output
    named = [(Rule.KEY, "key", "The key's column", header.key)]
    named += [(Rule.INDEX, "indexes", "The index's column", columns) for columns in header.indexes]
    named += [(Rule.FIELD, "day", "The day", (header.day,))] if header.day else []
    named += [(Rule.FIELD, "balance", "`balance`'s column", (header.balance.tons,))] if header.balance else []
    for rule, field, what, columns in named:
        if len(set(columns)) < len(columns):
            file.add(file.line_of(field), rule, f"{_shown(columns)} names a column twice.", "Name it once.")
        for column in dict.fromkeys(columns):
            if output and column not in output:
                message, fix = f"{what} “{column}” isn't in the SELECT.", f"Its columns are {', '.join(output)}."
                file.add(file.line_of(field), rule, message, fix)


def _shown(columns: tuple[str, ...]) -> str:
    return f"[{', '.join(columns)}]"


def _checks(file: SqlFile) -> None:
    balance = file.relation.header.balance
    lists = [csv_list.csv_type for csv_list in LISTS]
    for field, named in (("balance", balance), ("source_of", file.relation.header.source_of)):
        if named and named.csv_type not in lists:
            message = f"`{field}` names the list “{named.csv_type}”, which doesn't exist."
            file.add(file.line_of(field), Rule.UNKNOWN_RELATION, message, f"The lists are {', '.join(lists)}.")
    for name, check in file.relation.header.checks.items():
        try:
            sqlglot.parse_one(check.sql, dialect="postgres")
        except SqlglotError as error:
            message = f"The SQL of the check `{name}` can't be parsed: {sql_reason(error)}."
            file.add(file.line_of("checks"), Rule.QUERY, message, "Correct it; psql says more.")


def _references(file: SqlFile, known: Collection[str], pictures: Collection[str] | None) -> None:
    """What the file names and doesn't exist."""
    for table in file.relation.tables:
        name = f"{table.db}.{table.name}" if table.db else table.name
        if not table.db:
            alike = [known for known in sorted(known) if known.endswith(f".{name}")] or [f"mart.{name}"]
            fix = f"Write {' or '.join(alike)}."
            file.add(file.query_line(table), Rule.SCHEMA, f"“{name}” has no schema.", fix)
        elif name not in known:
            fix = instead_of(name, known)
            file.add(file.query_line(table), Rule.UNKNOWN_RELATION, f"There is no {name}.", fix)
    header = file.relation.header
    for field, named in (("equals", header.equals), ("anomaly", header.anomaly and header.anomaly.days)):
        if named and named not in known:
            message = f"`{field}` names {named}, which doesn't exist."
            file.add(file.line_of(field), Rule.UNKNOWN_RELATION, message, instead_of(named, known))
    if pictures is not None and header.picture not in (None, *pictures):
        message = f"There is no picture “{header.picture}”."
        fix = f"Write one of {', '.join(pictures)}, or leave it out."
        file.add(file.line_of("picture"), Rule.PICTURE, message, fix)


def _rollup(file: SqlFile, rollup: Rollup, catalog: Catalog) -> None:
    """What would let stored rows differ from those that are computed, as far as it can be seen in the SQL."""
    if not rollup.output:
        file.add(rollup.line, Rule.STAR, "A star hides the rollup's columns.", "Name the columns.")
    if CHANGED_AT in rollup.output:
        message = f"The SELECT has a column {CHANGED_AT}, which every rollup gets by itself."
        file.add(None, Rule.QUERY, message, "Give it another name.")
    if any(select.find(exp.Group) is None and not select.args.get("distinct") for select in _branches(rollup.tree)):
        fix = f"Write GROUP BY, with what “{rollup.day}” is and the rest of the key."
        file.add(rollup.line, Rule.QUERY, "The SELECT doesn't group.", fix)
    for grouped in _left_out(rollup, catalog) if rollup.output else ():
        message = f"The SELECT groups by {grouped}, which the key leaves out: two rows could have the same one."
        fix = "Put its column into the key, or don't group by it: take max(…) of it, say."
        file.add(file.line_of("key"), Rule.KEY, message, fix)
    for name in (rollup.name, *sorted(catalog.upstream(rollup.name))):
        relation = catalog.relations.get(name)
        if relation is None:
            continue
        through = "" if name == rollup.name else f", through {name}"
        if relation.materialized:
            message = f"A rollup reads {name}, which may be older than the lines."
            file.add(rollup.line, Rule.ROLLUP, message, "Read tables, views and other rollups.")
        if relation.reads_business_date:
            message = f"Stored rows would depend on when they were stored: ref.business_date() is read{through}."
            file.add(rollup.line, Rule.CLOCK, message, "Leave it to the view that reads the rollup.")
        distinct = [node for node in relation.tree.find_all(exp.Distinct) if node.args.get("on")]
        for node in (*distinct, *relation.tree.find_all(*_ACROSS_DAYS)):
            message = f"A row would depend on other days: {node.key.upper()} is used{through}."
            file.add(rollup.line, Rule.ROLLUP, message, "Leave it to the view that reads the rollup.")
    try:
        days = rollup.changed_days
    except DayError as error:
        message = f"“{rollup.day}” can't be followed to the day of a table whose changes are logged: {error}"
        file.add(file.line_of("day"), Rule.ROLLUP, message, "Take it from slip_date, or from another rollup's day.")
        return
    for table in sorted(days.keys() - TRACKED.keys()):
        file.add(rollup.line, Rule.ROLLUP, f"Changes of {table} aren't logged.", "Read the staging table instead.")


def _left_out(rollup: Rollup, catalog: Catalog) -> Iterator[str]:
    """What a rollup groups by though its key doesn't tell it, as SQL; what the text can't prove passes."""
    views = {name: one.tree for name, one in catalog.relations.items() if name in catalog.upstream(rollup.name)}
    expanded = exp.expand(rollup.tree.copy(), {**views}, dialect="postgres")
    try:
        # Views and subqueries that only pass lines on are read through.
        flat = merge_subqueries(qualify(expanded, "postgres", schema=_LINES, validate_qualify_columns=False))
    except SqlglotError:
        return
    places = [rollup.output.index(column) for column in rollup.key]
    for select in (branch for branch in _branches(flat) if isinstance(branch, exp.Select)):
        of_key = (select.selects[place].unalias() for place in places)
        told = {part for one in of_key for part in one.walk(prune=_gathers) if isinstance(part, exp.Condition)}
        # A condition may tie a column to one value, or to another column.
        told |= {part for one in select.find_all(exp.Where, exp.Having, exp.Join) for part in one.find_all(exp.Column)}
        for grouped in _grouping(select):
            rest = exp.paren(grouped.copy()).transform(lambda node, told=told: exp.null() if node in told else node)
            # Of a table of lines a day has many rows; what else a column is of may have one.
            if _lines_read(select) & {column.table for column in rest.find_all(exp.Column)}:
                yield grouped.sql(dialect="postgres").replace('"', "")


def _gathers(part: exp.Expr) -> bool:
    """True if several days become one."""
    return isinstance(part, exp.TimestampTrunc) and part.text("unit").upper() != "DAY"


def _grouping(select: exp.Select) -> list[exp.Expr]:
    """What tells one row from another, whatever the key is."""
    if select.args.get("distinct"):
        return [one.unalias() for one in select.selects if not one.find(exp.AggFunc)]
    group = select.args.get("group")
    parts = group.expressions if group else []
    return [part for one in parts for part in (one.expressions if isinstance(one, exp.Tuple) else [one.unnest()])]


def _lines_read(select: exp.Select) -> set[str]:
    """The names by which a SELECT calls tables of lines."""
    sources = [one.this for one in (select.args.get("from_"), *(select.args.get("joins") or ())) if one]
    return {one.alias for one in sources if isinstance(one, exp.Table) and TRACKED.get(f"{one.db}.{one.name}")}


def _branches(query: exp.Expr) -> Iterator[exp.Expr]:
    if isinstance(query, exp.SetOperation):
        yield from (*_branches(query.left), *_branches(query.right))
    else:
        yield query.unnest()


def _criticality(file: SqlFile, catalog: Catalog) -> None:
    """A critical view that reads an optional one."""
    if file.relation.header.criticality != "critical":
        return
    optional = {view.name for view in catalog.materialized_views if view.header.criticality == "optional"}
    for name in sorted(catalog.upstream(file.relation.name) & optional):
        inputs = sorted(file.relation.dependencies)
        first = next(other for other in inputs if name in (other, *catalog.upstream(other)))
        through = "" if first == name else f" through {first}"
        message = (
            f"A critical view reads {name}{through}, which is optional: when that can't be refreshed, "
            "this view isn't either, and no run fails."
        )
        fix = "Make both critical, or both optional."
        file.add(file.line_of("criticality"), Rule.CRITICALITY, message, fix)


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


def _lines(files: Mapping[str, SqlFile], catalog: Catalog) -> None:
    """A materialized view reads rollups; what a rollup or another materialized view reads doesn't count."""
    # The tables of lines that reading a relation reads live; of the tables only those hold lines.
    lines: dict[str, frozenset[str]] = {}
    for name, relation in catalog.relations.items():
        reads = {
            other: lines.get(other, frozenset({other} if other.startswith(("raw.", "stg.")) else ()))
            for other in sorted(relation.dependencies)
        }
        lines[name] = frozenset().union(*reads.values())
        if relation.materialized:
            _lines_of(files[name], {other: tables for other, tables in reads.items() if tables})
        if relation.kind != "view":
            lines[name] = frozenset()


def _lines_of(file: SqlFile, lines: dict[str, frozenset[str]]) -> None:
    """Judge one materialized view.

    Args:
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
            "Read a rollup_…, another mv_… or mart.v_<list>_source, which have few rows; if single lines are needed, "
            "say why in the header: `reads_lines: …`.",
        )
