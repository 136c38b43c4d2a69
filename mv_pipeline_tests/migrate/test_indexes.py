"""Which existing index serves in the place of a wanted one, and what is made where none does."""

import pytest

from mv_pipeline.migrate.indexes import Index, find_key_violations, read_indexes

TABLE = "mart.of_a_test"


@pytest.fixture
def table(rolled_back):
    rolled_back.execute(f"CREATE TABLE {TABLE} (a integer, b integer, c integer)")
    return rolled_back


@pytest.mark.parametrize(
    ("statement", "wanted", "serves"),
    [
        ("CREATE UNIQUE INDEX ON {} (b, a)", Index(TABLE, ("a", "b"), unique=True), True),
        ("CREATE UNIQUE INDEX ON {} (a, b, c)", Index(TABLE, ("a", "b"), unique=True), False),
        ("CREATE UNIQUE INDEX ON {} (a, b) WHERE c > 0", Index(TABLE, ("a", "b"), unique=True), False),
        ("CREATE INDEX ON {} (a, b)", Index(TABLE, ("a", "b"), unique=True), False),
        ("CREATE INDEX ON {} (a, b, c)", Index(TABLE, ("a", "b")), True),
        ("CREATE UNIQUE INDEX ON {} (a, b)", Index(TABLE, ("a",)), True),
        ("CREATE INDEX ON {} (b, a)", Index(TABLE, ("a", "b")), False),
        ("CREATE INDEX ON {} (a) INCLUDE (b)", Index(TABLE, ("a", "b")), False),
        ("CREATE INDEX ON {} (a, (b + 1))", Index(TABLE, ("a",)), False),
    ],
)
def test_an_index_serves_by_its_columns(table, statement, wanted, serves):
    table.execute(statement.format(TABLE))

    assert [existing.serves(wanted) for existing in read_indexes(table, TABLE)] == [serves]


def test_what_an_interrupted_attempt_has_left_serves_nothing_and_is_replaced(table):
    index = Index(TABLE, ("a",))
    index.create(table)
    table.execute("UPDATE pg_index SET indisvalid = false WHERE indrelid = %s::regclass", [TABLE])
    assert not read_indexes(table, TABLE)[0].serves(index)

    index.create(table)

    assert [(found.name, found.serves(index)) for found in read_indexes(table, TABLE)] == [("of_a_test_a", True)]


def test_a_name_that_is_taken_is_left_to_who_has_it(table):
    table.execute("CREATE SEQUENCE mart.of_a_test_key")

    Index(TABLE, ("a",), unique=True).create(table)

    assert [found.name for found in read_indexes(table, TABLE)] == ["mv_pipeline_of_a_test_key"]


def test_values_that_keep_columns_from_being_a_key_are_named(table):
    key = Index(TABLE, ("a", "b"), unique=True)
    assert find_key_violations(table, key) == ""

    table.execute(
        f"INSERT INTO {TABLE} VALUES (1, 1), (1, 2), (1, 2), (2, NULL), (3, 3), (3, 3), (3, 3), (4, 4), (4, 4)"
    )

    # Four of the values: the first three are shown.
    assert find_key_violations(table, key) == (
        "4 of its values occur more than once or hold NULL: (1, 2): 2 rows; (2): 1 rows; (3, 3): 3 rows"
    )
