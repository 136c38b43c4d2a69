"""The running UI in a real browser: what a newcomer sees, clicks and reads."""

import re

import pytest
from playwright.sync_api import Page, expect

from mv_pipeline.defs.jobs import OVERVIEW
from mv_pipeline.intake.rejection import MESSAGES
from mv_pipeline_tests.browser.conftest import BROKEN_FILE, BROKEN_KIND
from mv_pipeline_tests.processes import wait_for

DAYS = ("2025-12-04", "2025-12-10")
BACKFILLS = (
    "{ partitionBackfillsOrError { ... on PartitionBackfills { results { id status numPartitions "
    "runs(limit: 9) { status tags { key value } } } } } }"
)


def backfills(dev):
    return dev.graphql(BACKFILLS)["partitionBackfillsOrError"]["results"]


@pytest.fixture(scope="module")
def backfill(browser, dev):
    """The id of a backfill of DAYS, asked for on the page of stg/shogun_flash_receive; the daemon takes its time."""
    with browser.new_context(base_url=f"http://127.0.0.1:{dev.settings.port}") as context:
        page = context.new_page()
        page.goto("/assets/stg/shogun_flash_receive")
        page.get_by_role("button", name="Materialize").first.click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_text("Show all partitions").click()
        dialog.get_by_placeholder(re.compile("2021-01-01")).fill(f"[{DAYS[0]}...{DAYS[1]}]")
        dialog.get_by_placeholder(re.compile("2021-01-01")).press("Tab")
        expect(dialog).to_contain_text("7 partitions")
        dialog.get_by_role("button", name="Launch backfill").click()
        expect(page.get_by_text("Created backfill")).to_be_visible()
    (found,) = backfills(dev)
    return found["id"]


FROM_A_PAGE = "__ASSET_JOB"
"""The job of Dagster's own that a page's *Materialize* runs in."""

LAUNCH_OVERVIEW = """mutation { launchRun(executionParams: {
  selector: { repositoryLocationName: "mv_pipeline", repositoryName: "__repository__", jobName: "overview" },
  runConfigData: "{}"
}) { ... on LaunchRunSuccess { run { runId } } } }"""


@pytest.fixture(scope="module")
def overview(dev):
    """The job `overview` has run once, without waiting for its schedule."""
    launched = dev.graphql(LAUNCH_OVERVIEW)["launchRun"]["run"]["runId"]
    wait_for("the overview", lambda: [run for run in dev.runs(OVERVIEW, "SUCCESS") if run["runId"] == launched])


def test_a_range_of_days_is_backfilled_from_its_page(dev, backfill):
    (found,) = [found for found in backfills(dev) if found["id"] == backfill]

    assert found["numPartitions"] == 7


def test_the_lineage_goes_from_the_files_to_the_views(page: Page, shoot):
    page.goto("/asset-groups")

    for group in ("intake", "staging", "rollup", "views", "inputs", "reference"):
        expect(page.locator("svg").get_by_text(group, exact=True)).to_be_visible()
    shoot("ui-lineage")


def test_a_views_lineage_shows_what_it_reads_and_who_reads_it(page: Page, shoot):
    page.goto("/assets/mart/mv_receive_daily?view=lineage")

    for name in ("v_receive_source", "mv_receive_daily", "v_receive_monthly"):
        expect(page.locator("svg").get_by_text(name, exact=True)).to_be_visible()
    shoot("ui-view-lineage")


def test_a_view_is_materialized_from_its_page(page: Page, dev):
    before = len(dev.runs(FROM_A_PAGE, "SUCCESS"))
    page.goto("/assets/mart/mv_target_card_per_day")

    page.get_by_role("button", name="Materialize").first.click()

    expect(page.get_by_text("Launched run")).to_be_visible()
    wait_for("the view has been materialized", lambda: len(dev.runs(FROM_A_PAGE, "SUCCESS")) > before)


def test_a_views_page_says_what_it_is_and_plots_its_numbers(page: Page, overview, shoot):
    page.goto("/assets/mart/mv_receive_daily")

    expect(page.get_by_text("日次の受入実績。")).to_be_visible()
    expect(page.get_by_text("1,805")).to_be_visible()
    expect(page.get_by_text("receive_net_ton").first).to_be_visible()
    shoot("ui-view")

    page.get_by_role("button", name="Plots").click()
    expect(page.locator("canvas").first).to_be_visible()
    for name in ("dagster/row_count", "newest_day_age", "rows_changed", "seconds"):
        expect(page.get_by_text(name, exact=True)).to_be_visible()
    page.get_by_text("rows_deleted", exact=True).scroll_into_view_if_needed()
    shoot("ui-view-plots")


def test_a_views_page_leads_to_its_latest_days_and_its_picture(page: Page, overview, shoot):
    page.goto("/assets/mart/mv_target_card_per_day")

    page.get_by_role("link", name="最新の日の表と図").click()

    expect(page.get_by_text("newest_day_age", exact=True)).to_be_visible()
    expect(page.get_by_text("Observed in run")).to_be_visible()
    expect(page.locator("td", has_text=re.compile("^2025-12-10$")).first).to_be_visible()
    shoot("ui-view-days")

    page.get_by_text("[Show Markdown]").click()
    picture = page.get_by_role("dialog").get_by_role("img", name="target_card")
    expect(picture).to_be_visible()
    # An image that could not be decoded has no width, and one that is wider than the dialog is cut off.
    assert picture.evaluate("image => image.naturalWidth") == 912
    assert picture.evaluate("image => image.parentElement.scrollWidth <= image.parentElement.clientWidth")
    shoot("ui-view-picture")


def test_a_rejected_file_is_a_failed_check_that_says_what_to_do(page: Page, shoot):
    page.goto(f"/assets/raw/{BROKEN_KIND}?view=checks")

    message = page.get_by_text(BROKEN_FILE)
    expect(message).to_be_visible()
    expect(message).to_contain_text(f"3行目 正味重量「12kg」：{MESSAGES['bad_number'][0]}")
    expect(message).to_contain_text(f"エラー一覧を見てファイルを直し、inbox/{BROKEN_KIND}/ に置き直してください。")
    shoot("ui-failed-check")


def test_the_backfill_is_one_run_for_the_whole_range(dev, backfill):
    def runs():
        (found,) = [found for found in backfills(dev) if found["id"] == backfill]
        return [run for run in found["runs"] if run["status"] == "SUCCESS"]

    (run,) = wait_for("the backfill's run has ended", runs)

    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    assert (tags["dagster/asset_partition_range_start"], tags["dagster/asset_partition_range_end"]) == DAYS
