"""The parts of the documentation that are made from the code, and what writes them: `make docs`.

A part stands between two comments that name it. Whatever stands outside of them is written by hand and left alone.
A test compares every part with the code, so none can go out of date unseen.
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from mv_pipeline.catalog.csv_kinds import KINDS, LISTS
from mv_pipeline.definitions import defs
from mv_pipeline.intake.rejection import MESSAGES
from mv_pipeline.settings import PROJECT_ROOT, Settings

DOCS = PROJECT_ROOT / "docs"
PAGES = (*sorted(DOCS.glob("*.md")), PROJECT_ROOT / "README.md", PROJECT_ROOT / "README.ja.md")
_TO_THE_ROLLUP = ("intake", "staging", "rollup")
_PART = re.compile(r"(<!-- made by `make docs`: ([a-z_]+) -->\n).*?(\n<!-- end -->)", re.DOTALL)
_VERSIONS = {"flash": "速報", "final": "最終"}


def fill(text: str) -> str:
    """The text of a page with every part in it made anew."""
    return _PART.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]().strip()}\n{found[3]}", text)


def parts_of(text: str) -> list[str]:
    """The names of the parts of a page."""
    return [found[2] for found in _PART.finditer(text)]


def graph_to_the_rollup() -> str:
    """The graph from files to the rollup, as Dagster has it."""
    graph = defs().resolve_asset_graph()
    shown = {key for key in graph.get_all_asset_keys() if graph.get(key).group_name in _TO_THE_ROLLUP}
    return _mermaid(graph, shown | _parents(graph, shown))


def graph_from_the_rollup() -> str:
    """The graph from the rollup to where users read, as Dagster has it."""
    graph = defs().resolve_asset_graph()
    shown = {key for key in graph.get_all_asset_keys() if graph.get(key).group_name not in _TO_THE_ROLLUP}
    loose = {key for key in shown if not graph.get(key).parent_keys and not graph.get(key).child_keys & shown}
    return _mermaid(graph, shown - loose | _parents(graph, shown))


def _parents(graph: AssetGraph, keys: Iterable[dg.AssetKey]) -> set[dg.AssetKey]:
    return set().union(*(graph.get(key).parent_keys for key in keys))


def _mermaid(graph: AssetGraph, keys: set[dg.AssetKey]) -> str:
    names = {key: key.to_user_string().replace("/", ".") for key in keys}
    ids = {key: name.replace(".", "_") for key, name in names.items()}
    groups: dict[str, list[dg.AssetKey]] = {}
    for key in sorted(keys):
        groups.setdefault(str(graph.get(key).group_name), []).append(key)
    lines = ["```mermaid", "flowchart LR"]
    for group, members in sorted(groups.items()):
        lines.append(f"  subgraph {group}")
        lines += [f"    {ids[key]}{_shape(group, names[key])}" for key in members]
        lines.append("  end")
    lines += [
        f"  {ids[parent]} --> {ids[key]}"
        for key in sorted(keys)
        for parent in sorted(graph.get(key).parent_keys & keys)
    ]
    return "\n".join([*lines, "```"])


def _shape(group: str, name: str) -> str:
    if group == "materialized_views":
        return f'[["{name}"]]'
    if group in ("inputs", "reference"):
        return f'[("{name}")]'
    return f'["{name}"]'


def settings() -> str:
    """A section per setting, in the order of the class."""
    return "\n\n".join(_setting(name, field) for name, field in Settings.model_fields.items())


def _setting(name: str, field: FieldInfo) -> str:
    limits = [
        f"{words} {getattr(rule, attribute):g}"
        for rule in field.metadata
        for attribute, words in (("ge", "at least"), ("gt", "more than"), ("le", "at most"), ("lt", "less than"))
        if getattr(rule, attribute, None) is not None
    ]
    lines = [
        f"### `MV_PIPELINE_{name.upper()}`",
        str(field.description),
        f"- Default: {_default(field)}",
    ]
    if limits:
        lines.append(f"- Allowed: {', '.join(limits)}")
    return f"{lines[0]}\n\n{lines[1]}\n\n" + "\n".join(lines[2:])


def _default(field: FieldInfo) -> str:
    value = field.default if field.default_factory is None else field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "none; it has to be set"
    if value is None or value in ("", (), []):
        return "not set"
    if isinstance(value, Path):
        return f"`{value.relative_to(PROJECT_ROOT)}/` in the project's folder"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def folders() -> str:
    """Which folder is for which file, in Japanese."""
    return _table(
        ("置く場所", "ファイル", "版"),
        ((f"`inbox/{kind.name}/`", f"{kind.list.title}一覧", _VERSIONS[kind.version]) for kind in KINDS),
    )


def required_headers() -> str:
    """The headers that a file must have, by list, in Japanese."""
    return _table(
        ("一覧", "なくてはならない見出し"),
        (
            (csv_list.title, "、".join(column.header for column in csv_list.columns if column.required))
            for csv_list in LISTS
        ),
    )


def problems() -> str:
    """Every reason for a rejection, in Japanese."""
    return _table(("コード", "説明"), ((f"`{code}`", japanese) for code, (japanese, _) in MESSAGES.items()))


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (headings, ("---",) * len(headings), *rows))


PARTS: dict[str, Callable[[], str]] = {
    part.__name__: part
    for part in (
        graph_to_the_rollup,
        graph_from_the_rollup,
        settings,
        folders,
        required_headers,
        problems,
    )
}


def main() -> None:
    """Write every part of every page."""
    for page in PAGES:
        page.write_text(fill(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
