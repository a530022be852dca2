"""Long work in a file, a little at a time.

Such work is a generator: what it does up to the next `yield` is one short transaction, so that nobody waits for
long, a kill loses one piece at most, and whoever begins again finds done what is done. It says how far it is.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tokentrace_core.store.trace_file import transaction

#: Others get at the file between two pieces.
_PAUSE_S = 0.002


class Progress(NamedTuple):
    """What is being done, and how much of it is."""

    doing: str
    done: int
    of: int


Pieces = Iterator[Progress]
Tell = Callable[[Progress], None]


def do_all(connection: sqlite3.Connection, pieces: Pieces, tell: Tell = lambda _: None) -> None:
    """Piece by piece, each in a transaction of its own."""
    while True:
        with transaction(connection):
            progress = next(pieces, None)
        if progress is None:
            return
        tell(progress)
        time.sleep(_PAUSE_S)
