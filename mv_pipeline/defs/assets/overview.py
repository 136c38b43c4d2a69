"""What people look at in the UI: the upload calendar, and on each view's own page its latest days and its picture.

No view waits for them: the job `overview` makes them in runs of its own, soon after something has changed.
"""

import base64
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import dagster as dg
from psycopg import sql
from psycopg.rows import dict_row

from mv_pipeline.catalog.csv_kinds import KINDS, LISTS, find_kind
from mv_pipeline.catalog.relations import SOURCE_DAYS, Catalog, Relation
from mv_pipeline.checks.rules import UPLOAD_CALENDAR
from mv_pipeline.database.connection import Connection, Database, identifier, scalar
from mv_pipeline.defs.assets import describe
from mv_pipeline.defs.pictures import draw_picture
from mv_pipeline.intake.upload_log import UploadDay, read_calendar

_CALENDAR_DAYS = 35
_PREVIEW_ROWS = 10


@dg.asset(
    **describe.asset(
        describe.asset_key(UPLOAD_CALENDAR),
        "overview",
        {"table"},
        "アップロード・カレンダー：日ごと・種類ごとに、どのファイルが有効か、行数、重量、足りない営業日。",
        "The upload calendar: per day and kind which upload counts, its lines and kg, and the missing business days.",
    ),
    deps=describe.asset_keys([*(f"stg.{kind.name}" for kind in KINDS), SOURCE_DAYS]),
)
def upload_calendar(database: dg.ResourceParam[Database]) -> dg.MaterializeResult[None]:
    """Show the last five weeks, newest day first, a table for each list."""
    with database.connect("upload calendar") as connection:
        today = scalar(connection, "SELECT ref.business_date()")
        days = read_calendar(connection, today - timedelta(days=_CALENDAR_DAYS - 1), today)
    metadata: dict[str, Any] = {}
    for csv_list in LISTS:
        own = [day for day in days if find_kind(day.kind).list == csv_list]
        metadata[csv_list.csv_type] = _calendar_table(own)
        metadata[f"missing_days_{csv_list.csv_type}"] = len({day.ddate for day in own if day.status == "missing"})
    return dg.MaterializeResult(metadata=metadata)


def _calendar_table(days: Sequence[UploadDay]) -> dg.TableMetadataValue:
    versions = dict.fromkeys(find_kind(day.kind).version for day in days)
    figures = [f"{version}_{what}" for version in versions for what in ("status", "upload", "lines", "kg")]
    rows: dict[date, list[str | int | float]] = {}
    # The kinds of a day stay in their order.
    for day in sorted(days, key=lambda day: day.ddate, reverse=True):
        row = rows.setdefault(day.ddate, [f"{day.ddate} {day.ddate:%a}", day.day_type])
        row += [day.status, ", ".join(map(str, day.uploads)), day.lines, float(day.net_weight_kg)]
    return describe.metadata_table(dict.fromkeys(("day", "day_type", *figures), "string"), rows.values())


def build_view_pages_asset(catalog: Catalog) -> dg.AssetsDefinition:
    """Make the asset that puts on each view's page what people look at; it has a step a view.

    One view that can't be shown fails its own step, and so the run; the others are shown all the same.
    """
    pages = {describe.asset_key(view.name).to_python_identifier(): view for view in catalog.materialized_views}
    steps = {name: _build_page_step(view) for name, view in pages.items()}

    @dg.op(name="all_pages", ins={"pages": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing))
    def all_pages(context: dg.OpExecutionContext) -> None:
        context.add_output_metadata({"pages": len(pages)})

    @dg.graph_asset(
        **describe.asset(
            describe.asset_key(describe.VIEW_PAGES),
            "overview",
            {"table", "matplotlib"},
            "各マテリアライズドビューのページに、最新の日の表と図を載せます。",
            "Puts a table of the latest days and a picture on the page of each materialized view.",
        ),
        ins={name: dg.AssetIn(describe.asset_key(view.name), dagster_type=dg.Nothing) for name, view in pages.items()},
    )
    def view_pages(**views: object) -> object:
        return all_pages([steps[name](view=view) for name, view in views.items()])

    return view_pages


def _build_page_step(relation: Relation) -> dg.OpDefinition:
    """Make the step of one view; what it finds is an observation of the view's own asset, so the page shows it."""

    @dg.op(name=f"page_{relation.name.replace('.', '__')}", ins={"view": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing))
    def page(context: dg.OpExecutionContext, database: dg.ResourceParam[Database]) -> None:
        with database.connect(f"page of {relation.name}") as connection:
            metadata = _read_page(connection, relation)
        context.log_event(dg.AssetObservation(describe.asset_key(relation.name), metadata=metadata))

    return page


def _read_page(connection: Connection, relation: Relation) -> dict[str, Any]:
    """The latest days that are over, newest first, and a picture; of a view without days, the first rows by key."""
    header = relation.header
    order = "WHERE {key} < %(today)s ORDER BY {key} DESC" if header.days else "ORDER BY {key}"
    key = sql.SQL(", ").join(map(sql.Identifier, header.key))
    query = sql.SQL("SELECT * FROM {view} " + order + " LIMIT %(rows)s").format(view=identifier(relation.name), key=key)
    today = scalar(connection, "SELECT ref.business_date()")
    cursor = connection.cursor(row_factory=dict_row).execute(query, {"today": today, "rows": _PREVIEW_ROWS})
    columns = {column.name: "string" for column in cursor.description or ()}
    rows = cursor.fetchall()
    metadata: dict[str, Any] = {}
    if header.days and rows:
        newest = rows[0][header.key[0]]
        # Days plot as text, their age as a line.
        metadata |= {"newest_day": str(newest), "newest_day_age": (today - newest).days}
    if header.picture:
        png = base64.b64encode(draw_picture(connection, header.picture)).decode()
        # Within the text itself, so that the UI shows it without any file to be served.
        metadata["picture"] = dg.MetadataValue.md(f"![{header.picture}](data:image/png;base64,{png})")
    metadata["preview"] = describe.metadata_table(columns, (map(_cell, row.values()) for row in rows))
    return metadata


def _cell(value: object) -> str | int | bool | None:
    return value if value is None or isinstance(value, bool | int) else str(value)
