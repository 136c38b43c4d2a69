"""Writes the file that a new view starts from: valid as it stands, with comments that say what to put where.

What a file may hold, `relations` says; whether it holds together, `lint`.
"""

from pathlib import Path
from typing import Literal

from mv_pipeline.catalog.lint.headers import LONGEST_NAME, NAME_PATTERN, VIEW_SCHEMAS
from mv_pipeline.catalog.relations import made_relations
from mv_pipeline.settings import OperatorError

NewKind = Literal["mv", "view"]

_MATERIALIZED = """\
/*
# One line each: what a row is, and which rows there are. People see it in the UI and in the database.
description: 日次の受入（1日1行、昨日まで）。ここに説明を書きます。
description_en: "Receive per day up to yesterday: say here what a row is."
owner: team:data-platform
# The columns that tell one row from another; none of them may ever be NULL. They become the unique index.
key: [ddate]
# critical: a run fails if this can't be refreshed. optional: it is reported, and only what reads it is skipped.
criticality: optional
# One row for each day: until_yesterday or calendar. Leave it out if a row isn't a day.
days: until_yesterday
# docs/adding-a-view.md has the other fields, and the checks that you can state here.
*/
SELECT
    c.ddate,  -- the key comes from the side of the join that is always there
    coalesce(s.slip_count, 0)::integer AS slip_count,
    coalesce(s.net_weight_kg / 1000, 0)::numeric(18, 3) AS net_ton
FROM ref.calendar_day AS c
LEFT JOIN mart.v_receive_source AS s ON s.ddate = c.ddate  -- a row per day; also v_shipment_source, v_yard_source, mv_*
WHERE c.ddate < ref.business_date()  -- the only clock: not now(), not current_date
"""
_PLAIN = """\
/*
# One line each: what a row is, and which rows there are. People see it in the UI and in the database.
description: 日次の受入（昨日まで）。ここに説明を書きます。
description_en: "Receive per day up to yesterday: say here what a row is."
owner: team:data-platform
# docs/adding-a-view.md says more. A plain view has no other fields.
*/
SELECT
    ddate,
    receive_net_ton
FROM mart.mv_receive_daily  -- every relation with its schema; what is read here decides the place in the graph
"""


class StartingFileError(OperatorError):
    """The file can't be written; the message says why and what to do."""


def write_starting_file(sql_dir: Path, kind: NewKind, name: str) -> Path:
    """Write a new view's file into the SQL folder.

    Args:
        sql_dir: the folder with one SQL file per view.
        kind: `mv` for a materialized view, `view` for a plain one.
        name: schema and name, as in mart.mv_receive_by_item.

    Returns:
        The path of the file.

    Raises:
        StartingFileError: the name can't be used, or there is a file of that name.
    """
    schema, _, table = name.partition(".")
    prefix, word = ("mv_", "A materialized view") if kind == "mv" else ("v_", "A plain view")
    if schema not in VIEW_SCHEMAS or not NAME_PATTERN.fullmatch(table) or not table.startswith(prefix):
        raise StartingFileError(
            f"“{name}” is no name for it. {word} is named as in mart.{prefix}receive_by_item: one of the schemas "
            f"{', '.join(VIEW_SCHEMAS)}, then {prefix}, small letters, digits and underscores."
        )
    if len(table) > LONGEST_NAME:
        raise StartingFileError(f"“{table}” has {len(table)} letters; use {LONGEST_NAME} at most.")
    if name in {relation.name for relation in made_relations()}:
        raise StartingFileError(f"{name} is made from the CSV kinds already. Choose another name.")
    path = sql_dir / schema / f"{table}.sql"
    if path.exists():
        raise StartingFileError(f"{path} is there already. Choose another name, or edit it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_MATERIALIZED if kind == "mv" else _PLAIN, encoding="utf-8")
    return path
