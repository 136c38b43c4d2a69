"""The SQL of a rollup: a stored table, and the view over it that computes changed days live.

Readers see the view alone. It gives the stored rows of all days but those that the change log names and the stored
table hasn't seen yet; these are computed from the lines while it is read. So a read is right in the very transaction
that changes a line, and bringing the stored table up to date only makes it cheap again (`refresh.rollup`).
"""

from collections.abc import Mapping, Sequence

from mv_pipeline.catalog.day import DAY

# When a row last changed; every rollup has it as its last column.
CHANGED_AT = "changed_at"


def quoted(names: Sequence[str], prefix: str = "") -> str:
    """Columns as SQL has them, each behind a prefix."""
    return ", ".join(f'{prefix}"{name}"' for name in names)


def news_query(stored: str, inputs: Mapping[str, str | None]) -> str:
    """The query for what a stored table hasn't seen: `day` and `noted_at`; a day that is NULL is every day.

    Args:
        inputs: as `changed_days` gives them.
    """
    # Days that are owed to this rollup alone come without a relation.
    mapped = "".join(f" WHEN '{table}' THEN {expression}" for table, expression in inputs.items() if expression)
    days = f"CASE relation WHEN '' THEN {DAY}{mapped} END"
    return f"SELECT {days} AS {DAY}, noted_at FROM log.v_rollup_news WHERE stored = '{stored}'"


def realtime_query(query: str, columns: Sequence[str], key: Sequence[str], day: str, stored: str, news: str) -> str:
    """The SELECT of the view that readers see.

    Args:
        query: the rollup's own SELECT.
        key: those that identify a row; none of them is ever NULL.
        news: as `news_query` makes it.
    """
    same_key = " AND ".join(f'stored."{name}" = live."{name}"' for name in key)
    unchanged = f"ROW({quoted(columns, 'stored.')}) IS NOT DISTINCT FROM ROW({quoted(columns, 'live.')})"
    live = f"""\
SELECT {quoted(columns, "live.")}, CASE WHEN {unchanged} THEN stored.{CHANGED_AT} ELSE noted.noted_at END
FROM ({query}
) AS live"""
    # A subquery alone in WHERE is a one-time filter: a branch that isn't due isn't run. With a NULL among them,
    # `<> ALL` is never true: then no stored row counts.
    return f"""\
WITH news AS MATERIALIZED ({news})
SELECT {quoted(columns)}, {CHANGED_AT} FROM {stored} WHERE "{day}" <> ALL (ARRAY(SELECT {DAY} FROM news))
UNION ALL
{live}
LEFT JOIN (SELECT * FROM {stored} WHERE "{day}" = ANY (ARRAY(SELECT {DAY} FROM news))) AS stored ON {same_key}
LEFT JOIN (SELECT {DAY}, max(noted_at) AS noted_at FROM news GROUP BY {DAY}) AS noted ON noted.{DAY} = live."{day}"
WHERE (SELECT bool_and({DAY} IS NOT NULL) FROM news) AND live."{day}" = ANY (ARRAY(SELECT {DAY} FROM news))
UNION ALL
{live}
LEFT JOIN {stored} AS stored ON {same_key}
CROSS JOIN (SELECT max(noted_at) AS noted_at FROM news) AS noted
WHERE (SELECT bool_or({DAY} IS NULL) FROM news) AND live."{day}" IS NOT NULL"""
