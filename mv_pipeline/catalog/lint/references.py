"""Faults in what files say of each other: what is read, who reads whom, and what that does to a key."""

import difflib
import graphlib
from collections.abc import Iterator
from pathlib import Path

import sqlglot
from sqlglot.errors import SqlglotError

from mv_pipeline.catalog.dashboards import FILE_NAME, DashboardError, read_dashboards
from mv_pipeline.catalog.lint.files import Folder, SqlFile
from mv_pipeline.catalog.lint.findings import Finding, Rule, listed, one_line, sql_reason
from mv_pipeline.catalog.tables import ROLLUPS


def reference_faults(file: SqlFile, folder: Folder) -> Iterator[Finding]:
    """Find what is named but isn't there, in the SELECT and in the header."""
    for table in file.tables:
        name = f"{table.db}.{table.name}" if table.db else table.name
        alike = [known for known in sorted(folder.known) if known.split(".")[1] == table.name]
        if not table.db:
            yield file.finding(
                file.query_line(table),
                Rule.SCHEMA,
                f"“{name}” has no schema.",
                f"Write {' or '.join(alike) or f'it with its schema, as in mart.{name}'}.",
            )
        elif name not in folder.known:
            yield file.finding(
                file.query_line(table), Rule.UNKNOWN_RELATION, f"There is no {name}.", _instead_of(name, folder)
            )
    if file.header is None:
        return
    for field, relation in (("equals", file.header.equals), ("anomaly", getattr(file.header.anomaly, "days", None))):
        if relation and relation not in folder.known:
            wrong = f"`{field}` names {relation}, which doesn't exist."
            yield file.finding(file.line_of(field), Rule.UNKNOWN_RELATION, wrong, _instead_of(relation, folder))
    balance = file.header.balance
    if balance and balance.csv_type not in ROLLUPS:
        wrong = f"`balance` names the list “{balance.csv_type}”, which doesn't exist."
        instead = f"The lists are {listed(list(ROLLUPS))}."
        yield file.finding(file.line_of("balance"), Rule.UNKNOWN_RELATION, wrong, instead)
    if balance and file.output is not None and balance.tons not in file.output:
        yield file.finding(
            file.line_of("balance"),
            Rule.FIELD,
            f"`balance` names the column “{balance.tons}”, which isn't in the SELECT.",
            f"Its columns are {listed(file.output)}.",
        )
    for name, check in file.header.checks.items():
        try:
            sqlglot.parse_one(check.sql, dialect="postgres")
        except SqlglotError as error:
            wrong = f"The SQL of the check `{name}` can't be read: {sql_reason(error)}."
            yield file.finding(file.line_of("checks"), Rule.QUERY, wrong, "Mend it; psql says more.")


def _instead_of(name: str, folder: Folder) -> str:
    close = difflib.get_close_matches(name, sorted(folder.known), n=1)
    return (
        f"Did you mean {close[0]}?"
        if close
        else "Add it first, as a file of its own or, for a table, to the catalogue."
    )


def line_faults(file: SqlFile, folder: Folder) -> Iterator[Finding]:
    """A materialized view reads the rollup; what another one reads is that one's affair."""
    if not file.materialized or file.tree is None:
        return
    upstream = folder.upstream(file.name, stop_at={name for name, other in folder.files.items() if other.materialized})
    lines = {name: first for name, first in upstream.items() if _holds_lines(name, folder)}
    allowed = "reads_lines" in file.fields
    if allowed and not lines:
        yield file.finding(
            file.line_of("reads_lines"),
            Rule.LINES,
            "`reads_lines` stands there, but no lines are read.",
            "Leave it out.",
        )
    if allowed:
        return
    for name in sorted(set(lines.values())):
        behind = sorted(line for line, first in lines.items() if first == name)
        through = "" if behind == [name] else f", by way of {name}"
        table = next((table for table in file.tables if f"{table.db}.{table.name}" == name), None)
        yield file.finding(
            file.query_line(table),
            Rule.LINES,
            f"Each refresh reads every line of {listed(behind)}{through}, and takes longer every year.",
            "Read another mv_… or mart.v_<list>_source, which have a row per day; if single lines are needed, "
            "say why in the header: `reads_lines: …`.",
        )


def _holds_lines(name: str, folder: Folder) -> bool:
    return name.split(".")[0] in ("raw", "stg") and name not in folder.files and name not in folder.made


def criticality_faults(file: SqlFile, folder: Folder) -> Iterator[Finding]:
    """Find what a critical view reads that is optional."""
    if file.fields.get("criticality") != "critical":
        return
    for name, first in sorted(folder.upstream(file.name).items()):
        other = folder.files.get(name)
        if other and other.materialized and other.fields.get("criticality") == "optional" and name != file.name:
            through = "" if first == name else f", by way of {first}"
            yield file.finding(
                file.line_of("criticality"),
                Rule.CRITICALITY,
                f"A critical view reads {name}{through}, which is optional: "
                "when that fails, this isn't refreshed and no run fails.",
                "Make both critical, or both optional.",
            )


def circle_faults(folder: Folder) -> Iterator[Finding]:
    """Find relations that read each other in a circle."""
    try:
        graphlib.TopologicalSorter(folder.reads).prepare()
    except graphlib.CycleError as error:
        circle = error.args[1]
        file = next(folder.files[name] for name in circle if name in folder.files)
        wrong = f"Relations read each other in a circle: {' → '.join(circle)}."
        yield file.finding(None, Rule.CIRCLE, wrong, "Let one of them read what the other is made of.")


def dashboard_faults(sql_dir: Path, folder: Folder) -> Iterator[Finding]:
    """Find what is wrong with the file of dashboards."""
    path = sql_dir / FILE_NAME
    try:
        dashboards = read_dashboards(sql_dir)
    except DashboardError as error:
        yield Finding(path, None, Rule.DASHBOARD, one_line(str(error)).rstrip(".") + ".", "Mend the file.")
        return
    for name, dashboard in dashboards.items():
        for relation in dashboard.reads:
            if relation not in folder.known:
                wrong = f"The dashboard “{name}” reads {relation}, which doesn't exist."
                yield Finding(path, None, Rule.DASHBOARD, wrong, _instead_of(relation, folder))
