"""mv_pipeline keeps a plant's materialized views fresh.

Only the package marker lives here: no imports, so that every room can be imported by itself.
"""
