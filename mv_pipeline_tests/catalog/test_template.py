"""The template of a new view: valid as it is, from the lint to the first refresh."""

import shutil

import pytest

from mv_pipeline.catalog.sql_folder import lint, load_catalog
from mv_pipeline.catalog.template import TemplateError, write_template
from mv_pipeline.migrate.migrate import migrate
from mv_pipeline.operations.status import read_status
from mv_pipeline.refresh.views import refresh_view
from mv_pipeline.settings import PROJECT_ROOT


@pytest.fixture
def sql_dir(tmp_path):
    return shutil.copytree(PROJECT_ROOT / "sql", tmp_path / "sql")


def test_a_template_passes_the_lint_and_is_created_refreshed_and_checked(sql_dir, database, connection):
    materialized = write_template(sql_dir, "mv", "mart.mv_new")
    plain = write_template(sql_dir, "view", "ref.v_new")
    catalog = load_catalog(sql_dir)

    assert (materialized, plain) == (sql_dir / "mart" / "mv_new.sql", sql_dir / "ref" / "v_new.sql")
    assert lint(sql_dir) == []
    assert migrate(database, catalog).changed == {"mart.mv_new": "create", "ref.v_new": "create"}
    assert refresh_view(connection, catalog.relations["mart.mv_new"]).mode == "concurrently"
    (status,) = [status for status in read_status(connection, catalog) if status.name == "mart.mv_new"]
    assert (status.rows, status.checks_failed) == (1805, {})
    assert connection.execute("SELECT count(*) FROM ref.v_new").fetchone() == (1805,)


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        ("mv", "mart.v_new", "“mart.v_new” is no name for it: mv_… is a materialized view"),
        ("view", "mart.mv_new", "“mart.mv_new” is no name for it: .*v_… is a plain view"),
        ("mv", "mv_new", "Use one of kpi, mart, ref, stg"),
        ("mv", "log.mv_new", "Use one of kpi, mart, ref, stg"),
        ("mv", "mart.mv_New", "small letters"),
        ("mv", "mart.mv_../../x", "small letters"),
        ("mv", "mart.mv_" + "a" * 60, "has 63 letters, .* Use at most 59"),
        ("view", "mart.v_receive_source", "is made from the CSV kinds already"),
        ("mv", "mart.mv_receive_daily", "exists already"),
    ],
)
def test_a_name_that_cant_be_used_is_refused_in_one_sentence(sql_dir, kind, name, reason):
    before = sorted(sql_dir.rglob("*"))

    with pytest.raises(TemplateError, match=reason) as caught:
        write_template(sql_dir, kind, name)

    assert "\n" not in str(caught.value)
    assert sorted(sql_dir.rglob("*")) == before
