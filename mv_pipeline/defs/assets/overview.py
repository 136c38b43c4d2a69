"""What people look at in the UI: the upload calendar, and on each view's own page its latest days and its picture.

No view waits for them: the job `overview` makes them beside the other runs, soon after something has changed.
"""

import base64
from collections.abc import Sequence
from datetime import date, timedelta

import dagster as dg
from psycopg import sql

from mv_pipeline.catalog.csv_kinds import KINDS, LISTS, CsvList
from mv_pipeline.catalog.relations import Catalog, Relation
from mv_pipeline.checks.rules import UPLOAD_CALENDAR
from mv_pipeline.database.connection import Connection, Database, identifier, one_row, scalar
from mv_pipeline.defs.assets.describe import (
    GROUP_OVERVIEW,
    VIEW_PAGES,
    asset_key,
    asset_keys,
    describe_asset,
    metadata_table,
)
from mv_pipeline.defs.pictures import draw_picture
from mv_pipeline.intake.upload_log import UploadDay, read_calendar

_CALENDAR_DAYS = 35
_PREVIEW_ROWS = 10


@dg.asset(
    **describe_asset(
        asset_key(UPLOAD_CALENDAR),
        GROUP_OVERVIEW,
        {"table"},
        "アップロード・カレンダー：日ごと・種類ごとに、どのファイルが有効か、行数、重量、足りない営業日。",
        "The upload calendar: per day and kind which upload counts, its lines and kg, and the missing business days.",
    ),
    deps=asset_keys(f"stg.{kind.name}" for kind in KINDS),
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
    kinds = {kind.name: kind for kind in KINDS if kind.list == csv_list}
    figures = [f"{kind.version}_{what}" for kind in kinds.values() for what in ("status", "upload", "lines", "kg")]
    rows: dict[date, list[str | int | float]] = {}
    # The kinds of a day stay in their order.
    for day in sorted(days, key=lambda day: day.ddate, reverse=True):
        if day.kind in kinds:
            row = rows.setdefault(day.ddate, [f"{day.ddate} {day.ddate:%a}", day.day_type])
            row += [day.status, ", ".join(map(str, day.uploads)), day.lines, float(day.net_weight_kg)]
    return metadata_table(dict.fromkeys(("day", "day_type", *figures), "string"), rows.values())


def _missing(days: Sequence[UploadDay], csv_list: CsvList) -> int:
    names = {kind.name for kind in KINDS if kind.list == csv_list}
    return len({day.ddate for day in days if day.kind in names and day.status == "missing"})


def build_view_pages_asset(catalog: Catalog) -> dg.AssetsDefinition:
    """Make the asset that puts on each view's page what people look at; it has a step a view.

    One view that can't be shown fails its own step, and so the run; the others are shown all the same.
    """
    pages = {asset_key(view.name).to_python_identifier(): view for view in catalog.materialized_views}
    steps = {name: _build_page_step(view) for name, view in pages.items()}

    @dg.op(name="all_pages", ins={"pages": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing))
    def all_pages(context: dg.OpExecutionContext) -> None:
        context.add_output_metadata({"pages": len(pages)})

    @dg.graph_asset(
        **describe_asset(
            asset_key(VIEW_PAGES),
            GROUP_OVERVIEW,
            {"table", "matplotlib"},
            "各マテリアライズドビューのページに、最新の日の表と図を載せます。",
            "Puts a table of the latest days and a picture on the page of each materialized view.",
        ),
        ins={name: dg.AssetIn(asset_key(view.name), dagster_type=dg.Nothing) for name, view in pages.items()},
    )
    def view_pages(**views: object) -> object:
        return all_pages([steps[name](view=view) for name, view in views.items()])

    return view_pages


def _build_page_step(relation: Relation) -> dg.OpDefinition:
    """Make the step of one view; what it finds is an observation of the view's own asset, so the page shows it."""

    @dg.op(name=f"page_{relation.name.replace('.', '__')}", ins={"view": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing))
    def page(context: dg.OpExecutionContext, database: dg.ResourceParam[Database]) -> None:
        with database.connect(f"page of {relation.name}") as connection:
            metadata: dict[str, dg.RawMetadataValue] = {**_newest_day(connection, relation)}
            if relation.header.picture:
                metadata["picture"] = _picture(connection, relation.header.picture)
            metadata["preview"] = _preview(connection, relation)
        context.log_event(dg.AssetObservation(asset_key(relation.name), metadata=metadata))

    return page


def _preview(connection: Connection, relation: Relation) -> dg.TableMetadataValue:
    """The latest days that are over, newest first; of a view without days, the first rows by key."""
    key = sql.SQL(", ").join(map(sql.Identifier, relation.header.key))
    latest = sql.SQL("WHERE {day} < ref.business_date() ORDER BY {day} DESC").format(day=key)
    cursor = connection.execute(
        sql.SQL("SELECT * FROM {} {} LIMIT {}").format(
            identifier(relation.name),
            latest if relation.header.days else sql.SQL("ORDER BY {}").format(key),
            _PREVIEW_ROWS,
        )
    )
    columns = {column.name: "string" for column in cursor.description or ()}
    return metadata_table(columns, (map(_cell, row) for row in cursor))


def _cell(value: object) -> str | int | bool | None:
    return value if value is None or isinstance(value, bool | int) else str(value)


def _newest_day(connection: Connection, relation: Relation) -> dict[str, str | int]:
    """The newest day that is over, and its age: days plot as text, their age as a line."""
    if not relation.header.days:
        return {}
    newest, age = one_row(
        connection,
        sql.SQL(
            "SELECT max({day})::text, ref.business_date() - max({day}) FROM {view} WHERE {day} < ref.business_date()"
        ).format(day=sql.Identifier(relation.header.key[0]), view=identifier(relation.name)),
    )
    return {"newest_day": newest, "newest_day_age": age} if newest else {}


def _picture(connection: Connection, name: str) -> dg.MarkdownMetadataValue:
    """A picture within the text itself, so that the UI shows it without any file to be served."""
    png = draw_picture(connection, name)
    return dg.MetadataValue.md(f"![{name}](data:image/png;base64,{base64.b64encode(png).decode()})")
