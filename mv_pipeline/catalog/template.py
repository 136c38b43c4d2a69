"""Writes the template of a new view's file: valid as it is, with comments that say what to put where."""

from pathlib import Path
from typing import Literal

from mv_pipeline.catalog.sql_file import name_violations, taken_name
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


class TemplateError(OperatorError):
    """The file can't be written; the message says why and what to do."""


def write_template(sql_dir: Path, kind: NewKind, name: str) -> Path:
    """Write a new view's file into the SQL folder.

    Args:
        sql_dir: the folder with one folder for each schema.
        kind: `mv` for a materialized view, `view` for a plain one.
        name: schema and name, as in mart.mv_receive_by_item.

    Raises:
        TemplateError: the name can't be used, or there is a file of that name.
    """
    for message, fix in (*name_violations(name), *taken_name(name)):
        raise TemplateError(f"{message} {fix}")
    if name.partition(".mv_")[1] != (".mv_" if kind == "mv" else ""):
        raise TemplateError(f"“{name}” is no name for it: mv_… is a materialized view, v_… is a plain view.")
    path = sql_dir / f"{name.replace('.', '/')}.sql"
    if path.exists():
        raise TemplateError(f"{path} exists already. Choose another name, or edit it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_MATERIALIZED if kind == "mv" else _PLAIN, encoding="utf-8")
    return path
