"""A bar for long work: on stderr, and only where somebody looks at it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from tokentrace_core.cli.options import Settings
from tokentrace_core.store.pieces import Progress as Piece
from tokentrace_core.store.pieces import Tell


@contextmanager
def progress(settings: Settings) -> Iterator[Tell]:
    """Tell it what is being done, and how much of it is."""
    if settings.json or not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def tell(piece: Piece) -> None:
            if piece.doing not in tasks:
                tasks[piece.doing] = bars.add_task(piece.doing)
            bars.update(tasks[piece.doing], completed=piece.done, total=piece.of)

        yield tell
