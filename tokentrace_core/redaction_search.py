"""Where the rules find something in a text: positions and the rule's rank, nothing is replaced yet.

The rules read the text as a person does. Digits, dashes and blanks of other scripts count as their ASCII likeness and
invisible characters as nothing, so they carry no number past a rule; what is found is reported where it stands in the
original. Rules that share a scan (`Rule.within`) are tried together, so that each scan runs once per text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias

from tokentrace_core.redaction_rules import Rule

Span: TypeAlias = tuple[int, int, int]
"""Start, end and the rank of the rule that found it: where finds overlap, the lowest rank names the secret."""


class RuleSearch:
    """All rules as one search. Raises what a rule raises."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._scoped: dict[re.Pattern[str] | None, list[tuple[int, Rule]]] = {}
        for rank, rule in enumerate(rules):
            self._scoped.setdefault(rule.within, []).append((rank, rule))

    def find(self, text: str) -> list[Span]:
        if text.isascii() or _HIDING.isdisjoint(text):
            return self._find_plain(text)
        plain, origin = _unhide(text)
        return [(origin[start], origin[end - 1] + 1, rank) for start, end, rank in self._find_plain(plain)]

    def _find_plain(self, text: str) -> list[Span]:
        spans: list[Span] = []
        for scope, rules in self._scoped.items():
            regions = [(0, len(text))] if scope is None else [match.span() for match in scope.finditer(text)]
            if not regions:
                continue
            for rank, rule in rules:
                if rule.needs and not any(map(text.__contains__, rule.needs)):
                    continue
                for start, end in regions:
                    if end - start >= rule.least:
                        # Wider on both sides: signs in front of the first digit, and what look-aheads want to see.
                        _search(rule, rank, text, max(0, start - 3), min(end + 2, len(text)), spans)
        return spans


def _search(rule: Rule, rank: int, text: str, start: int, end: int, spans: list[Span]) -> None:
    """Adds the rule's matches. After a refused one the search goes on one character later, not behind it: a number
    may begin inside a look-alike."""
    while start < end and (match := rule.pattern.search(text, start, end)) is not None:
        start = match.start() + 1
        found = _grown(rule, text, match)
        if found is not None and (rule.accept is None or rule.accept(text, *found)):
            spans.append((*found, rank))
            start = max(start, match.end())


def _grown(rule: Rule, text: str, match: re.Match[str]) -> tuple[int, int] | None:
    start, end = match.span("secret") if "secret" in rule.pattern.groupindex else match.span()
    if rule.behind is not None:
        before = rule.behind.match(text[max(0, start - 160) : start][::-1])
        if before is None:
            return None
        start -= before.end()
    return (start, end) if start < end else None


# Characters that look like ASCII or like nothing, and would carry a number past the rules.
_INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff"
_DIGIT_ZEROS = (0x0660, 0x06F0, 0x0966, 0x09E6, 0x0E50, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6)
_LOOKALIKES = (
    {full: chr(full - 0xFEE0) for full in range(0xFF01, 0xFF5F)}
    | {zero + digit: str(digit) for zero in _DIGIT_ZEROS for digit in range(10)}
    | dict.fromkeys((0x2010, 0x2011, 0x2012, 0x2013, 0x2212, 0xFE58, 0xFE63), "-")
    | dict.fromkeys((0x00A0, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000), " ")
)
#: A set, because it is ten times quicker to ask than a pattern of so many characters.
_HIDING = frozenset(_INVISIBLE) | frozenset(map(chr, _LOOKALIKES))
_HIDDEN = re.compile(f"[{_INVISIBLE}]")


def _unhide(text: str) -> tuple[str, Sequence[int]]:
    """The text as a reader sees it, and for each of its characters where that stands in the original."""
    plain = text.translate(_LOOKALIKES)
    if _HIDDEN.search(plain) is None:
        return plain, range(len(plain))
    origin = [at for at, character in enumerate(plain) if character not in _INVISIBLE]
    return _HIDDEN.sub("", plain), origin
