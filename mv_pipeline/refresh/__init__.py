"""From stg to what people read: rollups, materialized views, and the reference data that they need."""
