"""The night's last step: what has been kept for long enough is deleted. It reads no asset and no asset reads it."""

from collections.abc import Iterator
from datetime import datetime

import dagster as dg

from mv_pipeline.database.connection import Database
from mv_pipeline.defs.assets.describe import (
    AFTER_ALL,
    GROUP_HOUSEKEEPING,
    HOUSEKEEPING,
    HOUSEKEEPING_CHECK,
    OWNER,
    asset_key,
    bilingual,
)
from mv_pipeline.operations.retention.limits import Limits
from mv_pipeline.operations.retention.nightly import keep_house
from mv_pipeline.settings import TIME_ZONE, load_settings


@dg.asset(
    key=asset_key(HOUSEKEEPING),
    group_name=GROUP_HOUSEKEEPING,
    owners=[OWNER],
    kinds={"postgres"},
    description=bilingual(
        "保存期間を過ぎたものを毎晩最後に削除します：アーカイブ、取り込めなかったファイル、ログ、実行履歴。",
        "Deletes every night, after everything else, what is older than its setting: archived and rejected files, rows "
        "of the log, runs.",
    ),
    check_specs=[
        dg.AssetCheckSpec(
            HOUSEKEEPING_CHECK,
            asset=asset_key(HOUSEKEEPING),
            description="Nothing that is older than its setting is left, and nothing could not be deleted.",
        )
    ],
    op_tags=AFTER_ALL,
)
def housekeeping(
    context: dg.AssetExecutionContext, database: dg.ResourceParam[Database]
) -> Iterator[dg.MaterializeResult[None]]:
    """Delete what is too old; what can't be deleted is reported by the check and fails nothing."""
    night = keep_house(load_settings(), database, context.instance, datetime.now(TIME_ZONE), Limits())
    context.log.info(str(night))
    yield dg.MaterializeResult(
        metadata={name: deleted.count for name, deleted in night.deleted.items()},
        check_results=[
            dg.AssetCheckResult(
                check_name=HOUSEKEEPING_CHECK,
                passed=not night.failed and not night.left,
                severity=dg.AssetCheckSeverity.WARN,
                description=str(night),
                metadata={"failed": len(night.failed), "left": len(night.left)},
            )
        ],
    )
