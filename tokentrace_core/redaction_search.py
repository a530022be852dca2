"""Where the rules find something in a text: positions and the rule's rank, nothing is replaced yet.

Rules that share a scan (`Rule.within`) are tried together, so that each scan runs once per text. What a rule finds is
reported where it stands in the original, whatever was folded away before the rules read it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from tokentrace_core.redaction_rule import WHOLE, Rule
from tokentrace_core.redaction_scans import everywhere
from tokentrace_core.redaction_sheet import Region, Scan, Sheet

Span: TypeAlias = tuple[int, int, int]
"""Start, end and the rank of the rule that found it: where finds overlap, the lowest rank names the secret."""

#: What a text may cost, and what more for each of its characters.
_PATIENCE_S, _PATIENCE_PER_CHARACTER_S = 2.0, 2e-5
#: Longer than whatever may begin inside something that only looks like it.
_LONG_MATCH = 128


class TooSlow(Exception):
    """A rule takes so long that the text is better dropped."""


class RuleSearch:
    """All rules as one search. Raises what a rule raises, and `TooSlow`."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._scoped: dict[Scan, list[tuple[int, Rule, int | str]]] = {}
        for rank, rule in enumerate(rules):
            group = "secret" if "secret" in rule.pattern.groupindex else 0
            self._scoped.setdefault(rule.within or everywhere, []).append((rank, rule, group))
        #: What is to be tried on a text, by its signs.
        self._plans: dict[int, list[tuple[Scan, list[tuple[int, Rule, int | str]]]]] = {}

    def find(self, text: str) -> list[Span]:
        return self.look(Sheet(text))

    def look(self, sheet: Sheet) -> list[Span]:
        text = sheet.text
        spans: list[Span] = []
        deadline = 0.0
        for scan, rules in self._plan(sheet.signs):
            regions = sheet.regions(scan)
            if not regions:
                continue
            deadline = deadline or time.monotonic() + _PATIENCE_S + len(text) * _PATIENCE_PER_CHARACTER_S
            for rank, rule, group in rules:
                if not rule.needs or any(map(text.__contains__, rule.needs)):
                    _search(rule, rank, group, text, regions, deadline, spans)
        return spans

    def _plan(self, signs: int) -> list[tuple[Scan, list[tuple[int, Rule, int | str]]]]:
        plan = self._plans.get(signs)
        if plan is None:
            plan = [(scan, rules) for scan, rules in self._scoped.items() if not scan.signs & ~signs]
            self._plans[signs] = plan
        return plan


def _search(
    rule: Rule,
    rank: int,
    group: int | str,
    text: str,
    regions: list[Region],
    deadline: float,
    spans: list[Span],
) -> None:
    """Adds the rule's finds. After a refused match the search goes on one character later, not behind it: a number may
    begin inside a look-alike. Of a long one only the end is tried again, since else it were read once per character."""
    search, extent, accept = rule.pattern.search, rule.extent, rule.accept
    once = rule.pattern is WHOLE
    done = 0
    for start, end in regions if once else _stretches(regions, rule, len(text)):
        if start < done:
            start = done
        while start < end and (match := search(text, start, end)) is not None:
            span: Region | None = match.span(group)
            if extent is not None:
                span = extent(text, *match.span(group))
            first, last = match.span()
            again = first + 1 if last - first <= _LONG_MATCH else last - _LONG_MATCH
            start = end if once else again
            if span is not None and span[0] < span[1] and (accept is None or accept(text, *span)):
                spans.append((*span, rank))
                done = start = max(start, last, span[1])
        if time.monotonic() > deadline:
            raise TooSlow(rule.name)


def _stretches(regions: list[Region], rule: Rule, length: int) -> Iterable[Region]:
    """The regions with their reach, those that overlap as one: so no character is searched twice."""
    if rule.within is not None and rule.within.apart:
        return regions
    return _joined(regions, *rule.reach, length)


def _joined(regions: list[Region], left: int, right: int, length: int) -> Iterator[Region]:
    start, end = 0, -1
    for begin, stop in regions:
        if begin - left > end:
            if end >= 0:
                yield start, end
            start, end = begin - left, stop + right
        elif stop + right > end:
            end = stop + right
    if end >= 0:
        yield start, end if end < length else length
