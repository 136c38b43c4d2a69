"""Tables of every command: framed in a terminal; piped, one record a line without frame, title or colour."""

from rich import box
from rich.table import Table

from mv_pipeline.cli.session import console


def new_table(title: str, *headings: str, right: tuple[str, ...] = ()) -> Table:
    """Make an empty table.

    Args:
        title: above it, in a terminal.
        headings: of its columns.
        right: those of the columns that hold numbers.
    """
    if not console.is_terminal:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    else:
        table = Table(title=title, box=box.SIMPLE)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left", no_wrap=not console.is_terminal)
    return table
