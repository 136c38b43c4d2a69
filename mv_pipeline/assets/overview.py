"""What people look at in the UI: the upload calendar, and the pictures of views.

No view waits for them: the job `overview` makes them beside the other runs, soon after something has changed.
"""

import base64
from collections.abc import Sequence
from datetime import timedelta

import dagster as dg

from mv_pipeline.assets.describe import (
    GROUP_OVERVIEW,
    OWNER,
    UPLOAD_CALENDAR,
    asset_key,
    asset_keys,
    bilingual,
)
from mv_pipeline.catalog.kinds import KINDS, LISTS, CsvList
from mv_pipeline.catalog.relations import Catalog, Relation
from mv_pipeline.database import Database, scalar
from mv_pipeline.pictures import draw_picture
from mv_pipeline.uploads import UploadDay, read_calendar

_CALENDAR_DAYS = 35


@dg.asset(
    key=asset_key(UPLOAD_CALENDAR),
    deps=asset_keys([f"stg.{kind.name}" for kind in KINDS]),
    group_name=GROUP_OVERVIEW,
    owners=[OWNER],
    kinds={"table"},
    description=bilingual(
        "アップロード・カレンダー：日ごと・種類ごとに、どのファイルが有効か、行数、重量、足りない営業日。",
        "The upload calendar: per day and kind which upload counts, its lines and kg, and the missing business days.",
    ),
)
def upload_calendar(database: dg.ResourceParam[Database]) -> dg.MaterializeResult[None]:
    """Show the last five weeks, newest day first, a table for each list."""
    with database.connect("upload calendar") as connection:
        today = scalar(connection, "SELECT ref.business_date()")
        days = read_calendar(connection, today - timedelta(days=_CALENDAR_DAYS - 1), today)
    return dg.MaterializeResult(
        metadata={
            **{csv_list.csv_type: _calendar_table(days, csv_list) for csv_list in LISTS},
            **{f"missing_days_{csv_list.csv_type}": _missing(days, csv_list) for csv_list in LISTS},
        }
    )


def _calendar_table(days: Sequence[UploadDay], csv_list: CsvList) -> dg.TableMetadataValue:
    kinds = [kind for kind in KINDS if kind.list == csv_list]
    columns = [f"{kind.version}_{what}" for kind in kinds for what in ("status", "upload", "lines", "kg")]
    records: dict[str, dict[str, str | int | float]] = {}
    for day in reversed(days):
        for kind in kinds:
            if day.kind == kind.name:
                record = records.setdefault(f"{day.ddate} {day.ddate:%a}", {"day_type": day.day_type})
                record[f"{kind.version}_status"] = day.status
                record[f"{kind.version}_upload"] = ", ".join(map(str, day.uploads))
                record[f"{kind.version}_lines"] = day.lines
                record[f"{kind.version}_kg"] = float(day.net_weight_kg)
    return dg.MetadataValue.table(
        [dg.TableRecord({"day": day, **record}) for day, record in records.items()],
        dg.TableSchema([dg.TableColumn(name) for name in ("day", "day_type", *columns)]),
    )


def _missing(days: Sequence[UploadDay], csv_list: CsvList) -> int:
    names = {kind.name for kind in KINDS if kind.list == csv_list}
    return len({day.ddate for day in days if day.kind in names and day.status == "missing"})


def build_picture_asset(*, relation: Relation, picture: str) -> dg.AssetsDefinition:
    """Make the asset of one picture; it hangs on the view that it shows, and its page shows it."""

    @dg.asset(
        key=dg.AssetKey(["pictures", picture]),
        deps=[asset_key(relation.name)],
        group_name=GROUP_OVERVIEW,
        owners=[relation.header.owner],
        kinds={"matplotlib"},
        description=bilingual(f"図：{relation.header.description}", f"Picture. {relation.header.description_en}"),
    )
    def drawn(database: dg.ResourceParam[Database]) -> dg.MaterializeResult[None]:
        with database.connect(f"picture {picture}") as connection:
            png = draw_picture(connection, picture)
        # Within the text itself, so that the UI shows it without any file to be served.
        embedded = f"![{picture}](data:image/png;base64,{base64.b64encode(png).decode()})"
        return dg.MaterializeResult(metadata={"picture": dg.MetadataValue.md(embedded), "bytes": len(png)})

    return drawn


def build_picture_assets(catalog: Catalog) -> list[dg.AssetsDefinition]:
    """Make the assets of all pictures that SQL headers name."""
    return [
        build_picture_asset(relation=view, picture=view.header.picture)
        for view in catalog.materialized_views
        if view.header.picture
    ]
