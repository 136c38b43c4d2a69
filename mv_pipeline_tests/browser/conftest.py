"""The running UI on a week of made-up files and one that is broken, and a real browser before it."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from mv_pipeline.database.embedded import running_server
from mv_pipeline.defs.jobs import INGEST
from mv_pipeline.demo import sample
from mv_pipeline.settings import Settings
from mv_pipeline_tests.conftest import TODAY
from mv_pipeline_tests.factory import csv_text, line
from mv_pipeline_tests.processes import Dev, free_port, running_dev, wait_for

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROKEN_KIND = "shogun_final_yard"
BROKEN_FILE = "壊れたファイル.csv"
LAST_DAY = date(2025, 12, 10)


# Playwright's event loop runs as long as this lives, and Dagster needs one of its own in other modules.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's browser, since one of its own can't be fetched everywhere."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        reason = f"There is no browser: {', '.join(BROWSERS)}."
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        expect.set_options(timeout=60_000)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def dev(browser: Browser) -> Iterator[Dev]:
    """`mv-pipeline dev` on 2025-12-11, after the sensor has taken a week of files and rejected a broken one."""
    with tempfile.TemporaryDirectory(prefix="mvp-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        settings = Settings(home=Path(folder) / "home", database_url=None, dagster_url=None, port=free_port())
        with running_server(settings):
            with psycopg.connect(settings.resolved_database_url(), autocommit=True) as connection:
                connection.execute(f"ALTER DATABASE mv_pipeline SET mv_pipeline.business_date = '{TODAY}'")
            with running_dev(settings, Path(folder) / "log") as dev:
                _drop_files(settings, Path(folder) / "files")
                wait_for("the files have been taken", lambda: dev.runs(INGEST, "SUCCESS"))
                yield dev


def _drop_files(settings: Settings, folder: Path) -> None:
    """Put a week's files and a broken one into the inbox, all at once, so that one run takes them."""
    paths = sample.write_files(folder, LAST_DAY, weeks=1)
    broken = folder / BROKEN_KIND / BROKEN_FILE
    broken.write_text(csv_text([line(BROKEN_KIND), line(BROKEN_KIND, net_weight="12kg")]), encoding="cp932", newline="")
    for path in (*paths, broken):
        shutil.copy(path, settings.inbox_dir / path.parent.name / f".{path.name}")
    for path in (*paths, broken):
        target = settings.inbox_dir / path.parent.name / path.name
        target.with_name(f".{path.name}").rename(target)


@pytest.fixture
def page(browser: Browser, dev: Dev) -> Iterator[Page]:
    """A page of the UI, as somebody at the plant sees it; an error in its scripts fails the test."""
    with browser.new_context(
        base_url=f"http://127.0.0.1:{dev.settings.port}",
        viewport={"width": 1200, "height": 720},
        locale="ja-JP",
        timezone_id="Asia/Tokyo",
    ) as context:
        page = context.new_page()
        failures: list[Any] = []
        page.on("pageerror", lambda error: failures.append(error))
        yield page
        assert failures == []


@pytest.fixture
def shoot(page: Page, tmp_path: Path) -> Callable[[str], None]:
    """Take a screenshot, for docs/ if MV_PIPELINE_TESTS_SCREENSHOTS names the folder."""
    folder = Path(os.environ.get("MV_PIPELINE_TESTS_SCREENSHOTS") or tmp_path)

    def shoot(name: str) -> None:
        path = folder / f"{name}.png"
        page.screenshot(path=path, animations="disabled")
        assert path.stat().st_size > 10_000

    return shoot
