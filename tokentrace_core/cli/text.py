"""Stored text on a terminal: names, errors and messages come from models and from the web, so they are hostile.

A control character can rename the window, move the cursor over a figure or hide a line; each becomes its
visible picture (ESC is ␛), and what turns the direction of writing becomes `�`. Nothing stored is ever read as
rich markup: it is printed through `rich.text.Text` only.
"""

from __future__ import annotations

_ESCAPES = {code: chr(0x2400 + code) for code in range(0x20)} | {0x7F: "␡"}
_C1_CONTROLS = range(0x80, 0xA0)
_DIRECTIONS = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_LINE_ENDS = (0x2028, 0x2029)
_SURROGATES = range(0xD800, 0xE000)
_INVISIBLE = dict.fromkeys((*_C1_CONTROLS, *_DIRECTIONS, *_LINE_ENDS, *_SURROGATES), "�")
_ONE_LINE = _ESCAPES | _INVISIBLE
_LINES = {code: shown for code, shown in _ONE_LINE.items() if chr(code) not in "\n\t"}


def clean(text: object) -> str:
    """On one line, harmless."""
    return str(text).translate(_ONE_LINE)


def clean_lines(text: object) -> str:
    """Harmless, its line ends and tabs kept."""
    return str(text).replace("\r\n", "\n").translate(_LINES)


def shorten(text: object, limit: int) -> str:
    """On one line, harmless, and at most `limit` characters."""
    line = clean(text)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def first_line(text: str | None, limit: int = 300) -> str:
    """The first line that says something."""
    lines = (line.strip() for line in (text or "").splitlines())
    return shorten(next((line for line in lines if line), ""), limit)
