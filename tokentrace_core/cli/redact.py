"""`tokentrace redact`: a text as it would be recorded, or what in it would be masked, and why.

The command asks the redactor that records traces, so it cannot say anything else than what happens. With `--check` it
names the rule and the place of a find and never the secret, so its output may be shown to anybody.
"""

from __future__ import annotations

import json
import sys
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
from rich.text import Text

from tokentrace_core.cli import figures, main
from tokentrace_core.cli.options import Settings, common_options, pass_settings
from tokentrace_core.cli.output import console, write_json
from tokentrace_core.cli.table import Column, print_table
from tokentrace_core.cli.text import clean
from tokentrace_core.errors import TokentraceError
from tokentrace_core.redact import Redactor
from tokentrace_core.redaction_rules import telling_key

#: The rule's name where a name gave a value away and no rule about texts did.
_BY_NAME = "TELLING_NAME"


class Masked(NamedTuple):
    """One find. `place`: line and column of a text, path of a document, counted from 1 and from `$`."""

    place: str
    rule: str
    placeholder: str
    characters: int


@main.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--check", is_flag=True, help="Do not print the text, but what in it is masked, and why.")
@common_options
@pass_settings
def redact(settings: Settings, file: Path, check: bool) -> None:
    """FILE (text, JSON or JSONL; - for stdin) as it would be recorded.

    With --check: what would be masked, by which rule, and where; never the secret itself.
    """
    text, redactor = _read(file), Redactor()
    if not check:
        click.echo(redactor.redact(text), nl=False)
        return
    finds = list(_in_file(redactor, file, text))
    if settings.json:
        write_json({"finds": [find._asdict() for find in finds], "dropped_texts": redactor.failures})
        return
    if not finds:
        click.echo("Nothing would be masked.")
        return
    _print(finds)


def _read(file: Path) -> str:
    try:
        raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise TokentraceError(f"{file} cannot be read: {error.strerror}") from error
    return raw.decode("utf-8", "replace")


def _in_file(redactor: Redactor, file: Path, text: str) -> Iterator[Masked]:
    document = _document(text)
    if document is not None:
        yield from _in_value(redactor, document, "$")
    elif file.suffix.lower() in (".jsonl", ".ndjson"):
        for number, line in enumerate(text.splitlines(), 1):
            document = _document(line)
            for find in _in_text(redactor, line) if document is None else _in_value(redactor, document, "$"):
                yield find._replace(place=f"line {number}: {find.place}")
    else:
        yield from _in_text(redactor, text)


def _document(text: str) -> Any:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict | list) else None


def _in_text(redactor: Redactor, text: str) -> Iterator[Masked]:
    begins = [0, *(at + 1 for at, sign in enumerate(text) if sign == "\n")]
    for find in redactor.finds(text):
        line = bisect_right(begins, find.start)
        place = f"{line}:{find.start - begins[line - 1] + 1}"
        yield Masked(place, find.rule, find.placeholder, find.end - find.start)


def _in_value(redactor: Redactor, value: Any, path: str, name: str = "") -> Iterator[Masked]:
    if isinstance(value, dict):
        for key, item in value.items():
            shown = f"{path}.{redactor.redact(key)}"
            for find in redactor.finds(key):
                yield Masked(f"{shown} (the name)", find.rule, find.placeholder, find.end - find.start)
            placeholder = telling_key(key)
            if placeholder is not None and item not in (None, "", True, False):
                yield Masked(shown, _BY_NAME, placeholder, len(item) if isinstance(item, str) else 0)
            else:
                yield from _in_value(redactor, item, shown, key)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _in_value(redactor, item, f"{path}[{number}]", name)
    elif value is not None and not isinstance(value, bool):
        yield from _in_leaf(redactor, value, path, name)


def _in_leaf(redactor: Redactor, value: Any, path: str, name: str) -> Iterator[Masked]:
    text = str(value)
    finds = redactor.finds(text) if isinstance(value, str) else []
    for find in finds:
        yield Masked(f"{path} at {find.start + 1}", find.rule, find.placeholder, find.end - find.start)
    shown = next(iter(redactor.redact_value({name: value}).values()))
    if not finds and shown != value:
        yield Masked(path, _BY_NAME, str(shown), len(text))


def _print(finds: list[Masked]) -> None:
    screen = console()
    columns = [
        Column("place", flexible=True),
        Column("rule"),
        Column("becomes"),
        Column("characters", numeric=True),
    ]
    print_table(
        screen,
        columns,
        [
            [
                Text(clean(find.place)),
                Text(find.rule),
                Text(clean(find.placeholder)),
                Text(str(find.characters)),
            ]
            for find in finds
        ],
    )
    screen.print(f"{figures.count(len(finds), 'find')}; nothing was changed.")
