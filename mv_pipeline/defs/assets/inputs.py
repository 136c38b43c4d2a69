"""What people and other software write: external assets, so that the lineage begins where the data comes from."""

import dagster as dg

from mv_pipeline.catalog.tables import TABLES
from mv_pipeline.defs.assets.describe import GROUP_INPUTS, OWNER, asset_key, bilingual, table_metadata

input_assets = [
    dg.AssetSpec(
        asset_key(table.name),
        group_name=GROUP_INPUTS,
        owners=[OWNER],
        kinds={"postgres", "table"},
        description=bilingual(table.description, table.description_en),
        metadata=table_metadata(table.name),
    )
    for table in TABLES
    if table.maintained_by == "people"
]
