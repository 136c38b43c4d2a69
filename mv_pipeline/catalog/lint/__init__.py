"""Reads the SQL files as `relations` does, but doesn't stop: every file's every fault, with the line and the way out.

Here belongs what can be told from the files alone. What `load_catalog` refuses is a finding here too; beyond that there
are faults that would only show in the data. Nothing here opens a connection, and nothing is written.
"""

from collections.abc import Sequence
from pathlib import Path

from mv_pipeline.catalog.lint.files import Folder, SqlFile
from mv_pipeline.catalog.lint.findings import Finding, Rule, listed
from mv_pipeline.catalog.lint.headers import (
    VIEW_SCHEMAS,
    header_faults,
    index_faults,
    key_faults,
    name_faults,
    picture_faults,
)
from mv_pipeline.catalog.lint.queries import query_faults
from mv_pipeline.catalog.lint.references import (
    circle_faults,
    criticality_faults,
    dashboard_faults,
    line_faults,
    reference_faults,
)

__all__ = ["Finding", "Rule", "lint"]


def lint(sql_dir: Path, pictures: Sequence[str]) -> list[Finding]:
    """Find every fault of every SQL file below the folder, and of the file of dashboards; by file and line.

    Args:
        sql_dir: a folder a schema.
        pictures: the names that a header may give as `picture`.
    """
    paths = sorted(sql_dir.rglob("*.sql"))
    files = [SqlFile(path) for path in paths if path.parent.parent == sql_dir]
    found = [
        Finding(
            path,
            None,
            Rule.FILE_NAME,
            "The file lies in no schema's folder, so nothing reads it.",
            f"Move it to one of {listed([f'{schema}/' for schema in VIEW_SCHEMAS])} below {sql_dir}.",
        )
        for path in paths
        if path.parent.parent != sql_dir
    ]
    folder = Folder(files)
    for file in files:
        for faults in (name_faults, header_faults, key_faults, query_faults, index_faults):
            found += faults(file)
        found += picture_faults(file, pictures)
        for folder_faults in (reference_faults, line_faults, criticality_faults):
            found += folder_faults(file, folder)
    found += [*circle_faults(folder), *dashboard_faults(sql_dir, folder)]
    return sorted(set(found), key=lambda finding: (finding.path, finding.line or 0, finding.rule, finding.wrong))
