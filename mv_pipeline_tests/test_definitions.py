"""Loading the code location, as every run does: its work grows with the number of views, and not faster."""

import cProfile
import shutil
from collections import Counter
from pathlib import Path
from types import CodeType

import pytest

import mv_pipeline
from mv_pipeline.definitions import defs
from mv_pipeline.settings import PROJECT_ROOT

VIEW = """/*
description: 試し
description_en: A trial.
owner: team:data-platform
{fields}*/
SELECT c.ddate, coalesce(s.line_count, 0) AS line_count
FROM ref.calendar_day AS c LEFT JOIN {before} AS s USING (ddate)
WHERE c.ddate < ref.business_date()
"""
MATERIALIZED = "key: [ddate]\ncriticality: optional\ndays: until_yesterday\n"
STEP = 15
OWN = str(Path(mv_pipeline.__file__).parent)
FIRST = "mart.v_receive_source"


def trial(number: int) -> str:
    """The name of a materialized view."""
    return f"mart.mv_trial_{number:04}"


def mixed(number: int) -> tuple[str, str]:
    """Two materialized views that read a plain one, which reads those of the group before, and so on."""
    place = number % 3
    if place:
        return trial(number), f"mart.v_trial_{number - place:04}"
    return f"mart.v_trial_{number:04}", joined(trial(number - 1), trial(number - 2)) if number else FIRST


def joined(one: str, other: str) -> str:
    return f"{one} AS a USING (ddate) JOIN {other}"


SHAPES = {
    "side by side": lambda number: (trial(number), FIRST),
    "in chains": lambda number: (trial(number), trial(number - 1) if number % 8 else FIRST),
    "each from the two before it": lambda number: (
        trial(number),
        joined(trial(number - 1), trial(number - 2)) if number > 1 else FIRST,
    ),
    "plain ones and materialized ones from each other": mixed,
}


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """How often each function is called with so many more views: the same on every machine, however busy it is.

    Those of the package are counted each, so that one that is called for each pair of views shows; the others together.
    """

    def count(views, shape):
        folder = shutil.copytree(PROJECT_ROOT / "sql", tmp_path / f"{views}", dirs_exist_ok=True)
        for number in range(views):
            name, before = shape(number)
            fields = MATERIALIZED if ".mv_" in name else ""
            text = VIEW.format(fields=fields, before=before)
            (folder / f"{name.replace('.', '/')}.sql").write_text(text, encoding="utf-8")
        monkeypatch.setenv("MV_PIPELINE_SQL_DIR", str(folder))
        profile = cProfile.Profile()
        with profile:
            repository = defs().get_repository_def()
            for job in ("ingest", "nightly", "refresh_changed"):
                repository.get_job(job)
        counts = Counter()
        for entry in profile.getstats():
            code = entry.code
            own = isinstance(code, CodeType) and code.co_filename.startswith(OWN)
            counts[f"{code.co_filename}:{code.co_firstlineno} {code.co_name}" if own else "elsewhere"] += (
                entry.callcount
            )
        return counts

    return count


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_twice_as_many_views_are_twice_as_much_work(calls, shape):
    calls(0, shape)  # what is imported or cached at the first time only
    none, some, more = (calls(views, shape) for views in (0, STEP, 2 * STEP))

    growth = {name: (some[name] - none[name], more[name] - some[name]) for name in more}

    # A function that is called for each pair grows by a third more at least.
    assert {name: grown for name, grown in growth.items() if grown[1] > 1.1 * grown[0]} == {}
