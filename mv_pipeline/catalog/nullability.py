"""Whether a column of a SELECT can be NULL, as far as its text says.

An answer is a sentence that says where the NULL comes from, or none. Followed are joins, CTEs, subqueries, and the
views and materialized views that are read. Nothing is known of the columns of tables, but that those of staging lines
may be empty; what a function does inside is taken to be strict; ambiguous columns are passed over. So no answer is no
proof: that is what the check `key_unique` is for, which looks at the result. Nothing here opens a connection.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from sqlglot import exp
from sqlglot.optimizer.normalize_identifiers import normalize_identifiers
from sqlglot.optimizer.scope import Scope, build_scope

from mv_pipeline.catalog.csv_kinds import KINDS
from mv_pipeline.catalog.relations import Relation

_LINE_TABLES = {f"{layer}.{kind.name}" for layer in ("raw", "stg") for kind in KINDS}
_NEVER_NULL_LINES = {"id", "is_deleted", "created_at"}
_NOT_STRICT = (exp.Exists, exp.Is, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Concat, exp.ConcatWs, exp.Format)
_ANY_OF = (exp.Coalesce, exp.Greatest, exp.Least)
_LOOK_INSIDE = (exp.JSONExtract, exp.JSONExtractScalar, exp.JSONBExtract, exp.JSONBExtractScalar, exp.Bracket)
_SPREADS = (exp.StddevSamp, exp.Stddev, exp.Variance)
_NULL_FUNCTIONS = {"king_date", "array_length", "array_position", "regexp_match", "var_samp", "nth_value"}
_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Like, exp.ILike, exp.RegexpLike)
_ARITHMETIC = (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.DPipe, exp.Neg)
_STRICT = (*_ARITHMETIC, exp.Cast, exp.Paren, exp.Lower, exp.Upper, exp.Trim, exp.Extract)


def why_null(name: str, column: str, relations: Mapping[str, Relation]) -> str | None:
    """Say why a relation's column can be NULL; None if nothing says so.

    Args:
        name: the relation.
        column: one of its columns.
        relations: it and everything that it reads, by name; of what isn't there nothing is known.
    """
    return _Reader(relations).relation(name, column)


class _Reader:
    """Reads columns through scopes and relations; remembers what it is reading, for relations that go in a circle."""

    def __init__(self, relations: Mapping[str, Relation]) -> None:
        self._relations = relations
        self._reading: set[tuple[str, str]] = set()
        self._scope = cache(lambda name: build_scope(normalize_identifiers(relations[name].tree.copy(), "postgres")))

    def relation(self, name: str, column: str) -> str | None:
        scope = self._scope(name)
        if scope is None or (name, column) in self._reading:
            return None
        self._reading.add((name, column))
        reason = self._output(scope, column)
        self._reading.remove((name, column))
        return reason

    def _output(self, scope: Scope, column: str) -> str | None:
        """Why a column of what a scope gives can be NULL."""
        query = scope.expression
        if isinstance(query, exp.SetOperation):
            names = scope.outer_columns or query.named_selects
            position = names.index(column) if column in names else None
            branches = _branches(scope)
            return _first(self._at(branch, position, column) for branch in branches)
        names = scope.outer_columns or _names(query)
        return self._at(scope, names.index(column) if column in names else None, column)

    def _at(self, scope: Scope, position: int | None, column: str) -> str | None:
        query = scope.expression
        if isinstance(query, exp.SetOperation):
            return _first(self._at(branch, position, column) for branch in _branches(scope))
        if isinstance(query, exp.Values):
            if position is None:
                return None
            return _first(self._expression(scope, row.expressions[position]) for row in query.expressions)
        if isinstance(query, exp.Lateral) and isinstance(query.this, exp.Subquery):
            inner = next((child for child in scope.subquery_scopes), None)
            return self._output(inner, column) if inner else None
        if not isinstance(query, exp.Select):
            return None
        if position is not None and position < len(query.expressions) and not query.is_star:
            return self._projection(scope, query.expressions[position])
        for projection in query.expressions:
            if projection.alias_or_name == column and not projection.is_star:
                return self._projection(scope, projection)
        tables = [star.table for star in query.expressions if isinstance(star, exp.Column) and star.is_star]
        return self._expression(scope, exp.column(column, table=tables[0] if len(tables) == 1 else None))

    def _projection(self, scope: Scope, projection: exp.Expr) -> str | None:
        expression = projection.unalias()
        group = scope.expression.args.get("group")
        sets = group.find_all(exp.Rollup, exp.Cube, exp.GroupingSets) if group else ()
        if expression in {column for grouping in sets for column in grouping.find_all(exp.Column)}:
            return "ROLLUP, CUBE and GROUPING SETS put NULL where a row is a total"
        return self._expression(scope, expression)

    def _expression(self, scope: Scope, node: exp.Expr) -> str | None:
        if node.sql("postgres") in _kept(scope) or isinstance(node, _NOT_STRICT):
            return None
        if isinstance(node, exp.Column):
            return self._column(scope, node)
        if isinstance(node, _ANY_OF):
            reasons = [self._expression(scope, part) for part in (node.this, *node.expressions)]
            return reasons[0] if all(reasons) else None
        if isinstance(node, exp.Case):
            branches = [branch.args["true"] for branch in node.args["ifs"]]
            if not node.args.get("default"):
                return "a CASE without ELSE is NULL where no WHEN fits"
            return self._any(scope, [*branches, node.args["default"]])
        if isinstance(node, exp.Window):
            return self._window(scope, node)
        own = _own_reason(scope, node)
        return own or self._any(scope, _parts(node))

    def _any(self, scope: Scope, nodes: Iterable[exp.Expr]) -> str | None:
        return _first(self._expression(scope, node) for node in nodes)

    def _window(self, scope: Scope, window: exp.Window) -> str | None:
        """Of a window function: the row itself is always in it, unless a FILTER keeps it out."""
        function = window.this
        if isinstance(function, exp.Lag | exp.Lead):
            if not function.args.get("default"):
                return f"{function.sql_name().lower()}() is NULL at the edge"
            return self._any(scope, [function.this, function.args["default"]])
        if isinstance(function, exp.AggFunc) and not isinstance(function, exp.Count):
            return self._any(scope, _parts(function))
        return None if isinstance(function, exp.Count) else self._expression(scope, function)

    def _column(self, scope: Scope, column: exp.Column) -> str | None:
        selected = _selected(scope)
        names = [column.table] if column.table else self._candidates(scope, selected, column.name)
        kept = _kept(scope)
        if any(f"{name}.{column.name}" in kept for name in names) or (len(selected) == 1 and column.name in kept):
            return None
        reasons = [self._from_source(scope, name, column.name) for name in names]
        if len(names) != 1:
            # A column that several sources share is one that USING has merged, or one that can't be told.
            return reasons[0] if reasons and all(reasons) else None
        side = _outer_sides(scope, kept).get(names[0])
        if side:
            return f"“{names[0]}” is on the outer side of a {side} JOIN, where no row may match"
        return reasons[0]

    def _candidates(self, scope: Scope, selected: list[str], column: str) -> list[str]:
        """The sources that an unqualified column can come from: those known to have it, else those unknown."""
        known = {name: self._columns(scope.sources.get(name)) for name in selected}
        having = [name for name, columns in known.items() if columns and column in columns]
        return having or [name for name, columns in known.items() if columns is None]

    def _columns(self, source: exp.Expr | Scope | None) -> list[str] | None:
        """The columns of a source; None if nothing tells."""
        if isinstance(source, exp.Table) and _full_name(source) in self._relations:
            source = self._scope(_full_name(source))
        if not isinstance(source, Scope):
            return None
        names = source.outer_columns or _names(source.expression)
        return None if not names or "*" in names else names

    def _from_source(self, scope: Scope, name: str, column: str) -> str | None:
        source = scope.sources.get(name)
        if isinstance(source, Scope):
            return self._output(source, column)
        if not isinstance(source, exp.Table):
            return None
        relation = _full_name(source)
        if relation in self._relations:
            found = self._relations[relation]
            if found.materialized and column in found.header.key:
                return None
            reason = self.relation(relation, column)
            return f"in {relation}, {reason}" if reason else None
        if relation in _LINE_TABLES and column not in _NEVER_NULL_LINES:
            return f"a line of {relation} may have no {column}"
        return None


def _own_reason(scope: Scope, node: exp.Expr) -> str | None:
    """Why a node is NULL sometimes, whatever its parts are."""
    if isinstance(node, exp.Null):
        return "it is NULL by itself"
    if isinstance(node, exp.Nullif):
        return "nullif() is NULL where both are equal"
    if isinstance(node, exp.Subquery):
        return None if _always_one_row(node.this) else "a subquery is NULL where it finds no row"
    if isinstance(node, _LOOK_INSIDE):
        return f"{node.sql('postgres')} is NULL where there is no such part"
    if isinstance(node, exp.Filter) and not isinstance(node.this, exp.Count):
        return f"{node.this.sql('postgres')} with FILTER is NULL where no row counts"
    name = node.name.lower() if isinstance(node, exp.Anonymous) else ""
    if isinstance(node, _SPREADS) or name in _NULL_FUNCTIONS:
        return f"{node.sql('postgres')} is NULL for some rows"
    aggregates = isinstance(node, exp.AggFunc) and not isinstance(node, exp.Count)
    if aggregates and isinstance(scope.expression, exp.Select) and not scope.expression.args.get("group"):
        return f"{node.sql('postgres')} without GROUP BY is NULL where there is no row"
    return None


def _branches(scope: Scope) -> list[Scope]:
    """The scopes whose rows a set operation can give; EXCEPT gives those of the first alone."""
    branches = scope.set_operation_scopes
    return branches[:1] if isinstance(scope.expression, exp.Except) else branches


def _always_one_row(query: exp.Expr) -> bool:
    return (
        isinstance(query, exp.Select)
        and not query.args.get("group")
        and isinstance(query.expressions[0].unalias(), exp.Count)
    )


def _parts(node: exp.Expr) -> list[exp.Expr]:
    """A node's own parts; a count is never NULL, and what a subquery holds is its own affair."""
    return [] if isinstance(node, exp.Count | exp.Query | exp.Subquery) else list(node.iter_expressions())


def _first(reasons: Iterable[str | None]) -> str | None:
    return next(filter(None, reasons), None)


def _full_name(table: exp.Table) -> str:
    return f"{table.db}.{table.name}"


def _names(query: exp.Expr) -> list[str]:
    return query.named_selects if isinstance(query, exp.Query) else []


def _joins(scope: Scope) -> list[exp.Join]:
    return scope.expression.args.get("joins") or []


def _source_names(node: exp.Expr) -> list[str]:
    """The names under which FROM or a JOIN brings its sources; brackets around joins bring several."""
    if node.alias_or_name:
        return [node.alias_or_name]
    return [table.alias_or_name for table in node.find_all(exp.Table)]


def _selected(scope: Scope) -> list[str]:
    origin = scope.expression.args.get("from_")
    nodes = [*([origin.this] if origin else []), *(join.this for join in _joins(scope))]
    return [name for node in nodes for name in _source_names(node)]


def _outer_sides(scope: Scope, kept: set[str]) -> dict[str, str]:
    """The sources whose columns an outer join fills with NULL, with the kind of join.

    A source of which a column is known not to be NULL has a row wherever there is one.
    """
    origin = scope.expression.args.get("from_")
    seen = _source_names(origin.this) if origin else []
    sides: dict[str, str] = {}
    for join in _joins(scope):
        names = _source_names(join.this)
        if join.side in ("RIGHT", "FULL"):
            sides |= dict.fromkeys(seen, join.side)
        if join.side in ("LEFT", "FULL"):
            sides |= dict.fromkeys(names, join.side)
        seen += names
    return {name: side for name, side in sides.items() if not any(key.startswith(f"{name}.") for key in kept)}


def _kept(scope: Scope) -> set[str]:
    """The expressions that aren't NULL in any row that WHERE, HAVING and inner joins let through, as SQL."""
    query = scope.expression
    conditions = [query.args[clause].this for clause in ("where", "having") if query.args.get(clause)]
    # A RIGHT or FULL JOIN brings rows to which the other joins' conditions don't apply.
    refilled = any(join.side in ("RIGHT", "FULL") for join in _joins(scope))
    inner = [] if refilled else [join for join in _joins(scope) if not join.side]
    conditions += [join.args["on"] for join in inner if join.args.get("on")]
    merged = {column.name for join in inner for column in join.args.get("using") or ()}
    return merged | {
        node.sql("postgres") for condition in conditions for part in _conjuncts(condition) for node in _not_null(part)
    }


def _conjuncts(condition: exp.Expr) -> Iterator[exp.Expr]:
    condition = condition.unnest()
    if isinstance(condition, exp.And):
        yield from _conjuncts(condition.left)
        yield from _conjuncts(condition.right)
    else:
        yield condition


def _not_null(condition: exp.Expr) -> Iterator[exp.Expr]:
    """What a row can't have NULL if it fulfils a condition."""
    negated = isinstance(condition, exp.Not)
    inner = condition.this.unnest() if negated else condition
    if isinstance(inner, exp.Is):
        if isinstance(inner.expression, exp.Null) and negated != bool(inner.args.get("negate")):
            yield inner.this
            yield from _strict_columns(inner.this)
    elif isinstance(inner, _COMPARISONS):
        yield from (column for side in (inner.left, inner.right) for column in _strict_columns(side))
    elif isinstance(inner, exp.Between | exp.In | exp.Column):
        yield from _strict_columns(inner if isinstance(inner, exp.Column) else inner.this)


def _strict_columns(node: exp.Expr) -> Iterator[exp.Expr]:
    """The columns that make an expression NULL."""
    if isinstance(node, exp.Column):
        yield node
    elif isinstance(node, _STRICT):
        for part in node.iter_expressions():
            yield from _strict_columns(part)
