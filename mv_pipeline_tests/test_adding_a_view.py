"""A view is one file: a materialized view and a plain one are put into the SQL folder, and everything takes them up.

No Python is edited and no list is extended; each test is about one part that has to know of a view.
"""

import shutil

import dagster as dg
import pytest

from mv_pipeline.catalog.sql_folder import lint, load_catalog
from mv_pipeline.definitions import defs
from mv_pipeline.defs.pictures import picture_names
from mv_pipeline.defs.sensors import changed_request, ingest_request
from mv_pipeline.migrate.migrate import migrate
from mv_pipeline.migrate.roles import PIPELINE, READER, Privilege, wanted_privileges
from mv_pipeline.operations.metrics import MetricsCollector
from mv_pipeline.operations.status import read_status
from mv_pipeline.refresh.views import read_view_status
from mv_pipeline.settings import PROJECT_ROOT
from mv_pipeline_tests.factory import csv_text, drop, line
from mv_pipeline_tests.operations.scrape import collect

VIEW, PLAIN = "mart.mv_added", "mart.v_added"
KEY, PLAIN_KEY = dg.AssetKey(["mart", "mv_added"]), dg.AssetKey(["mart", "v_added"])
RECEIVE = dg.AssetKey(["mart", "mv_receive_daily"])
KIND = "shogun_final_receive"
QUICK_CHECKS = ["row_count", "key_unique", "up_to_date", "concurrent_index", "bloat", "no_negative_week"]
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
HEADER = """\
description: 週別の受入トン。
description_en: Tons received per ISO week.
owner: team:data-platform
"""
FILES = {
    VIEW: f"""\
/*
{HEADER}key: [iso_year, iso_week]
indexes: [[iso_week]]
criticality: optional
checks:
  no_negative_week:
    description: no week weighs less than nothing.
    sql: SELECT iso_year, iso_week FROM {VIEW} WHERE tons < 0
*/
SELECT iso_year, iso_week, sum(receive_net_ton)::numeric(18, 3) AS tons
FROM mart.mv_receive_daily
GROUP BY iso_year, iso_week
""",
    PLAIN: f"""\
/*
{HEADER}*/
SELECT iso_year, sum(tons) AS tons
FROM {VIEW}
GROUP BY iso_year
""",
}


@pytest.fixture
def sql_dir(settings, tmp_path, monkeypatch):
    """A copy of the SQL folder with the two files in it; the environment names it."""
    folder = shutil.copytree(PROJECT_ROOT / "sql", tmp_path / "sql")
    for name, text in FILES.items():
        (folder / f"{name.replace('.', '/')}.sql").write_text(text, encoding="utf-8")
    monkeypatch.setenv("MV_PIPELINE_SQL_DIR", str(folder))
    return folder


@pytest.fixture
def extended(sql_dir):
    return load_catalog(sql_dir)


@pytest.fixture
def created(database, extended):
    """What the first migration with the files did."""
    return migrate(database, extended).changed


@pytest.fixture
def definitions(created):
    return defs()


def run(definitions, instance, request, job="ingest"):
    """Run a sensor's request as the daemon would."""
    part = definitions.resolve_job_def(job).get_subset(
        asset_selection=set(request.asset_selection), asset_check_selection=set(request.asset_check_keys)
    )
    return part.execute_in_process(instance=instance, run_config={**request.run_config, **QUIET})


def tons(connection, name):
    return connection.execute(f"SELECT tons FROM {name} WHERE iso_year = 2025 AND tons > 0").fetchall()


def test_the_lint_has_nothing_against_them(sql_dir):
    assert lint(sql_dir, picture_names()) == []


def test_migrate_creates_both_with_indexes_and_comments_and_touches_nothing_else(
    created, database, extended, connection
):
    indexes = connection.execute(
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'mart' AND tablename = 'mv_added' ORDER BY indexname"
    ).fetchall()

    assert created == {VIEW: "create", PLAIN: "create"}
    assert migrate(database, extended).changed == {}
    assert [definition.split(" ON ")[1] for (definition,) in indexes] == [
        "mart.mv_added USING btree (iso_week)",
        "mart.mv_added USING btree (iso_year, iso_week)",
    ]
    assert sum("UNIQUE" in definition for (definition,) in indexes) == 1
    for name in FILES:
        comment = connection.execute("SELECT obj_description(%s::regclass, 'pg_class')", [name]).fetchone()
        assert comment == ("週別の受入トン。\nTons received per ISO week.",)


def test_the_graph_has_them_where_their_sql_says(definitions):
    graph = definitions.resolve_asset_graph()

    assert graph.get(KEY).parent_keys == {RECEIVE}
    assert graph.get(PLAIN_KEY).parent_keys == {KEY}
    assert KEY in graph.get(RECEIVE).child_keys
    assert (graph.get(KEY).group_name, graph.get(PLAIN_KEY).group_name) == ("materialized_views", "views")
    assert graph.get(KEY).owners == ["team:data-platform"]


def test_every_job_that_refreshes_has_them(definitions):
    for job in ("ingest", "refresh_all", "refresh_changed", "nightly"):
        assert {KEY, PLAIN_KEY} <= definitions.resolve_job_def(job).asset_layer.executable_asset_keys, job


def test_its_checks_are_there_and_the_nightly_job_proves_it(definitions):
    checks = {check.name for check in definitions.resolve_asset_graph().get_check_keys_for_assets({KEY})}
    nightly = definitions.resolve_job_def("nightly").asset_layer.asset_graph.get_check_keys_for_assets({KEY})

    assert checks == {*QUICK_CHECKS, "full_recompute", "definition"}
    assert {check.name for check in nightly} == checks


def test_a_file_in_the_inbox_reaches_them_in_one_run(definitions, settings, extended, connection, instance):
    drop(settings.inbox_dir, KIND, "a.csv", csv_text([line(KIND, net_weight=5000)]))
    request = ingest_request(extended, [(KIND, "a.csv")], "test")
    result = run(definitions, instance, request)

    assert result.success
    assert {KEY, PLAIN_KEY} <= {event.asset_key for event in result.get_asset_materialization_events()}
    passed = {e.check_name for e in result.get_asset_check_evaluations() if e.asset_key == KEY and e.passed}
    assert passed == {*QUICK_CHECKS}
    assert tons(connection, VIEW) == tons(connection, PLAIN) == [(5,)]


def test_a_file_of_another_list_leaves_them_alone(definitions, extended):
    request = ingest_request(extended, [("shogun_final_yard", "a.csv")], "test")

    assert not {KEY, PLAIN_KEY} & set(request.asset_selection)


def test_a_change_in_the_database_makes_it_stale_and_a_run_makes_it_fresh(definitions, extended, connection, instance):
    view = extended.relations[VIEW]
    (before,) = read_view_status(connection, [view])
    connection.execute(f"INSERT INTO stg.{KIND} (slip_date, receive_no, net_weight) VALUES ('2025-12-01', 1, 7000)")
    stale = [status.relation for status in read_view_status(connection, extended.materialized_views) if status.stale]
    result = run(definitions, instance, changed_request(extended, stale), "refresh_changed")

    assert not before.stale
    assert VIEW in stale
    assert PLAIN not in stale
    assert result.success
    (after,) = read_view_status(connection, [view])
    assert not after.stale
    assert tons(connection, PLAIN) == [(7,)]


def test_the_changes_sensor_asks_for_it(definitions, connection, instance, monkeypatch):
    monkeypatch.setattr("mv_pipeline.defs.sensors._QUIET_S", 0.0)
    connection.execute(f"INSERT INTO stg.{KIND} (slip_date, receive_no, net_weight) VALUES ('2025-12-01', 1, 7000)")
    with dg.build_sensor_context(instance=instance, definitions=definitions) as context:
        data = definitions.get_repository_def().get_sensor_def("changes").evaluate_tick(context)

    (request,) = data.run_requests
    assert KEY in request.asset_selection


def test_the_metrics_show_it(created, database, extended, connection, instance):
    scrape = collect(MetricsCollector(database, extended, lambda: instance))

    assert scrape.value("mv_view_info", view=VIEW, criticality="optional") == 1
    assert scrape.value("mv_view_stale", view=VIEW) == 0
    rows = connection.execute(f"SELECT count(*) FROM {VIEW}").fetchone()[0]
    assert scrape.value("mv_view_rows", view=VIEW) == rows > 200


def test_status_lists_it_with_its_checks(created, extended, connection):
    (view,) = [view for view in read_status(connection, extended) if view.name == VIEW]

    assert view.checks_passed == QUICK_CHECKS
    assert view.checks_failed == {}


def test_the_roles_may_do_with_them_what_they_may_with_others(extended):
    wanted = wanted_privileges(extended, maintain=True)

    assert {
        Privilege("TABLE", VIEW, READER, "SELECT"),
        Privilege("TABLE", VIEW, PIPELINE, "SELECT"),
        Privilege("TABLE", VIEW, PIPELINE, "MAINTAIN"),
        Privilege("TABLE", PLAIN, READER, "SELECT"),
        Privilege("TABLE", PLAIN, PIPELINE, "SELECT"),
    } == {privilege for privilege in wanted if privilege.name in FILES}
