"""`migrate` and `diff`: showing what a migration would do, and what it did."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.cli.session import answer, errors, new_table
from mv_pipeline.database.connection import Database
from mv_pipeline.migrate.dagster_database import ensure_dagster_database
from mv_pipeline.migrate.diff import RelationDiff, RowChange
from mv_pipeline.migrate.migrate import Migration
from mv_pipeline.migrate.plan import Step, plan
from mv_pipeline.settings import Settings

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}
NOTHING = "Nothing to do: the database is up to date."


def print_plan(settings: Settings, catalog: Catalog, as_json: bool, *, with_roles: bool) -> None:
    """Plan a migration, and print its steps in order and what is worth knowing.

    Raises:
        MigrateError: something has to be changed first.
        DagsterStorageError: Dagster's database is missing, and this role can't create it.
    """
    with errors.status("Planning …"):
        missing = ensure_dagster_database(settings, create=False)
        planned = plan(Database(), catalog, with_roles=with_roles)
    _print_remarks(planned.remarks, as_json)
    if missing:
        planned.steps.append(Step(f"create the database {missing} for Dagster", "it is missing"))
    steps = [{"step": step.what, "why": step.why, "lock": step.lock} for step in planned.steps]
    shown = new_table("What a migration would do, in order", steps) if steps else NOTHING
    answer({"steps": planned.steps, "remarks": planned.remarks}, as_json, shown)


def print_migration(result: Migration, as_json: bool) -> None:
    """Print what was done."""
    told = " ".join(result.remarks)
    kept = [f"{name} stays: {why}." for name, why in result.kept.items() if name not in told]
    _print_remarks([*result.remarks, *kept], as_json)
    done = []
    if result.revision_before != result.revision_after:
        done.append(f"revision {result.revision_before or 'none'} → {result.revision_after}")
    for name, action in result.changed.items():
        done.append(f"{name}: {action}{f' ({result.compared[name]})' if name in result.compared else ''}")
    done += [f"{name}: drop" for name in result.dropped]
    done += [f"{name}: {rows} rows" for name, rows in result.reference.items() if rows]
    done += [f"{name}: role created" for name in result.access.created]
    done += [f"{len(result.access.owners)} objects have a new owner"] if result.access.owners else []
    if result.access.granted or result.access.revoked:
        done.append(f"{len(result.access.granted)} privileges granted, {len(result.access.revoked)} revoked")
    answer(result, as_json, *(done or [NOTHING]))


def _print_remarks(remarks: Sequence[str], as_json: bool) -> None:
    for remark in () if as_json else remarks:
        errors.print(remark, style="yellow")


def describe_diff(name: str, diff: RelationDiff) -> Iterator[RenderableType]:
    """The definitions, columns and rows that differ."""
    if not diff.swapped:
        yield f"{name} has no definition drift."
        return
    if not (diff.definition or diff.columns):
        yield f"The definition is the same, but {diff.reason}."
    for line in diff.definition:
        yield Text(line, _COLOURS.get(line[:1], ""))
    if diff.columns:
        columns = [
            {"column": column, "in the database": before or "–", "as its file says": after or "–"}
            for column, (before, after) in diff.columns.items()
        ]
        yield new_table("Columns", columns)
    if diff.sample:
        rows = [_describe_row(row, diff.key) for row in diff.sample]
        yield new_table(f"{diff.rows} rows change; the first {len(diff.sample)}", rows)
    else:
        yield "No row changes."


def _describe_row(row: RowChange, key: list[str]) -> dict[str, str]:
    known = row.before or row.after or {}
    change = "; ".join(
        f"{name}: {(row.before or {}).get(name)} → {(row.after or {}).get(name)}" for name in row.columns()
    )
    return {
        "row": ", ".join(f"{name}={known[name]}" for name in key or known),
        "change": "comes" if row.before is None else "goes" if row.after is None else change,
    }
