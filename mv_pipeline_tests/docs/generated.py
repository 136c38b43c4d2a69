"""The parts of the documentation that are made from the code, and what writes them: `make docs`.

A part is between two comments that name it. Whatever is outside of them is written by hand and left alone.
A test compares every part with the code, so none can go out of date unseen.
"""

import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path

import dagster as dg
import yaml
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from mv_pipeline.catalog.csv_kinds import KINDS, LISTS
from mv_pipeline.definitions import defs
from mv_pipeline.intake.rejection import MESSAGES
from mv_pipeline.operations.health import HEALTH_CHECKS
from mv_pipeline.operations.problem import (
    COOLDOWN,
    DAEMON_SILENT_S,
    FILE_WAITS_S,
    GRACE,
    LOW_DISK_GB,
    REJECTED_BURST,
    SCHEDULE_LATE,
    SENSOR_LATE_S,
    TEXTS,
    ProblemType,
)
from mv_pipeline.settings import PROJECT_ROOT, Settings

DOCS = PROJECT_ROOT / "docs"
PAGES = (*sorted(DOCS.glob("*.md")), PROJECT_ROOT / "README.md", PROJECT_ROOT / "README.ja.md")
_TO_THE_ROLLUP = ("intake", "staging", "rollup")
_PART = re.compile(r"(<!-- made by `make docs`: ([a-z_]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_VERSIONS = {"flash": "速報", "final": "最終"}


def fill(text: str) -> str:
    """The text of a page with every part in it made anew."""
    return _PART.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]().strip()}\n\n{found[3]}", text)


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


def rejection_reasons() -> str:
    """Every reason for a rejection, in Japanese."""
    return _table(("コード", "説明"), ((f"`{code}`", japanese) for code, (japanese, _) in MESSAGES.items()))


def problem_types() -> str:
    """Every type of problem: what is found, who is told of it, how bad it is, and when it begins and ends."""
    return _table(
        ("type", "what is found", "told", "level", "after", "it is over when"),
        (
            (
                f"`{problem_type}`",
                # Whoever finds problems of several types has no docstring for each of them.
                (check.find.__doc__ or _without_facts(TEXTS[problem_type].title)).split("\n")[0],
                TEXTS[problem_type].audience if check.is_told else "nobody",
                TEXTS[problem_type].level,
                (_duration(GRACE[problem_type]) if problem_type in GRACE else "at once") if check.is_told else "",
                _without_facts(TEXTS[problem_type].ok),
            )
            for problem_type, check in HEALTH_CHECKS.items()
        ),
    )


def thresholds() -> str:
    """From when on something is a problem, where its type alone doesn't say it."""
    late = f"a sensor for {_duration(SENSOR_LATE_S)}, a schedule for {_duration(SCHEDULE_LATE)} after it was due"
    files_due, slow_refresh = _setting_with_default("files_due_hour"), _setting_with_default("slow_refresh_seconds")
    return _table(
        ("type", "from when on"),
        (
            (f"`{ProblemType.LOW_DISK}`", f"less than {LOW_DISK_GB:g} GB is free"),
            (
                f"`{ProblemType.REJECTED_FILE}`",
                "at once, until a file of its name is loaded, or one of its kind that came more than "
                f"{_duration(REJECTED_BURST)} later",
            ),
            (
                f"`{ProblemType.DAY_SHRUNK}`",
                f"less than a share of the lines or kg that the day had, {_setting_with_default('shrunk_share')}, "
                "until the upload is confirmed or counts there no more",
            ),
            (f"`{ProblemType.DATA_MISSING}`", f"the hour {files_due} of the day after the business day"),
            (f"`{ProblemType.REFRESH_SLOW}`", f"it has been running for longer than {slow_refresh}"),
            (f"`{ProblemType.DAEMON_GONE}`", f"no sign of life for {_duration(DAEMON_SILENT_S)}"),
            (f"`{ProblemType.FILES_WAITING}`", f"a file that is there for longer than {_duration(FILE_WAITS_S)}"),
            (f"`{ProblemType.TICKS_STOPPED}`", f"no tick of {late}"),
            ("every type", f"it is over when it has been gone for {_duration(COOLDOWN)}"),
        ),
    )


def alert_rules() -> str:
    """Every rule for Prometheus, by its summary."""
    (group,) = yaml.safe_load((PROJECT_ROOT / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8"))["groups"]
    return _table(
        ("alert", "severity", "problem", "after", "summary"),
        (
            (
                f"`{rule['alert']}`",
                rule["labels"]["severity"],
                f"`{rule['labels']['problem']}`" if "problem" in rule["labels"] else "",
                rule.get("for", "at once"),
                re.sub(r"{{ \$(?:labels\.)?(\w+).*?}}", r"*\1*", rule["annotations"]["summary"]),
            )
            for rule in group["rules"]
        ),
    )


def _without_facts(text: str) -> str:
    return re.sub(r"{.*?}", "…", text)


def _setting_with_default(name: str) -> str:
    return f"`MV_PIPELINE_{name.upper()}` ({Settings.model_fields[name].default:g})"


def _duration(of: timedelta | float) -> str:
    seconds = of.total_seconds() if isinstance(of, timedelta) else of
    number, unit = (seconds, "second") if seconds % 60 else (seconds / 60, "minute")
    return f"{number:g} {unit}{'' if number == 1 else 's'}"


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
        rejection_reasons,
        problem_types,
        thresholds,
        alert_rules,
    )
}


def main() -> None:
    """Write every part of every page."""
    for page in PAGES:
        page.write_text(fill(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
