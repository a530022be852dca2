"""`tokentrace demo --month`: the audit case of a whole month in one file, and what to ask of it.

Into a file of its own: invented traffic among somebody's real runs could never be told apart again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from tokentrace_core.cli import figures
from tokentrace_core.cli.demo.month.waste import Planted
from tokentrace_core.cli.demo.month.writing import write_month
from tokentrace_core.cli.options import Settings
from tokentrace_core.cli.output import console, write_json
from tokentrace_core.cli.progress import progress
from tokentrace_core.errors import TokentraceError
from tokentrace_core.money import show_usd
from tokentrace_core.store.pieces import Progress
from tokentrace_core.store.reader import Reader

_NEXT = (
    "tokentrace audit",
    "tokentrace cost --by agent,model",
    "tokentrace cost --by day --since 7d",
    "tokentrace why",
)


def write_demo_month(settings: Settings) -> None:
    """Write it and say what is in it."""
    _check_is_unused(settings.path)
    with progress(settings) as tell:
        planted = write_month(
            settings.path, progress=lambda done, of: tell(Progress("writing a month", done, of))
        )
    if settings.json:
        write_json(_document(settings.path, planted))
        return
    _print(console(), settings, planted)


def _check_is_unused(path: Path) -> None:
    """Raises `TokentraceError` if there are runs in the file."""
    if not path.exists() or not path.stat().st_size:
        return
    with Reader(path) as reader:
        if reader.runs(1):
            raise TokentraceError(
                f"{path} holds runs already, and a month of invented ones could not be told from them. Give it a file "
                "of its own: tokentrace demo --month --db month.db"
            )


def _print(screen: Console, settings: Settings, planted: Planted) -> None:
    places = sorted(planted.places.values(), key=lambda place: -place.nano_usd)
    screen.print(
        f"A month of five agents is in {settings.path}: {figures.tokens(planted.total_tokens)} tokens, "
        f"{show_usd(planted.total_nano_usd)}. {planted.token_share:.0%} of the tokens are wasted, in four places:",
        soft_wrap=True,
    )
    for place in places:
        screen.print(f"  {show_usd(place.nano_usd):>8}  {place.agent}: {place.what}", soft_wrap=True)
    where = "" if settings.db is None else f" --db {settings.db}"
    screen.print("Let tokentrace find them:", soft_wrap=True)
    for command in _NEXT:
        screen.print(f"  {command}{where}", soft_wrap=True)


def _document(path: Path, planted: Planted) -> dict[str, Any]:
    return {
        "file": str(path),
        "tokens": planted.total_tokens,
        "cost_nano_usd": planted.total_nano_usd,
        "planted": [
            {
                "kind": place.kind,
                "agent": place.agent,
                "what": place.what,
                "tokens": place.tokens,
                "cost_nano_usd": place.nano_usd,
                "calls": len(place.calls),
            }
            for place in planted.places.values()
        ],
    }
