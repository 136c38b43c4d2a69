"""DAGSTER_HOME, when several services start at the same time."""

import threading
from concurrent.futures import ThreadPoolExecutor

from mv_pipeline.cli.session import prepare_dagster_home
from mv_pipeline.settings import PROJECT_ROOT, Settings


def test_services_that_start_side_by_side_make_one_dagster_home(tmp_path):
    together = threading.Barrier(8)

    def start(settings):
        together.wait()
        prepare_dagster_home(settings)

    with ThreadPoolExecutor(8) as threads:
        for number in range(20):
            settings = Settings(home=tmp_path / str(number))
            for done in [threads.submit(start, settings) for _ in range(8)]:
                done.result()
            assert [path.name for path in settings.dagster_home.iterdir()] == ["dagster.yaml"]
            assert (settings.dagster_home / "dagster.yaml").readlink() == PROJECT_ROOT / "dagster.yaml"
