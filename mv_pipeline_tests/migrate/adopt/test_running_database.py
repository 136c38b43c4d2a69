"""The running database of these tests is the contract's, whatever moves in later."""

from collections import Counter

from mv_pipeline.database.connection import Connection, scalar
from mv_pipeline_tests.migrate.adopt import observed
from mv_pipeline_tests.migrate.adopt.contract import COLUMNS, MATERIALIZED_VIEWS, PLAIN_VIEWS
from mv_pipeline_tests.migrate.adopt.running_database import DASHBOARD, OBSOLETE, THEIR_VERSION


def test_every_column_is_the_contracts_and_there_is_no_other(connection: Connection) -> None:
    found = [column for column in observed.columns(connection) if column.relation != "mart.mv_sales_tree_daily"]

    assert sorted(found) == sorted(column for columns in COLUMNS.values() for column in columns)


def test_no_relation_is_empty(connection: Connection) -> None:
    empty = [name for name in (*COLUMNS, *OBSOLETE) if observed.count_rows(connection, name) == 0]

    assert empty == []


def test_the_known_figures_hold(connection: Connection) -> None:
    assert observed.count_rows(connection, "mart.mv_receive_daily") == 1805
    assert observed.count_rows(connection, "mart.mv_target_card_per_day") == 2191


def test_the_rows_hold_what_makes_moving_in_hard(connection: Connection) -> None:
    sources = Counter(
        source for (source,) in observed.rows(connection, "SELECT source_system FROM mart.mv_receive_daily")
    )
    assert all(sources[source] > 50 for source in ("shogun_final", "shogun_flash", "king", None))

    def share(table: str, condition: str) -> float:
        return float(scalar(connection, f"SELECT avg(({condition})::integer)::float FROM {table}"))

    assert 0.2 < share("stg.shogun_final_receive", "is_deleted") < 0.8
    assert 0 < share("stg.shogun_final_receive", "slip_date IS NULL") < 0.01
    assert 0 < share("stg.receive_king_final", "pg_input_is_valid(coalesce(invoice_date, ''), 'date') IS FALSE") < 0.1
    assert observed.rows(connection, "SELECT FROM mart.daily_target_plan GROUP BY ddate::date HAVING count(*) = 3")
    assert observed.rows(connection, "SELECT FROM mart.mv_receive_daily WHERE receive_net_ton < 0")
    (uploads,) = observed.rows(
        connection,
        "SELECT max(n) FROM (SELECT count(DISTINCT upload_file_id) AS n FROM stg.shogun_final_receive "
        "WHERE slip_date IS NOT NULL GROUP BY slip_date) AS days",
    )
    assert uploads == (3,)


def test_only_the_last_upload_of_a_day_is_active(connection: Connection) -> None:
    assert not observed.rows(
        connection,
        "SELECT slip_date FROM stg.shogun_final_receive WHERE slip_date IS NOT NULL AND NOT is_deleted "
        "GROUP BY slip_date HAVING count(DISTINCT upload_file_id) > 1",
    )


def test_flash_and_final_lines_share_the_flash_tables_sequence(connection: Connection) -> None:
    sequences = {row[0]: row[1:] for row in observed.sequences(connection)}

    _, last, owner, _ = sequences["stg.shogun_flash_receive_id_seq"]
    assert (owner, len(sequences)) == ("stg.shogun_flash_receive", 4)
    ids = observed.rows(
        connection,
        "SELECT count(*), count(DISTINCT id), max(id) FROM "
        "(SELECT id FROM stg.shogun_flash_receive UNION ALL SELECT id FROM stg.shogun_final_receive) AS ids",
    )
    assert ids == [(last, last, last)]


def test_dashboards_read_every_view_and_another_softwares_version_is_there(connection: Connection) -> None:
    assert observed.rows(connection, "SELECT * FROM public.alembic_version") == [(THEIR_VERSION,)]
    views = [name for name in (*PLAIN_VIEWS, *MATERIALIZED_VIEWS) if name not in OBSOLETE]
    connection.execute(f"SET ROLE {DASHBOARD}")
    for name in (*views, "bi.v_receive_report", "bi.v_customer_list"):
        assert observed.count_rows(connection, name) > 0, name


def test_a_snapshot_notices_a_row_a_right_a_comment_and_a_number(connection: Connection) -> None:
    before = observed.snapshot(connection)
    assert observed.snapshot(connection) == before
    for statement in (
        "UPDATE ref.holiday_jp SET name = 'x' WHERE hdate = '2025-01-01'",
        f"GRANT SELECT ON log.upload_file TO {DASHBOARD}",
        "COMMENT ON COLUMN log.upload_file.env IS 'x'",
        "SELECT nextval('log.upload_file_id_seq')",
        "CREATE OR REPLACE FUNCTION mart.refresh_inb5y() RETURNS void LANGUAGE sql AS ''",
    ):
        connection.execute(statement)
        after = observed.snapshot(connection)
        assert after != before, statement
        before = after
