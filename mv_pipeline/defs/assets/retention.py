"""The nightly run's last step deletes what has been kept for long enough. It reads no asset and no asset reads it."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Protocol

import dagster as dg

from mv_pipeline.database.connection import Database
from mv_pipeline.defs.assets import describe
from mv_pipeline.settings import TIME_ZONE, Settings, load_settings


class RetentionResult(Protocol):
    """How many were deleted of what, what failed and what is left; as text, a sentence about all of it."""

    counts: dict[str, int]
    left: list[str]
    failed: dict[str, str]


def build_retention_asset(
    apply_retention: Callable[[Settings, Database, dg.DagsterInstance, datetime], RetentionResult],
) -> dg.AssetsDefinition:
    """Make the asset with its check.

    Args:
        apply_retention: deletes what is too old; what can't be deleted is in its result and fails nothing.
    """

    @dg.asset(
        **describe.asset(
            describe.asset_key(describe.RETENTION),
            "housekeeping",
            {"postgres"},
            "保存期間を過ぎたものを毎晩最後に削除します：アーカイブ、取り込めなかったファイル、ログ、実行履歴。",
            "Deletes every night, after everything else, what is older than its setting: archived and rejected files, "
            "rows of the log, runs.",
        ),
        check_specs=[
            dg.AssetCheckSpec(
                describe.RETENTION_CHECK,
                asset=describe.asset_key(describe.RETENTION),
                description="Nothing that is older than its setting is left, and nothing could not be deleted.",
            )
        ],
        op_tags=describe.AFTER_ALL,
    )
    def retention(
        context: dg.AssetExecutionContext, database: dg.ResourceParam[Database]
    ) -> Iterator[dg.MaterializeResult[None]]:
        result = apply_retention(load_settings(), database, context.instance, datetime.now(TIME_ZONE))
        context.log.info(str(result))
        check = dg.AssetCheckResult(
            check_name=describe.RETENTION_CHECK,
            passed=not result.failed and not result.left,
            severity=dg.AssetCheckSeverity.WARN,
            description=str(result),
            metadata={"failed": len(result.failed), "left": len(result.left)},
        )
        yield dg.MaterializeResult(metadata=result.counts, check_results=[check])

    return retention
