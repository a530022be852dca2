"""What all commands understand: `--db`, `--json`, and times as people write them.

`--db` and `--json` may stand before or after the command; both places write into the same `Settings`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from tokentrace_core.tracer import default_path

F = TypeVar("F", bound=Callable[..., Any])

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"([0-9]+)([smhdw])", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Settings:
    """What the shared options said."""

    db: Path | None = None
    json: bool = False

    @property
    def path(self) -> Path:
        return self.db or default_path()


def _set_db(context: click.Context, _: click.Parameter, value: Path | None) -> None:
    if value is not None:
        context.ensure_object(Settings).db = value


def _set_json(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Settings).json = True


def common_options(command: F) -> F:
    """`--db` and `--json`, which reach the command as its `Settings`."""
    command = click.option(
        "--json", is_flag=True, expose_value=False, callback=_set_json, help="Print JSON, and nothing else."
    )(command)
    return click.option(
        "--db",
        metavar="PATH",
        type=click.Path(path_type=Path),
        expose_value=False,
        callback=_set_db,
        help="The trace file. Default: TOKENTRACE_DB, else ./traces.db.",
    )(command)


pass_settings = click.make_pass_decorator(Settings, ensure=True)


def microseconds_of(text: str) -> int:
    """A time as people write it, as microseconds since the epoch. Raises `click.BadParameter`."""
    try:
        return _microseconds(_point(text.strip()))
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(
            f"{text!r} is no time. Write 30m, 24h, 7d or 2w (ago), a date such as 2026-11-20, "
            "or a time such as 2026-11-20T13:00:00Z."
        ) from error


def moment(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    return None if value is None else microseconds_of(value)


since_option = click.option(
    "--since",
    metavar="TIME",
    callback=moment,
    help="Only what began since: 30m, 24h, 7d, 2w ago, or a date or time (ISO 8601, UTC if it names no zone).",
)

until_option = click.option(
    "--until",
    metavar="TIME",
    callback=moment,
    help="Only what began before then, written in the same way.",
)


def _point(text: str) -> datetime:
    if duration := _DURATION.fullmatch(text):
        count, unit = duration.groups()
        return datetime.now(UTC) - timedelta(**{_UNITS[unit]: int(count)})
    point = datetime.fromisoformat(text)
    return point if point.tzinfo else point.replace(tzinfo=UTC)


def _microseconds(point: datetime) -> int:
    return (point - _EPOCH) // timedelta(microseconds=1)
