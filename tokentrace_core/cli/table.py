"""Tables whose figures are never cut: when there is no room, names give way, then the line runs over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text


class Column(NamedTuple):
    """How one column is set."""

    header: str
    numeric: bool = False
    flexible: bool = False
    """Made narrower, by folding, when there is no room."""


def print_table(
    screen: Console,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Text]],
    footer: Sequence[Text] | None = None,
) -> None:
    """`footer`: a last row, for totals."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.show_footer = footer is not None
    for place, column in enumerate(columns):
        cells = [Text(column.header), *(row[place] for row in rows), *([footer[place]] if footer else [])]
        table.add_column(
            column.header,
            footer=footer[place] if footer else "",
            footer_style="bold",
            justify="right" if column.numeric else "left",
            no_wrap=not column.flexible,
            overflow="fold",
            min_width=4 if column.flexible else max(_width(cell) for cell in cells),
        )
    for row in rows:
        table.add_row(*row)
    screen.print(table, crop=False)


def _width(cell: Text) -> int:
    return max((line.cell_len for line in cell.split("\n")), default=0)
