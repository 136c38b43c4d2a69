"""The house and its laws: which rooms there are, which way imports go, and how large it may become.

When a size gate binds, something has to become simpler; the numbers aren't raised.
"""

import ast
import importlib
import io
import re
import tokenize
from collections import defaultdict
from graphlib import TopologicalSorter

import pytest

from mv_pipeline.settings import PROJECT_ROOT

PACKAGE = PROJECT_ROOT / "mv_pipeline"
MODULES = {
    ".".join(path.relative_to(PROJECT_ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
# A room may import from the rooms of the lines below its own.
FLOORS = (
    {"cli"},
    {"definitions"},
    {"operations"},
    {"defs"},
    {"checks"},
    {"migrate"},
    {"intake", "refresh"},
    {"catalog", "database"},
    {"settings"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms} | {"demo": 5}
# The sample files need what intake needs; the command and nobody else needs them.
PACKAGE_LINES, CORE_LINES, README_LINES = 8_600, 3_050, 150
NOT_CORE = ("catalog/lint", "catalog/template", "defs/pictures")
CORE = ("settings.py", "database/", "catalog/", "intake/", "refresh/", "defs/")


def tree(module):
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imports(module):
    """The modules of the package that a module imports, at the top or within a function."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.split(".")[0] == "mv_pipeline")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "mv_pipeline":
            for name in node.names:
                whole = f"{node.module}.{name.name}"
                yield whole if whole in MODULES else node.module


def room(module):
    return module.split(".")[1] if "." in module else ""


def code_lines(path):
    """The lines that hold code: neither blank, nor only a comment, nor part of a docstring."""
    text = path.read_text(encoding="utf-8")
    documented = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if ast.get_docstring(node, clean=False) is not None:
                documented |= set(range(first.lineno, first.end_lineno + 1))
    layout = (
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    )
    lines = {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in layout
        for line in range(token.start[0], token.end[0] + 1)
    }
    blank = {number for number, line in enumerate(text.splitlines(), 1) if not line.strip()}
    return len(lines - documented - blank)


def test_the_root_holds_ten_rooms_the_code_location_and_the_settings():
    found = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}

    rooms = {"cli", "operations", "defs", "checks", "migrate", "refresh", "intake", "catalog", "database", "demo"}
    assert found == rooms | {"__init__.py", "definitions.py", "settings.py"}


@pytest.mark.parametrize("module", [module for module in MODULES if room(module)])
def test_imports_go_one_way(module):
    wrong = [
        other for other in imports(module) if room(other) != room(module) and FLOOR[room(other)] <= FLOOR[room(module)]
    ]

    assert wrong == []


def test_no_module_imports_itself_through_others():
    graph = {module: {other for other in imports(module) if other != module} for module in MODULES}

    TopologicalSorter(graph).prepare()


# A module with a name that begins with an underscore, or one of Dagster's own jobs.
PRIVATE_OF_DAGSTER = re.compile(r"\bdagster\w*(\.\w+)*\._|^__[A-Z]")


def test_what_dagster_keeps_private_is_named_in_one_file():
    """Neither imported elsewhere nor named in a string, as for a command or a look-up."""
    found = set()
    for module in MODULES:
        for node in ast.walk(tree(module)):
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{name.name}" for name in node.names]
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                names = [node.value]
            if any(map(PRIVATE_OF_DAGSTER.search, names)):
                found.add(module)

    assert found == {"mv_pipeline.operations.dagster_private"}


def test_a_class_name_means_one_thing():
    places = defaultdict(list)
    for module in MODULES:
        for node in tree(module).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(module)

    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}


def test_a_function_name_means_one_thing():
    places = defaultdict(list)
    for module in MODULES:
        # Each picture has the same functions, as each revision has.
        if "revisions.versions" in module or module.startswith("mv_pipeline.defs.pictures."):
            continue
        for node in tree(module).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.name != "main":
                places[node.name].append(module)

    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}


def test_the_package_stays_small():
    lines = {path: code_lines(path) for path in MODULES.values()}
    places = {path: path.relative_to(PACKAGE).as_posix() for path in lines}
    core = sum(
        count
        for path, count in lines.items()
        if places[path].startswith(CORE) and not places[path].startswith(NOT_CORE)
    )

    assert sum(lines.values()) <= PACKAGE_LINES
    assert core <= CORE_LINES


def test_the_code_location_is_put_together_in_few_lines():
    assert len((PACKAGE / "definitions.py").read_text(encoding="utf-8").splitlines()) <= 30


def test_the_readme_can_be_read_in_one_go():
    assert len((PROJECT_ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES


BENCH = sorted((PROJECT_ROOT / "bench").glob("*.py"))


@pytest.mark.parametrize("path", BENCH, ids=lambda path: path.stem)
def test_the_benchmark_uses_what_the_package_has(path):
    """The benchmark runs for minutes, and not in CI: at least its names have to be there."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("mv_pipeline"):
            found = importlib.import_module(node.module)
            for name in node.names:
                assert hasattr(found, name.name) or f"{node.module}.{name.name}" in MODULES, name.name
