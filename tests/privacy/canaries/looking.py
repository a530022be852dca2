"""Canaries in what came out, plain or disguised: escaped, encoded, without separators, in pieces.

All disguises of all canaries are looked for at once, by their first bytes, so the time goes with the size of what came out
and not with the number of canaries.
"""

from __future__ import annotations

import base64
import html
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import quote

from tests.privacy.canaries.planting import Canary

#: Of a long secret, how much is more than chance.
_PIECE = 12
#: By so many of its first bytes, read as one number, a disguise is found.
_HEAD = 8


class Leak(NamedTuple):
    """This canary came out here."""

    canary: Canary
    outlet: str
    disguise: str


def leaks(planted: Iterable[Canary], outlets: Mapping[str, bytes]) -> list[Leak]:
    """Every canary that came out, once for each outlet."""
    heads: dict[int, list[tuple[bytes, Canary, str]]] = defaultdict(list)
    for canary in planted:
        for name, disguised in _disguises(canary.core):
            heads[int.from_bytes(disguised[:_HEAD], sys.byteorder)].append((disguised, canary, name))
    found: dict[tuple[Canary, str], Leak] = {}
    for outlet, came_out in outlets.items():
        for at, head in _known(came_out, heads):
            for disguised, canary, name in heads[head]:
                if came_out.startswith(disguised, at):
                    found.setdefault((canary, outlet), Leak(canary, outlet, name))
    return list(found.values())


def _known(came_out: bytes, heads: Container[int]) -> Iterator[tuple[int, int]]:
    """Where one of these heads is, and which."""
    for first in range(min(_HEAD, len(came_out))):
        whole = (len(came_out) - first) // _HEAD * _HEAD
        numbers = memoryview(came_out)[first : first + whole].cast("Q")
        yield from [(first + _HEAD * n, number) for n, number in enumerate(numbers) if number in heads]


def told(found: list[Leak]) -> str:
    """What leaked, as a table of place and outlet: for the message of an assertion."""
    ways: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for leak in found:
        ways[leak.canary.place, leak.outlet][f"{leak.canary.kind} ({leak.disguise})"] += 1
    lines = [
        f"{place:32} -> {outlet:24} {sum(kinds.values()):3} x  {', '.join(list(kinds)[:4])}"
        for (place, outlet), kinds in sorted(ways.items())
    ]
    return "\n".join((f"{len(found)} canaries came out:", *lines))


def _disguises(core: str) -> Iterator[tuple[str, bytes]]:
    seen: set[bytes] = set()
    for piece in _pieces(core):
        for name, disguised in _forms(piece):
            if len(disguised) >= _HEAD and disguised not in seen:
                seen.add(disguised)
                yield name, disguised


def _pieces(core: str) -> list[str]:
    if len(core) < 2 * _PIECE:
        return [core]
    middle = len(core) // 2
    return [core[:_PIECE], core[middle : middle + _PIECE], core[-_PIECE:]]


def _forms(piece: str) -> Iterator[tuple[str, bytes]]:
    raw = piece.encode()
    yield "plain", raw
    yield "JSON", json.dumps(piece)[1:-1].encode()
    yield "JSON in JSON", json.dumps(json.dumps(piece)[1:-1])[1:-1].encode()
    yield "URL", quote(piece, safe="").encode()
    yield "HTML", html.escape(piece).encode()
    yield "small", raw.lower()
    yield "capital", raw.upper()
    yield "hexadecimal", raw.hex().encode()
    if re.search(r"\W", piece):
        for name, separator in (("run together", ""), ("spaces", " "), ("hyphens", "-"), ("underlines", "_")):
            yield name, re.sub(r"\W+", separator, piece).strip(separator).encode()
    for before in range(3):
        # What stands beside it decides its first and last characters.
        coded = base64.b64encode(b"\0" * before + raw)
        yield "base64", coded[-(-before * 4 // 3) : (before + len(raw)) * 4 // 3]
