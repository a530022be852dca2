"""Recall and false positives, by type, for the tuning part and the held-out part."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from tests.redaction.contexts import contexts_of, is_held_out
from tests.redaction.disguises import BEGIN, END, disguises_of
from tests.redaction.lookalikes import LOOKALIKES, TEXTS
from tests.redaction.secrets import KINDS
from tokentrace_core import Redactor

#: So many characters of a secret that survive in a row are a leak.
_LEAK = 4


class Case(NamedTuple):
    kind: str
    text: str
    secret: str
    """Empty for a look-alike: nothing may change."""
    held_out: bool
    template: str


class Score(NamedTuple):
    right: int
    total: int

    @property
    def share(self) -> float:
        return self.right / self.total if self.total else 1.0

    def interval(self) -> tuple[float, float]:
        """Wilson, 95 %."""
        if not self.total:
            return 0.0, 1.0
        z, n, p = 1.96, self.total, self.share
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        return middle - half, middle + half


def plain(size: int, seed: int) -> Iterator[Case]:
    """`size` cases of each kind."""
    for kind, make in KINDS.items():
        r, templates = Random(f"{seed}{kind}"), contexts_of(kind)
        for number in range(size):
            template, secret = templates[number % len(templates)], make(r)
            yield Case(kind, _filled(template, secret), secret, is_held_out(kind + template), template)


def disguised(size: int, seed: int) -> Iterator[Case]:
    for kind, make in KINDS.items():
        r, templates, ways = Random(f"{seed}{kind}d"), contexts_of(kind), disguises_of(kind)
        for number in range(size if ways else 0):
            way, template = ways[number % len(ways)], r.choice(templates)
            shown = way(make(r), r)
            secret = shown[shown.find(BEGIN) + 1 : shown.find(END)] if BEGIN in shown else shown
            shown = shown.replace(BEGIN, "").replace(END, "")
            name = f"{getattr(way, '__name__', 'way')}: {template}"
            yield Case(kind, _filled(template, shown), secret, is_held_out(kind + name), name)


def lookalikes(size: int, seed: int) -> Iterator[Case]:
    for kind, make in LOOKALIKES.items():
        r = Random(f"{seed}{kind}")
        for number in range(size):
            template = TEXTS[number % len(TEXTS)]
            yield Case(kind, _filled(template, make(r)), "", is_held_out(kind + template), template)


def _filled(template: str, value: str) -> str:
    return template.replace("{x}", value).replace("{{", "{").replace("}}", "}")


def is_right(case: Case, redactor: Redactor) -> bool:
    """A secret is caught if no piece of it survives; a look-alike if nothing of its text is gone."""
    redacted = redactor.redact(case.text)
    if not case.secret:
        return redacted == case.text
    rest = case.text.replace(case.secret, "")
    pieces = (case.secret[at : at + _LEAK] for at in range(max(1, len(case.secret) - _LEAK + 1)))
    return not any(piece in redacted and piece not in rest and not _is_sign(piece) for piece in pieces)


def _is_sign(piece: str) -> bool:
    return (
        not any(map(str.isalnum, piece))
        or piece in "[SSN_REDACTED] [EMAIL_REDACTED] [REDACTED] PRIVATE KEY-----"
    )


def scores(cases: Iterator[Case], redactor: Redactor) -> dict[bool, dict[str, Score]]:
    """By part (held out or not) and kind."""
    right: dict[tuple[bool, str], int] = defaultdict(int)
    total: dict[tuple[bool, str], int] = defaultdict(int)
    for case in cases:
        total[case.held_out, case.kind] += 1
        right[case.held_out, case.kind] += is_right(case, redactor)
    return {
        part: {
            kind: Score(right[part, kind], count) for (where, kind), count in total.items() if where is part
        }
        for part in (False, True)
    }


def whole(by_kind: dict[str, Score]) -> Score:
    return Score(
        sum(score.right for score in by_kind.values()), sum(score.total for score in by_kind.values())
    )
