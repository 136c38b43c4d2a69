"""Plain views: in the graph, so that the lineage ends where users read.

Materializing one changes nothing in the database; it fails if there is definition drift.
"""

from typing import Any

import dagster as dg
from psycopg import sql

from mv_pipeline.catalog.relations import Catalog, Relation
from mv_pipeline.database.connection import Connection, Database, identifier, scalar
from mv_pipeline.defs.assets import describe
from mv_pipeline.migrate.state import DRIFT_REMEDY, describe_drift, read_drift


def build_view_assets(catalog: Catalog) -> list[dg.AssetsDefinition]:
    """Make the assets of all plain views."""
    refreshed_from = frozenset().union(*(catalog.upstream(view.name) for view in catalog.materialized_views))
    return [_build_view_asset(catalog, view, view.name in refreshed_from) for view in catalog.views]


def _build_view_asset(catalog: Catalog, relation: Relation, feeds_a_materialized_view: bool) -> dg.AssetsDefinition:
    @dg.asset(
        **describe.view(relation, _group(catalog, relation)),
        deps=describe.asset_keys(relation.dependencies),
        code_version=relation.definition_hash[:12],
        op_tags=describe.FIRST if feeds_a_materialized_view else None,
    )
    def view(database: dg.ResourceParam[Database]) -> dg.MaterializeResult[None]:
        with database.connect(f"view {relation.name}") as connection:
            if drift := read_drift(connection, [relation], hashes_only=True):
                raise dg.Failure(f"{describe_drift(drift)}. {DRIFT_REMEDY.format(name=relation.name)}")
            return dg.MaterializeResult(metadata=_measure(connection, catalog, relation))

    return view


def _group(catalog: Catalog, relation: Relation) -> str:
    """The layer that a view belongs to, from its place in the lineage."""
    if relation.schema == "stg":
        return "staging"
    if relation.dependencies <= {rollup.name for rollup in catalog.rollups}:
        return "rollup"
    if relation.schema == "ref" and not any(name.startswith("stg.") for name in catalog.upstream(relation.name)):
        return "reference"
    return "views"


def _measure(connection: Connection, catalog: Catalog, relation: Relation) -> dict[str, Any]:
    """Count a view's rows, or estimate them where counting would mean reading staging tables through."""
    if not any(name.startswith("stg.") for name in _read_live(catalog, relation.name)):
        return describe.measure(connection, relation.name)
    plan = scalar(connection, sql.SQL("EXPLAIN (FORMAT JSON) SELECT * FROM {}").format(identifier(relation.name)))
    schema = describe.column_schema(connection, relation.name)
    return {"estimated_rows": plan[0]["Plan"]["Plan Rows"], "dagster/column_schema": schema}


def _read_live(catalog: Catalog, name: str) -> set[str]:
    """The tables and materialized views that a plain view reads at each query."""
    relation = catalog.relations.get(name)
    if relation is None or relation.materialized:
        return {name}
    return set().union(*(_read_live(catalog, dependency) for dependency in relation.dependencies))
