"""Where a rollup's day comes from: which days of it a change in one of the tables below concerns.

The change log names a day of a table's rows. It is followed here through views, subqueries and CTEs up to the rollup's
day column. Whether a rollup may be written as it is, is judged in `lint`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError
from sqlglot.lineage import Node, lineage

# The column of the change log, in the expressions that are made here.
DAY = "day"


class DayError(ValueError):
    """A day can't be followed to the change log; a sentence."""


def changed_days(
    query: exp.Query, day: str, views: Mapping[str, exp.Query], tracked: Mapping[str, str]
) -> dict[str, str | None]:
    """Say for each table that a query reads which of the query's days a change on `day` of it concerns.

    Args:
        day: its output column that is the day.
        views: what it reads that has a SELECT itself, by name.
        tracked: for each table whose changes are logged the SQL expression of a row's day; empty: none.

    Returns:
        By table an SQL expression over the column `day` of the change log; None: a change concerns every day.

    Raises:
        DayError: the day doesn't come from the day of a tracked table.
    """
    expanded = exp.expand(query.copy(), {**views}, dialect="postgres")
    try:
        root = lineage(day, _without_conditions(expanded), schema={}, dialect="postgres")
    except SqlglotError as error:
        raise DayError(
            f"the SELECT can't be followed: {error}. Name every column; write SELECT 1 in an EXISTS."
        ) from error
    found: dict[str, list[str]] = {}
    for table, expression in _origins(root):
        found.setdefault(table, []).append(_over_day(table, expression, tracked))
    # Read once more than the day is taken from it, a table can bring any of its days into any row.
    return {
        table: found[table][0] if len(found.get(table, ())) == read and len({*found[table]}) == 1 else None
        for table, read in sorted(_reads(expanded).items())
    }


def _without_conditions(query: exp.Expr) -> exp.Expr:
    """A query without WHERE, from which no column comes; in a subquery there no parser tells whose a column is."""
    bare = query.copy()
    for condition in list(bare.find_all(exp.Where)):
        condition.pop()
    return bare


def _reads(query: exp.Expr) -> Counter[str]:
    """How often a query reads each table; what a CTE reads counts as often as the CTE is read."""
    tables = list(query.find_all(exp.Table))
    used = Counter(table.name for table in tables if not table.db)
    found: Counter[str] = Counter()
    for table in tables:
        times = 1 if table.db else 0
        above = table.find_ancestor(exp.CTE)
        while above:
            times *= used[above.alias]
            above = above.find_ancestor(exp.CTE)
        found[f"{table.db}.{table.name}"] += times
    return +found


def _origins(node: Node) -> Iterator[tuple[str, exp.Expr]]:
    """The tables that a column comes from, with the column as an expression over the table's columns."""
    if isinstance(node.source, exp.Table):
        yield f"{node.source.db}.{node.source.name}", exp.column(node.name.split(".")[-1])
    elif isinstance(node.source, exp.SetOperation):
        for branch in node.downstream:
            yield from _origins(branch)
    else:
        expression = node.expression.unalias()
        shown = expression.sql(dialect="postgres")
        columns = {column.sql() for column in expression.find_all(exp.Column)}
        if len(columns) != 1 or expression.find(exp.AggFunc, exp.Window, exp.Query):
            raise DayError(f"“{shown}” isn't made of one row's day.")
        if any(isinstance(below.source, exp.Placeholder) for below in node.downstream):
            raise DayError(f"say of which relation “{shown}” is a column, as in x.{shown}.")
        for below in node.downstream:
            for table, column in _origins(below):
                yield table, _replace(expression, column)


def _replace(expression: exp.Expr, column: exp.Expr) -> exp.Expr:
    """An expression with another one in the place of its column."""
    new = exp.paren(column) if isinstance(column, exp.Binary) else column
    return expression.transform(lambda node: new.copy() if isinstance(node, exp.Column) else node)


def _over_day(table: str, expression: exp.Expr, tracked: Mapping[str, str]) -> str:
    """An expression over a tracked table's columns as one over the change log's day."""
    if not tracked.get(table):
        raise DayError(f"no day of the rows of {table} is logged.")
    day, log = parse_one(tracked[table], dialect="postgres"), exp.column(DAY)
    found = expression.transform(lambda node: log.copy() if node == day else node)
    if any(column != log for column in found.find_all(exp.Column)):
        raise DayError(f"“{expression.sql(dialect='postgres')}” isn't made of {tracked[table]}, the day.")
    return found.sql(dialect="postgres")
