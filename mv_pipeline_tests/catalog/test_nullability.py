"""Whether a column can be NULL: what a SELECT says, and what PostgreSQL then does."""

import pytest

from mv_pipeline.catalog.nullability import why_null
from mv_pipeline.catalog.relations import Header, Relation, made_relations

HEADER = Header(description="試験", description_en="A test.", owner="team:x", key=("k",))
# Two tables of one column: one row matches, one on each side doesn't.
A, B = "(VALUES (1), (2)) AS a (x)", "(VALUES (2), (3)) AS b (x)"


def reason(query, **others):
    relations = {relation.name: relation for relation in made_relations()}
    relations |= {f"mart.{name}": Relation(f"mart.{name}", HEADER, text) for name, text in others.items()}
    relations["mart.mv_x"] = Relation("mart.mv_x", HEADER.model_copy(update={"key": ()}), query)
    return why_null("mart.mv_x", "k", relations)


NULLS = [
    ("SELECT NULL::integer AS k", "NULL by itself"),
    (f"SELECT b.x AS k FROM {A} LEFT JOIN {B} ON b.x = a.x", "“b” is on the outer side of a LEFT JOIN"),
    (f"SELECT a.x AS k FROM {A} RIGHT JOIN {B} ON b.x = a.x", "“a” is on the outer side of a RIGHT JOIN"),
    (f"SELECT a.x AS k FROM {A} FULL JOIN {B} ON b.x = a.x", "“a” is on the outer side of a FULL JOIN"),
    (f"SELECT b.x + 1 AS k FROM {A} FULL JOIN {B} ON b.x = a.x", "“b” is on the outer side"),
    (f"SELECT a.x AS k FROM {A} JOIN {A.replace('AS a', 'AS c')} ON c.x = a.x FULL JOIN {B} ON false", "outer side"),
    (f"SELECT k FROM (SELECT b.x AS k FROM {A} LEFT JOIN {B} USING (x)) AS q", "outer side"),
    (f"WITH q AS (SELECT b.x AS k FROM {A} LEFT JOIN {B} USING (x)) SELECT * FROM q", "outer side"),
    (f"WITH q (k) AS (SELECT b.x FROM {A} LEFT JOIN {B} USING (x)) SELECT q.k FROM q", "outer side"),
    (f"SELECT nullif(a.x, 1) AS k FROM {A}", "nullif()"),
    (f"SELECT CASE WHEN a.x = 1 THEN 1 END AS k FROM {A}", "CASE without ELSE"),
    (f"SELECT CASE WHEN a.x = 1 THEN 1 ELSE NULL END AS k FROM {A}", "NULL by itself"),
    (f"SELECT coalesce(nullif(a.x, 1), nullif(1, 1)) AS k FROM {A}", "nullif()"),
    ("SELECT x AS k FROM (VALUES (1), (NULL)) AS v (x)", "NULL by itself"),
    (f"SELECT a.x AS k FROM {A} UNION ALL SELECT NULL", "NULL by itself"),
    (f"SELECT max(a.x) AS k FROM {A} WHERE false", "without GROUP BY"),
    (f"SELECT max(a.x) FILTER (WHERE a.x = 1) AS k FROM {A} GROUP BY a.x", "FILTER"),
    (f"SELECT stddev_samp(a.x) AS k FROM {A} GROUP BY a.x", "NULL for some rows"),
    (f"SELECT lag(a.x) OVER (ORDER BY a.x) AS k FROM {A}", "lag() is NULL at the edge"),
    (f"SELECT lead(a.x) OVER (ORDER BY a.x) AS k FROM {A}", "lead() is NULL at the edge"),
    (f"SELECT (SELECT b.x FROM {B} WHERE b.x = a.x) AS k FROM {A}", "a subquery is NULL"),
    ("SELECT '{}'::jsonb ->> 'a' AS k", "no such part"),
    (f"SELECT a.x AS k, count(*) AS n FROM {A} GROUP BY ROLLUP (a.x)", "where a row is a total"),
    (f"SELECT b.x AS k FROM {A} LEFT JOIN {B} ON b.x = a.x WHERE coalesce(b.x, 0) = 0", "outer side"),
]
NEVER = [
    f"SELECT a.x AS k FROM {A} LEFT JOIN {B} ON b.x = a.x",
    f"SELECT b.x AS k FROM {A} RIGHT JOIN {B} ON b.x = a.x",
    f"SELECT x AS k FROM {A} LEFT JOIN {B} USING (x)",
    f"SELECT x AS k FROM {A} FULL JOIN {B} USING (x)",
    f"SELECT coalesce(a.x, b.x, 0) AS k FROM {A} FULL JOIN {B} ON b.x = a.x",
    f"SELECT b.x AS k FROM {A} LEFT JOIN {B} ON b.x = a.x WHERE b.x IS NOT NULL",
    f"SELECT b.x AS k FROM {A} LEFT JOIN {B} ON b.x = a.x WHERE NOT b.x IS NULL AND a.x > 0",
    f"SELECT b.x AS k FROM {A} LEFT JOIN {B} ON b.x = a.x WHERE b.x + 1 > 0",
    f"SELECT b.x AS k FROM {A} LEFT JOIN {B} ON b.x = a.x JOIN {A.replace('AS a', 'AS c')} ON c.x = b.x",
    f"SELECT k FROM (SELECT nullif(a.x, 1) AS k FROM {A}) AS q WHERE k IS NOT NULL",
    f"SELECT nullif(a.x, 1) AS k FROM {A} WHERE nullif(a.x, 1) IS NOT NULL",
    f"SELECT a.x IS NULL AS k FROM {A}",
    f"SELECT count(*) FILTER (WHERE a.x = 1) AS k FROM {A}",
    f"SELECT sum(a.x) AS k FROM {A} GROUP BY a.x",
    f"SELECT row_number() OVER (ORDER BY a.x) AS k FROM {A}",
    f"SELECT rank() OVER (ORDER BY a.x) AS k FROM {A}",
    f"SELECT sum(a.x) OVER (PARTITION BY a.x) AS k FROM {A}",
    f"SELECT lag(a.x, 1, 0) OVER (ORDER BY a.x) AS k FROM {A}",
    f"SELECT (SELECT count(*) FROM {B} WHERE b.x = a.x) AS k FROM {A}",
    f"SELECT CASE WHEN a.x = 1 THEN 1 ELSE 2 END AS k FROM {A}",
    f"SELECT greatest(nullif(a.x, 1), 0) AS k FROM {A}",
    f"SELECT a.x AS k FROM {A} EXCEPT SELECT NULL",
    "SELECT g AS k FROM generate_series(1, 3) AS g",
]


@pytest.mark.parametrize(("query", "expected"), NULLS, ids=[query for query, _ in NULLS])
def test_what_can_be_null_is_told_and_is_null_in_postgresql(query, expected, connection):
    assert expected in reason(query)
    assert connection.execute(f"SELECT count(*) FROM ({query}) AS q WHERE k IS NULL").fetchone()[0] > 0


@pytest.mark.parametrize("query", NEVER)
def test_what_cant_be_null_is_passed_and_is_never_null_in_postgresql(query, connection):
    assert reason(query) is None
    assert connection.execute(f"SELECT count(*) FROM ({query}) AS q WHERE k IS NULL").fetchone() == (0,)


def test_a_view_is_looked_into():
    found = reason("SELECT k FROM mart.v_y", v_y="SELECT nullif(1, 1) AS k")

    assert found == "in mart.v_y, nullif() is NULL where both are equal"


def test_the_key_of_a_materialized_view_is_that_views_own_affair():
    assert reason("SELECT k FROM mart.mv_y", mv_y="SELECT nullif(1, 1) AS k") is None


def test_the_columns_of_a_line_may_be_empty():
    assert "may have no slip_date" in reason("SELECT slip_date AS k FROM stg.v_active_shogun_final_yard")
    assert reason("SELECT id AS k FROM stg.v_active_shogun_final_yard") is None


def test_nothing_is_known_of_the_columns_of_other_tables():
    assert reason("SELECT ddate AS k FROM mart.daily_target_plan") is None


def test_views_that_read_each_other_in_a_circle_end():
    assert reason("SELECT k FROM mart.v_y", v_y="SELECT k FROM mart.v_z", v_z="SELECT k FROM mart.v_y") is None
