"""The nightly run's last step deletes what has been kept for long enough. It reads no asset and no asset reads it."""

from collections.abc import Callable, Iterator
from datetime import datetime

import dagster as dg

from mv_pipeline.checks.check import Check, CheckResult
from mv_pipeline.database.connection import Database
from mv_pipeline.defs.assets import describe
from mv_pipeline.defs.checks import asset_check_result
from mv_pipeline.settings import TIME_ZONE, load_settings


def build_retention_asset(apply_retention: Callable[..., CheckResult]) -> dg.AssetsDefinition:
    """Make the asset with its check.

    Args:
        apply_retention: given settings, database, instance and time (aware), deletes what is too old. How many of what
            is in its result's metadata; what can't be deleted fails nothing.
    """
    key = describe.asset_key(describe.RETENTION)
    check = Check(
        describe.RETENTION_CHECK,
        "Nothing that is older than its setting is left, and nothing could not be deleted.",
        apply_retention,
        "The next nightly run goes on; docs/retention.md says more.",
        "WARN",
    )

    @dg.asset(
        **describe.asset(
            key,
            "housekeeping",
            {"postgres"},
            "保存期間を過ぎたものを毎晩最後に削除します：アーカイブ、取り込めなかったファイル、ログ、実行履歴。",
            "Deletes every night, after everything else, what is older than its setting: archived and rejected files, "
            "rows of the log, runs.",
        ),
        check_specs=[dg.AssetCheckSpec(check.name, asset=key, description=check.description)],
        op_tags=describe.AFTER_ALL,
    )
    def retention(
        context: dg.AssetExecutionContext, database: dg.ResourceParam[Database]
    ) -> Iterator[dg.MaterializeResult[None]]:
        result = check.evaluate(load_settings(), database, context.instance, datetime.now(TIME_ZONE))
        context.log.info(result.text)
        yield dg.MaterializeResult(metadata=result.metadata, check_results=[asset_check_result(key, check, result)])

    return retention
