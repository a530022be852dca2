"""What runs in a process of its own: one module per measure, with a function `measure` that gives its figures."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Place(NamedTuple):
    """Where a sample is taken."""

    recorder: str | None
    folder: Path
    """For its files; removed once the process has ended."""
    sink: str
    """Where a peer delivers to."""
