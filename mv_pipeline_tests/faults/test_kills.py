"""SIGKILL between any two steps and at random moments: the next tick heals everything, and nothing is doubled."""

import importlib
import random
import signal
import time

import pytest

from mv_pipeline_tests.conftest import LONG
from mv_pipeline_tests.faults.conftest import RECEIVE, folder_of
from mv_pipeline_tests.faults.worker import BOUNDARIES

_RANDOM_KILLS = 400 if LONG else 6
_CALLS = (1, 2, 3) if LONG else (1,)
_TICK_S = 0.8


@pytest.mark.parametrize("boundary", BOUNDARIES, ids=lambda boundary: boundary.name)
def test_a_boundary_names_a_function(boundary):
    assert callable(getattr(importlib.import_module(boundary.module), boundary.function))


@pytest.mark.parametrize("call", _CALLS)
@pytest.mark.parametrize("boundary", BOUNDARIES, ids=lambda boundary: boundary.name)
def test_a_process_killed_between_two_steps(plant, boundary, call):
    process = plant.start(boundary, call)

    exit_code = plant.bury(process)
    plant.tick()

    # A function that isn't called that often lets the process live.
    assert exit_code in ((-signal.SIGKILL,) if call == 1 else (-signal.SIGKILL, 0))
    assert plant.losses() == []


@pytest.mark.parametrize("name", ["file committed, not moved", "place in the archive reserved"])
def test_a_file_whose_process_was_killed_before_it_was_moved_is_not_loaded_over_a_newer_one(plant, name):
    process = plant.start(next(boundary for boundary in BOUNDARIES if boundary.name == name))
    assert plant.bury(process) == -signal.SIGKILL
    path = folder_of(plant.settings, RECEIVE) / "first.csv"
    # Somebody has put it back: with another inode, the newest of all.
    copy = path.with_name(".copy")
    copy.write_bytes(path.read_bytes())
    copy.replace(path)

    plant.tick()

    assert plant.losses() == []


@pytest.mark.parametrize("seed", range(_RANDOM_KILLS))
def test_processes_killed_at_random_moments(plant, seed):
    draw = random.Random(seed)
    for _ in range(draw.randint(1, 3)):
        process = plant.start()
        # The moment is the point of the test; no outcome depends on it.
        time.sleep(draw.uniform(0, _TICK_S))
        plant.kill(process)

    plant.tick()

    assert plant.losses() == []


def test_two_processes_on_the_same_inbox(plant):
    first, second = plant.start(), plant.start()

    assert (plant.bury(first), plant.bury(second)) == (0, 0)
    assert plant.losses() == []


def test_one_of_two_processes_is_killed_and_the_other_goes_on(plant):
    doomed, other = plant.start(BOUNDARIES[5]), plant.start()

    exit_codes = (plant.bury(doomed), plant.bury(other))
    plant.tick()

    assert exit_codes == (-signal.SIGKILL, 0)
    assert plant.losses() == []
