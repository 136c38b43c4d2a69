"""What every asset says of itself in the same way: key, group, owner, table name, column schema."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NotRequired, TypedDict

import dagster as dg
from psycopg import sql

from mv_pipeline.catalog.relations import Relation
from mv_pipeline.database.connection import Connection, identifier, scalar
from mv_pipeline.migrate.table_shapes import read_columns

OWNER = "team:data-platform"
# Within a run, what readers wait for comes first: the way to the materialized views, then plain views, then checks.
FIRST = {"dagster/priority": "1"}
LAST = {"dagster/priority": "-1"}
# A view is proved once its rollups have been repaired: else it would equal a wrong rollup, and be stale thereafter.
PROOF_OF_VIEW = {"dagster/priority": "-2"}
AFTER_ALL = {"dagster/priority": "-3"}
VIEW_PAGES = "overview.view_pages"
ALWAYS = "mv_pipeline/always"
"""The tag of the jobs whose runs refresh views that have no news too."""
RETENTION = "housekeeping.retention"
RETENTION_CHECK = "nothing_too_old"


@cache
def asset_key(name: str) -> dg.AssetKey:
    """The asset key of a relation: `mart.mv_receive_daily` → `mart/mv_receive_daily`."""
    return dg.AssetKey(name.split("."))


def asset_keys(names: Iterable[str]) -> list[dg.AssetKey]:
    """The asset keys of relations, sorted by name."""
    return [asset_key(name) for name in sorted(names)]


class Description(TypedDict):
    """What every asset says of itself, as arguments of `dg.asset` and `dg.AssetSpec`."""

    key: dg.AssetKey
    group_name: str
    owners: list[str]
    kinds: set[str]
    description: str
    metadata: NotRequired[dict[str, str]]


def asset(
    key: dg.AssetKey, group: str, kinds: set[str], japanese: str, english: str, owner: str = OWNER
) -> Description:
    """Describe an asset, in Japanese first."""
    text = f"{japanese}\n\n{english}"
    return {"key": key, "group_name": group, "owners": [owner], "kinds": kinds, "description": text}


def table(name: str, group: str, table_type: str, japanese: str, english: str, owner: str = OWNER) -> Description:
    """Describe the asset of a table or view."""
    description = asset(asset_key(name), group, {"postgres", table_type}, japanese, english, owner)
    return {**description, "metadata": {"dagster/table_name": name}}


def view(relation: Relation, group: str) -> Description:
    """Describe the asset of a view, as its file does."""
    header = relation.header
    english = header.description_en
    if relation.materialized:
        # The UI's own page lists no observations.
        shown = "最新の日の表と図 · Latest days and picture" if header.picture else "最新の日の表 · Latest days"
        path = relation.name.replace(".", "/")
        english += f"\n\n[{shown}](/assets/{path}?view=events&type%5B0%5D=Observation)"
    view_type = relation.kind.replace(" ", "")
    return table(relation.name, group, view_type, header.description, english, header.owner)


def metadata_table(columns: Mapping[str, str], rows: Iterable[Iterable[Any]]) -> dg.TableMetadataValue:
    """A table for the UI.

    Args:
        columns: with their types, as the UI shows them.
        rows: str, int, float, bool or None for each column.
    """
    records = [dg.TableRecord(dict(zip(columns, row, strict=True))) for row in rows]
    return dg.MetadataValue.table(records, table_schema(columns))


def table_schema(columns: Mapping[str, str]) -> dg.TableSchema:
    """Columns with their types, as the UI shows them."""
    return dg.TableSchema([dg.TableColumn(column, column_type) for column, column_type in columns.items()])


def column_schema(connection: Connection, name: str) -> dg.TableSchema:
    """A relation's columns as the database has them."""
    columns = []
    for column in read_columns(connection, name).values():
        constraints = dg.TableColumnConstraints(nullable=not column.required)
        columns.append(dg.TableColumn(column.name, column.type, constraints=constraints))
    return dg.TableSchema(columns)


def measure(connection: Connection, name: str) -> dict[str, Any]:
    """What a materialization says of a relation in the database: its rows and its columns."""
    rows = scalar(connection, sql.SQL("SELECT count(*) FROM {}").format(identifier(name)))
    return {"dagster/row_count": rows, "dagster/column_schema": column_schema(connection, name)}
