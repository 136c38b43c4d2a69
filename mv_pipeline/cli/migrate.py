"""`migrate` and `diff`: showing what a migration would do, and what it did."""

import json
import sys
from dataclasses import asdict

from rich.text import Text

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.cli.session import console, errors, new_table
from mv_pipeline.database.connection import Database
from mv_pipeline.migrate.diff import RelationDiff, RowChange
from mv_pipeline.migrate.migrate import Migration
from mv_pipeline.migrate.plan import Plan
from mv_pipeline.migrate.plan import plan as plan_migration

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}
NOTHING = "Nothing to do: the database is up to date."


def read_migration_plan(catalog: Catalog, *, with_roles: bool) -> Plan:
    """Plan a migration.

    Raises:
        MigrateError: something has to be changed first.
    """
    with errors.status("Planning …"):
        return plan_migration(Database(), catalog, with_roles=with_roles)


def print_plan(plan: Plan, as_json: bool) -> None:
    """Print the steps in order, and what is worth knowing."""
    if as_json:
        _print_json({"steps": [asdict(step) for step in plan.steps], "remarks": plan.remarks})
        return
    _print_remarks(plan.remarks)
    if not plan.steps:
        console.print(NOTHING, highlight=False)
        return
    table = new_table("What a migration would do, in order", "step", "why", "lock")
    for step in plan.steps:
        table.add_row(step.what, step.why, step.lock)
    console.print(table)


def print_migration(result: Migration, as_json: bool) -> None:
    """Print what was done."""
    if as_json:
        _print_json(asdict(result))
        return
    _print_remarks(result.remarks)
    told = " ".join(result.remarks)
    _print_remarks([f"{name} stays: {why}." for name, why in result.kept.items() if name not in told])
    done = [f"{name}: {action}{_compared(result, name)}" for name, action in result.changed.items()]
    done += [f"{name}: drop" for name in result.dropped]
    done += [f"{name}: {rows} rows" for name, rows in result.reference.items() if rows]
    done += [f"{name}: role created" for name in result.access.created]
    done += [f"{len(result.access.owners)} objects have a new owner"] if result.access.owners else []
    if result.access.granted or result.access.revoked:
        done.append(f"{len(result.access.granted)} privileges granted, {len(result.access.revoked)} revoked")
    if result.revision_before != result.revision_after:
        done.insert(0, f"revision {result.revision_before or 'none'} → {result.revision_after}")
    console.print("\n".join(done) if done else NOTHING, highlight=False, markup=False)


def _compared(result: Migration, name: str) -> str:
    return f" ({result.compared[name]})" if name in result.compared else ""


def _print_remarks(remarks: list[str]) -> None:
    for remark in remarks:
        errors.print(remark, style="yellow", highlight=False, markup=False, soft_wrap=True)


def _print_json(data: object) -> None:
    sys.stdout.write(json.dumps(data, ensure_ascii=False, indent=2, default=str) + "\n")


def print_diff(name: str, diff: RelationDiff) -> None:
    """Print the definitions, columns and rows that differ."""
    if not diff.swapped:
        console.print(f"{name} is as its file says.", highlight=False)
        return
    if not (diff.definition or diff.columns):
        console.print(f"The definition is the same, but {diff.reason}.", highlight=False)
    for line in diff.definition:
        console.print(Text(line, _COLOURS.get(line[:1], "")))
    if diff.columns:
        table = new_table("Columns", "column", "in the database", "as its file says")
        for column, (before, after) in diff.columns.items():
            table.add_row(column, before or "–", after or "–")
        console.print(table)
    if not diff.rows:
        console.print("No row changes.", highlight=False)
        return
    table = new_table(f"{diff.rows} rows change; the first {len(diff.sample)}", "row", "change")
    for row in diff.sample:
        table.add_row(*(Text(text) for text in _row(row, diff.key)))
    console.print(table)


def _row(row: RowChange, key: list[str]) -> tuple[str, str]:
    known = row.before or row.after or {}
    label = ", ".join(f"{name}={known[name]}" for name in key or known)
    if row.before is None:
        return label, "comes"
    if row.after is None:
        return label, "goes"
    return label, "; ".join(f"{name}: {row.before.get(name)} → {row.after.get(name)}" for name in row.columns())
