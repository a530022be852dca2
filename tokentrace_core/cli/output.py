"""Where output goes: a rich console for people, one JSON document for programs.

On a terminal lines fit its width. In a pipe nothing is cut and no escape code is written, so that `grep` and
`awk` see whole ids and costs; `COLUMNS` sets a width there too. `NO_COLOR` turns all styles off
(no-color.org: set, and not empty).
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
from typing import Any

import click
from rich.console import Console

#: No line of ours is this long.
_UNBOUNDED = 100_000
_NARROW = 120
#: What JSON leaves as it is and a terminal might obey.
_OBEYED = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def console() -> Console:
    """The console for stdout as it is now."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that knows no ✗ shows a ?
    bounded = sys.stdout.isatty() or "COLUMNS" in os.environ
    plain = bool(os.environ.get("NO_COLOR")) or not sys.stdout.isatty()
    return Console(
        width=None if bounded else _UNBOUNDED,
        color_system=None if plain else "auto",
        no_color=plain,
        highlight=False,
        markup=False,
        emoji=False,
    )


def is_bounded(screen: Console) -> bool:
    """On a terminal or where `COLUMNS` is set: what is long is shortened."""
    return screen.width < _UNBOUNDED


def is_narrow(screen: Console) -> bool:
    """Too narrow for every column; rare ones are left out or merged."""
    return screen.width < _NARROW


def write_json(document: Any) -> None:
    """One JSON document, indented."""
    click.echo(_harmless(json.dumps(document, ensure_ascii=False, indent=2)))


def write_json_line(document: Any) -> None:
    """One JSON document on one line, at once."""
    click.echo(_harmless(json.dumps(document, ensure_ascii=False)))


def _harmless(document: str) -> str:
    """Such characters stand only inside JSON strings, where an escape means the same."""
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", document)
