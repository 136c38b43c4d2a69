"""Pictures of views for people who would rather look: one file a picture, which a SQL header names by `picture:`.

Drawing loads a plotting library, which takes about as long as a whole run. So it is loaded only when a picture is
drawn, and no refresh draws one.
"""

import importlib
import pkgutil
from typing import cast

from mv_pipeline.database.connection import Connection


def picture_names() -> list[str]:
    """The names that a header may give: those of this folder's files."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def draw_picture(connection: Connection, name: str) -> bytes:
    """Draw a picture from what its view holds now.

    Returns:
        A PNG; small, because every picture stays in Dagster's event log.
    """
    style = importlib.import_module(f"{__name__}._style")
    picture = importlib.import_module(f"{__name__}.{name}")
    return cast(bytes, style.as_png(lambda: picture.draw(connection)))
