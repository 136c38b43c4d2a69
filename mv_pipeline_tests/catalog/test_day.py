"""Which days of a query a change in one of its tables concerns."""

import pytest
import sqlglot

from mv_pipeline.catalog.day import DayError, changed_days

TRACKED = {"t.a": "slip_date", "t.b": "d", "t.king": "f.king_date(text)", "t.settings": ""}


VIEWS = {
    "v.active": "SELECT id, slip_date, x FROM t.a WHERE NOT is_deleted",
    "v.sales": "SELECT slip_date AS sales_date, x FROM v.active WHERE x IN (1, 3)",
    "v.king": "SELECT f.king_date(text) AS day_of_king, x FROM t.king",
    "v.both": "SELECT slip_date AS d, x FROM v.active UNION ALL SELECT day_of_king, x FROM v.king",
    "v.days": "SELECT sales_date, x, count(*) AS n FROM v.sales GROUP BY sales_date, x",
}


def days_of(query):
    views = {name: sqlglot.parse_one(text, dialect="postgres") for name, text in VIEWS.items()}
    return changed_days(sqlglot.parse_one(query, dialect="postgres"), "out", views, TRACKED)


@pytest.mark.parametrize(
    ("query", "days"),
    [
        ("SELECT slip_date AS out FROM t.a", {"t.a": "day"}),
        ("SELECT sales_date AS out, x FROM v.days", {"t.a": "day"}),
        ("SELECT date_trunc('month', s.sales_date) AS out FROM v.days AS s", {"t.a": "DATE_TRUNC('MONTH', day)"}),
        ("SELECT (sales_date + 1) * 2 AS out FROM v.sales", {"t.a": "(day + 1) * 2"}),
        ("SELECT f.king_date(text) AS out FROM t.king", {"t.king": "day"}),
        ("SELECT d + 1 AS out FROM v.both", {"t.a": "day + 1", "t.king": "(day) + 1"}),
        ("SELECT slip_date AS out FROM t.a UNION ALL SELECT d FROM t.b", {"t.a": "day", "t.b": "day"}),
        ("SELECT out FROM (SELECT slip_date - 7 AS out FROM t.a) AS earlier", {"t.a": "(day - 7)"}),
        ("WITH weeks AS (SELECT slip_date AS out FROM t.a) SELECT weeks.out FROM weeks", {"t.a": "day"}),
        ("SELECT slip_date AS out FROM t.a EXCEPT SELECT d FROM t.b", {"t.a": "day", "t.b": "day"}),
        # What is joined, asked for or read once more can bring any of its days into any row.
        ("SELECT a.slip_date AS out FROM t.a AS a JOIN t.settings AS s ON true", {"t.a": "day", "t.settings": None}),
        ("SELECT a.slip_date AS out FROM t.a AS a JOIN t.b AS b ON b.d = a.slip_date", {"t.a": "day", "t.b": None}),
        ("SELECT a.slip_date AS out, (SELECT count(*) FROM t.b) FROM t.a AS a", {"t.a": "day", "t.b": None}),
        ("SELECT a.slip_date AS out FROM t.a AS a WHERE EXISTS (SELECT 1 FROM v.sales)", {"t.a": None}),
        ("WITH l AS (SELECT slip_date FROM t.a) SELECT l.slip_date AS out FROM l JOIN l AS m ON true", {"t.a": None}),
        ("SELECT slip_date AS out FROM t.a UNION ALL SELECT slip_date + 1 FROM t.a", {"t.a": None}),
    ],
)  # fmt: skip
def test_a_day_is_followed_to_the_change_log(query, days):
    assert days_of(query) == days


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELECT max(slip_date) AS out FROM t.a", "isn't made of one row's day"),
        ("SELECT lag(slip_date) OVER () AS out FROM t.a", "isn't made of one row's day"),
        ("SELECT current_date AS out FROM t.a", "isn't made of one row's day"),
        ("SELECT created_at::date AS out FROM t.a", "isn't made of slip_date"),
        ("SELECT text::date AS out FROM t.king", "isn't made of f.king_date"),
        ("SELECT coalesce(a.slip_date, b.d) AS out FROM t.a AS a JOIN t.b AS b ON true", "isn't made of one row's day"),
        ("SELECT slip_date AS out FROM t.a JOIN t.b ON true", "say of which relation “slip_date” is a column"),
        ("SELECT ddate AS out FROM t.settings", "no day of the rows"),
        ("SELECT slip_date AS other FROM t.a", "can't be followed"),
        ("SELECT d AS out FROM t.unknown", "no day of the rows of t.unknown"),
    ],
)
def test_a_day_that_cant_be_followed_is_said(query, reason):
    with pytest.raises(DayError, match=reason):
        days_of(query)
