"""The dashboards and models that read the views, as `dashboards.yaml` beside the SQL files declares them."""

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from mv_pipeline.settings import OperatorError

FILE_NAME = "dashboards.yaml"


class DashboardError(OperatorError):
    """The file of dashboards can't be used; the message says what to change."""


class Dashboard(BaseModel):
    """Something that people look at, or that computes on, at the end of the graph."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    description: str
    description_en: str
    owner: str
    reads: tuple[str, ...]


def read_dashboards(sql_dir: Path) -> dict[str, Dashboard]:
    """The dashboards by name; none if there is no such file.

    Raises:
        DashboardError: the file can't be used.
    """
    path = sql_dir / FILE_NAME
    if not path.exists():
        return {}
    try:
        return TypeAdapter(dict[str, Dashboard]).validate_python(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except yaml.YAMLError as error:
        raise DashboardError(f"{path} is no YAML: {error}") from None
    except ValidationError as error:
        reasons = "; ".join(f"{'.'.join(map(str, issue['loc']))}: {issue['msg']}" for issue in error.errors())
        raise DashboardError(f"{path} can't be used: {reasons}") from None
