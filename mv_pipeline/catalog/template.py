"""Writes the template of a new view's file: valid as it is, with comments that say what to put where."""

import shutil
from pathlib import Path
from typing import Literal

from mv_pipeline.catalog.lint import name_violations, taken_name
from mv_pipeline.settings import OperatorError

NewKind = Literal["mv", "view", "rollup"]

_PREFIXES = {"mv": "mv_", "view": "v_", "rollup": "rollup_"}
_TEMPLATES = Path(__file__).with_name("templates")


class TemplateError(OperatorError):
    """The file can't be written; the message says why and what to do."""


def write_template(sql_dir: Path, kind: NewKind, name: str) -> Path:
    """Write a new view's file into the SQL folder.

    Args:
        sql_dir: the folder with one folder for each schema.
        kind: `mv` for a materialized view, `view` for a plain one, `rollup` for rows stored by day.
        name: schema and name, as in mart.mv_receive_by_item.

    Raises:
        TemplateError: the name can't be used, or there is a file of that name.
    """
    for message, fix in (*name_violations(name), *taken_name(name)):
        raise TemplateError(f"{message} {fix}")
    if not name.partition(".")[2].startswith(_PREFIXES[kind]):
        what = "mv_… is a materialized view, v_… is a plain view, rollup_… is a rollup"
        raise TemplateError(f"“{name}” is no name for it: {what}.")
    path = sql_dir / f"{name.replace('.', '/')}.sql"
    if path.exists():
        raise TemplateError(f"{path} exists already. Choose another name, or edit it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_TEMPLATES / f"{kind}.sql", path)
    return path
