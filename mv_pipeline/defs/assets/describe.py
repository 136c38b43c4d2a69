"""What every asset says of itself in the same way: key, group, owner, table name, column schema."""

from collections.abc import Mapping, Sequence

import dagster as dg

from mv_pipeline.database.connection import Connection

OWNER = "team:data-platform"
# Within a run, what readers wait for comes first: the way to the materialized views, then plain views, then checks.
FIRST = {"dagster/priority": "1"}
LAST = {"dagster/priority": "-1"}
# A view is proved once its rollups have been repaired: else it would equal a wrong rollup, and be stale thereafter.
PROOF_OF_VIEW = {"dagster/priority": "-2"}
AFTER_ALL = {"dagster/priority": "-3"}
GROUP_INTAKE = "intake"
GROUP_STAGING = "staging"
GROUP_ROLLUP = "rollup"
GROUP_VIEWS = "views"
GROUP_MATERIALIZED = "materialized_views"
GROUP_REFERENCE = "reference"
GROUP_INPUTS = "inputs"
GROUP_DASHBOARDS = "dashboards"
GROUP_OVERVIEW = "overview"
GROUP_RETENTION = "housekeeping"

VIEW_PAGES = "overview.view_pages"
RETENTION = "housekeeping.retention"
RETENTION_CHECK = "nothing_too_old"


def asset_key(name: str) -> dg.AssetKey:
    """The asset key of a relation: `mart.mv_receive_daily` → `mart/mv_receive_daily`."""
    return dg.AssetKey(name.split("."))


def asset_keys(names: Sequence[str] | frozenset[str]) -> list[dg.AssetKey]:
    """The asset keys of relations, sorted by name."""
    return [asset_key(name) for name in sorted(names)]


def bilingual(japanese: str, english: str) -> str:
    """A description: Japanese first."""
    return f"{japanese}\n\n{english}"


def observations_link(name: str, picture: bool) -> str:
    """A line for an asset's description that leads to its observations: the UI's own page lists none of them.

    Args:
        name: the relation.
        picture: True if they show one.
    """
    text = "最新の日の表と図 · Latest days and picture" if picture else "最新の日の表 · Latest days"
    return f"[{text}](/assets/{'/'.join(asset_key(name).path)}?view=events&type%5B0%5D=Observation)"


def table_metadata(name: str, columns: Mapping[str, str] | None = None) -> dict[str, object]:
    """The table's name and, where they are known without a connection, its columns with their types."""
    metadata: dict[str, object] = {"dagster/table_name": name}
    if columns:
        metadata["dagster/column_schema"] = dg.TableSchema(
            columns=[dg.TableColumn(column, kind) for column, kind in columns.items()]
        )
    return metadata


def column_schema(connection: Connection, name: str) -> dg.TableSchema:
    """A relation's columns as the database has them."""
    rows = connection.execute(
        "SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute "
        "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        [name],
    ).fetchall()
    return dg.TableSchema(
        columns=[
            dg.TableColumn(column, kind, constraints=dg.TableColumnConstraints(nullable=not not_null))
            for column, kind, not_null in rows
        ]
    )
