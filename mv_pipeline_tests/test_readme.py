"""What the README promises of a new view: one file, and everything takes it up."""

import re

import dagster as dg

from mv_pipeline.catalog.sql_folder import load_catalog
from mv_pipeline.checks.rules import view_checks
from mv_pipeline.definitions import defs
from mv_pipeline.migrate.migrate import migrate
from mv_pipeline.settings import PROJECT_ROOT


def test_the_readmes_view_is_one_file_and_is_taken_up_everywhere(settings, database, tmp_path, monkeypatch):
    folder = tmp_path / "sql"
    for path in (PROJECT_ROOT / "sql").glob("*/*.sql"):
        (folder / path.parent.name).mkdir(parents=True, exist_ok=True)
        (folder / path.parent.name / path.name).write_bytes(path.read_bytes())
    (example,) = re.findall(r"```sql\n(.*?)```", (PROJECT_ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (folder / "mart" / "mv_something.sql").write_text(example, encoding="utf-8")
    monkeypatch.setenv("MV_PIPELINE_SQL_DIR", str(folder))

    catalog = load_catalog(folder)
    result = migrate(database, catalog)

    assert result.changed == {"mart.mv_something": "create"}
    with database.connect() as connection:
        for check in view_checks(catalog.relations["mart.mv_something"]):
            assert check.evaluate(connection).passed, check.name
    graph = defs().resolve_asset_graph()
    key = dg.AssetKey(["mart", "mv_something"])
    assert graph.get(key).parent_keys == {
        dg.AssetKey(["mart", "v_receive_source"]),
        dg.AssetKey(["ref", "calendar_day"]),
    }
    names = {check.name for check in graph.get_check_keys_for_assets({key})}
    assert {"row_count", "newest_day", "key_unique", "up_to_date", "full_recompute"} <= names
    job = defs().resolve_job_def("nightly")
    assert key in job.asset_layer.executable_asset_keys
