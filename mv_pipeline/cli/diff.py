"""`diff`: showing what a changed SQL file would change."""

from rich.text import Text

from mv_pipeline.cli.session import console, new_table
from mv_pipeline.migrate.diff import Difference, RowChange

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def print_difference(name: str, difference: Difference) -> None:
    """Print the definitions, columns and rows that differ."""
    if not difference.swapped:
        console.print(f"{name} stands as its file says.", highlight=False)
        return
    if not (difference.definition or difference.columns):
        console.print(f"The definition is the same, but {difference.reason}.", highlight=False)
    for line in difference.definition:
        console.print(Text(line, _COLOURS.get(line[:1], "")))
    if difference.columns:
        table = new_table("Columns", "column", "as it stands", "as its file says")
        for column, (before, after) in difference.columns.items():
            table.add_row(column, before or "–", after or "–")
        console.print(table)
    if not difference.rows:
        console.print("No row changes.", highlight=False)
        return
    table = new_table(f"{difference.rows} rows change; the first {len(difference.sample)}", "row", "change")
    for row in difference.sample:
        table.add_row(*(Text(text) for text in _row(row, difference.key)))
    console.print(table)


def _row(row: RowChange, key: list[str]) -> tuple[str, str]:
    known = row.before or row.after or {}
    label = ", ".join(f"{name}={known[name]}" for name in key or known)
    if row.before is None:
        return label, "comes"
    if row.after is None:
        return label, "goes"
    return label, "; ".join(f"{name}: {row.before.get(name)} → {row.after.get(name)}" for name in row.columns())
