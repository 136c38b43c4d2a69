"""Loading the code location, as every run does: its work grows with the number of views, and not faster."""

import cProfile
import shutil

import pytest

from mv_pipeline.definitions import defs
from mv_pipeline.settings import PROJECT_ROOT

VIEW = """/*
description: 試し
description_en: A trial.
owner: team:data-platform
key: [ddate]
criticality: optional
days: until_yesterday
*/
SELECT c.ddate, coalesce(s.line_count, 0) AS line_count
FROM ref.calendar_day AS c LEFT JOIN {before} AS s USING (ddate)
WHERE c.ddate < ref.business_date()
"""
STEP = 24
SHAPES = {
    "side by side": lambda number: "mart.v_receive_source",
    "in chains": lambda number: f"mart.mv_trial_{number - 1:04}" if number % 8 else "mart.v_receive_source",
    "each from the two before it": lambda number: (
        f"mart.mv_trial_{number - 1:04} AS a USING (ddate) JOIN mart.mv_trial_{number - 2:04}"
        if number > 1
        else "mart.v_receive_source"
    ),
}


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """The number of function calls with so many more views: the same on every machine, however busy it is."""

    def count(views, reads):
        folder = shutil.copytree(PROJECT_ROOT / "sql", tmp_path / f"{views}", dirs_exist_ok=True)
        for number in range(views):
            text = VIEW.format(before=reads(number))
            (folder / "mart" / f"mv_trial_{number:04}.sql").write_text(text, encoding="utf-8")
        monkeypatch.setenv("MV_PIPELINE_SQL_DIR", str(folder))
        profile = cProfile.Profile()
        with profile:
            repository = defs().get_repository_def()
            for job in ("ingest", "nightly", "refresh_changed"):
                repository.get_job(job)
        return sum(entry.callcount for entry in profile.getstats())

    return count


@pytest.mark.parametrize("reads", SHAPES.values(), ids=SHAPES)
def test_twice_as_many_views_are_about_twice_as_much_work(calls, reads):
    calls(0, reads)  # what is imported or cached at the first time only
    none, some, more = (calls(views, reads) for views in (0, STEP, 2 * STEP))

    assert (more - some) / (some - none) < 1.5
