"""Tables whose figures are never cut: when there is no room, names give way, then the line runs over.

`print_table` makes flexible columns narrower. `print_groups` is for names that tell the rows apart, which must
stay whole: when they leave no room for the figures, each row becomes a block, its names above its figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

_INDENT = "  "
_GAP = "  "
_BETWEEN = " · "


class Column(NamedTuple):
    """How one column is set."""

    header: str
    numeric: bool = False
    flexible: bool = False
    """Made narrower, by folding, when there is no room."""


class Group(NamedTuple):
    """One row: what tells it apart, and its figures."""

    names: Sequence[str]
    figures: Sequence[str]


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


def print_groups(screen: Console, headers: Group, rows: Sequence[Group], footer: Group | None = None) -> None:
    """A table if it fits, else blocks; no name is folded in either."""
    everything = [headers, *rows, *([footer] if footer else [])]
    if _table_width(everything) > screen.width:
        _print_blocks(screen, headers, rows, footer)
        return
    columns = [*map(Column, headers.names), *(Column(header, numeric=True) for header in headers.figures)]
    print_table(screen, columns, [_cells(row) for row in rows], _cells(footer) if footer else None)


def _cells(row: Group) -> list[Text]:
    return [Text(cell) for cell in (*row.names, *row.figures)]


def _table_width(rows: Sequence[Group]) -> int:
    widths = [max(map(_width, column)) for column in zip(*map(_cells, rows), strict=True)]
    return sum(widths) + len(widths) - 1


def _print_blocks(screen: Console, headers: Group, rows: Sequence[Group], footer: Group | None) -> None:
    styled = [(headers, "bold"), *((row, "") for row in rows), *([(footer, "bold")] if footer else [])]
    widths = [max(map(len, column)) for column in zip(*(row.figures for row, _ in styled), strict=True)]
    for row, style in styled:
        for place, line in enumerate(_label_lines(row.names, screen)):
            screen.print(Text(_INDENT if place else "", style=style) + line)
        aligned = (figure.rjust(width) for figure, width in zip(row.figures, widths, strict=True))
        screen.print(
            Text(_INDENT + _GAP.join(aligned), style=style), no_wrap=True, overflow="ignore", crop=False
        )


def _label_lines(names: Sequence[str], screen: Console) -> Iterator[Text]:
    """As many names to a line as have room; one that is wider alone is wrapped between its words."""
    width = screen.width - len(_INDENT)
    line = Text()
    for name in (_with_words_cut(name, width) for name in names if name):
        longer = Text(_BETWEEN).join([line, Text(name)]) if line else Text(name)
        if line and _width(longer) > width:
            yield from line.wrap(screen, width)
            longer = Text(name)
        line = longer
    yield from line.wrap(screen, width)


def _with_words_cut(name: str, width: int) -> str:
    """A word that no line has room for ends in …, since it would be broken otherwise."""
    words = [Text(word) for word in name.split(" ")]
    for word in words:
        word.truncate(width, overflow="ellipsis")
    return " ".join(word.plain for word in words)


def _width(cell: Text) -> int:
    return max((line.cell_len for line in cell.split("\n")), default=0)
