"""`lint`: the findings of all SQL files, or of some."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mv_pipeline.catalog.lint import Finding, lint
from mv_pipeline.cli.session import CommandError


def find(sql_dir: Path, files: Sequence[Path]) -> list[Finding]:
    """Lint the folder; what the given files have is returned, or what all have if none is given.

    Paths are relative to the working directory where they lie below it, so that an editor finds them.

    Raises:
        CommandError: there is no SQL file, or a file isn't a SQL file in it.
    """
    if not any(sql_dir.rglob("*.sql")):
        raise CommandError(f"There is no SQL file below {sql_dir}; MV_PIPELINE_SQL_DIR names the folder.")
    wanted = {path.resolve() for path in files}
    for path in files:
        if not path.resolve().is_file() or not path.resolve().is_relative_to(sql_dir.resolve()):
            raise CommandError(f"{path} is no file below {sql_dir}; MV_PIPELINE_SQL_DIR names the folder.")
    here = Path.cwd()
    return [
        replace(found, path=found.path.relative_to(here)) if found.path.is_relative_to(here) else found
        for found in lint(sql_dir)
        if not wanted or found.path.resolve() in wanted
    ]


def as_record(finding: Finding) -> dict[str, object]:
    """A finding as JSON shows it."""
    return {
        "file": str(finding.path),
        "line": finding.line,
        "rule": str(finding.rule),
        "wrong": finding.wrong,
        "instead": finding.instead,
    }
