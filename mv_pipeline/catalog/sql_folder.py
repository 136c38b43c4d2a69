"""The folder of SQL files as a whole: `load_catalog` raises what can't work, `lint` prints that and what is unwise.

Reading a file is in `sql_file`, judging it in `lint`.
"""

import graphlib
from collections.abc import Collection
from pathlib import Path

from mv_pipeline.catalog.csv_kinds import KINDS
from mv_pipeline.catalog.lint import VIEW_SCHEMAS, instead_of, judge, judge_style
from mv_pipeline.catalog.relations import Catalog, made_relations
from mv_pipeline.catalog.sql_file import DASHBOARDS, Rule, SqlFile, Violation, read_dashboards
from mv_pipeline.catalog.tables import TABLES
from mv_pipeline.settings import OperatorError


class CatalogError(OperatorError):
    """The SQL files can't be used; the message says in a line for each violation what to change."""


class SqlFolder:
    """Every SQL file of a folder as far as it can be read, and what is wrong with them.

    Args:
        sql_dir: the folder with one folder for each schema.
        pictures: the pictures that a header may name; None: any.

    Attributes:
        files: by the relation's name.
        known: what a view may read: the files' relations, those that are made from the CSV kinds, and the tables.
        others: what is wrong with files other than those.
        catalog: all relations; none if they read each other in a circle.

    Raises:
        CatalogError: the folder has no SQL file.
    """

    def __init__(self, sql_dir: Path, pictures: Collection[str] | None = None) -> None:
        if not any(sql_dir.rglob("*.sql")):
            raise CatalogError(f"There is no SQL file below {sql_dir}; MV_PIPELINE_SQL_DIR names the folder.")
        self.sql_dir = sql_dir
        files = [SqlFile(path) for path in sorted(sql_dir.glob("*/*.sql"))]
        self.files = {file.relation.name: file for file in files}
        written = [file.relation for file in files]
        relations = [*made_relations(written), *written]
        tables = (*(f"{layer}.{kind.name}" for layer in ("raw", "stg") for kind in KINDS), *(t.name for t in TABLES))
        self.known = {*tables, *(relation.name for relation in relations)}
        dashboards, self.others = read_dashboards(sql_dir)
        try:
            self.catalog = Catalog(relations, dashboards)
        except graphlib.CycleError as error:
            self.catalog = Catalog([])
            circle = error.args[1]
            file = next(self.files[name] for name in circle if name in self.files)
            message = f"Relations read each other in a circle: {' → '.join(circle)}."
            file.add(None, Rule.CIRCLE, message, "Let one of them read what the other is made of.")
        judge(self.files, self.catalog, self.known, pictures)
        message = "The file is in no schema's folder, so nothing reads it."
        fix = f"Move it to one of {', '.join(f'{schema}/' for schema in VIEW_SCHEMAS)} below {sql_dir}."
        for path in sql_dir.rglob("*.sql"):
            if path.parent.parent != sql_dir:
                self.others.append(Violation(path, None, Rule.FILE_NAME, message, fix))
        for name, dashboard in dashboards.items():
            for unknown in set(dashboard.reads) - self.known:
                message = f"The dashboard “{name}” reads {unknown}, which doesn't exist."
                fix, path = instead_of(unknown, self.known), sql_dir / DASHBOARDS
                self.others.append(Violation(path, None, Rule.DASHBOARD, message, fix))

    @property
    def violations(self) -> list[Violation]:
        """What is wrong with files, by file and line; each once."""
        found = set(self.others).union(*(file.violations for file in self.files.values()))
        return sorted(found, key=lambda one: (one.path, one.line or 0, one.rule, one.message))


def load_catalog(sql_dir: Path, pictures: Collection[str] | None = None) -> Catalog:
    """Read every SQL file below the folder, and make the views that follow from the CSV kinds.

    Args:
        sql_dir: the folder with one folder for each schema.
        pictures: the pictures that a header may name; None: any.

    Raises:
        CatalogError: files can't be used; every violation of every file is in it.
    """
    folder = SqlFolder(sql_dir, pictures)
    if folder.violations:
        raise CatalogError(f"The SQL files in {sql_dir} can't be used:", tuple(map(str, folder.violations)))
    return folder.catalog


def lint(sql_dir: Path, pictures: Collection[str] | None = None) -> list[Violation]:
    """Find every violation in every SQL file below the folder and in the file of dashboards, by file and line.

    Args:
        sql_dir: the folder with one folder for each schema.
        pictures: the pictures that a header may name; None: any.

    Raises:
        CatalogError: the folder has no SQL file.
    """
    folder = SqlFolder(sql_dir, pictures)
    judge_style(folder.files, folder.catalog)
    return folder.violations
