"""What people and other software write: external assets, so that the lineage begins where the data comes from."""

import dagster as dg

from mv_pipeline.catalog.tables import TABLES
from mv_pipeline.defs.assets import describe

input_assets = [
    dg.AssetSpec(**describe.table(table.name, "inputs", "table", table.description, table.description_en))
    for table in TABLES
    if table.maintained_by == "people"
]
