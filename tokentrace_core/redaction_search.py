"""Where the rules find something in a text: positions and the rule's rank, nothing is replaced yet.

Rules that share a scan (`Rule.within`) are tried together, so that each scan runs once per text. What a rule finds is
reported where it stands in the original, whatever was folded away before the rules read it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TypeAlias

from tokentrace_core.redaction_rule import WHOLE, Rule
from tokentrace_core.redaction_scans import Region, Scan, Sheet

Span: TypeAlias = tuple[int, int, int]
"""Start, end and the rank of the rule that found it: where finds overlap, the lowest rank names the secret."""

#: What a text may cost, and what more for each of its characters.
_PATIENCE_S, _PATIENCE_PER_CHARACTER_S = 2.0, 2e-5


class TooSlow(Exception):
    """A rule takes so long that the text is better dropped."""


class RuleSearch:
    """All rules as one search. Raises what a rule raises, and `TooSlow`."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._scoped: dict[Scan | None, list[tuple[int, Rule]]] = {}
        for rank, rule in enumerate(rules):
            self._scoped.setdefault(rule.within, []).append((rank, rule))

    def find(self, text: str) -> list[Span]:
        sheet = Sheet(text)
        spans: list[Span] = []
        deadline = time.monotonic() + _PATIENCE_S + len(text) * _PATIENCE_PER_CHARACTER_S
        for scan, rules in self._scoped.items():
            regions = [(0, len(text))] if scan is None else sheet.regions(scan)
            if regions:
                for rank, rule in rules:
                    if not rule.needs or any(map(text.__contains__, rule.needs)):
                        found = _search(rule, text, regions, deadline)
                        if found:
                            spans += [(start, end, rank) for start, end in found]
        return spans


def _search(rule: Rule, text: str, regions: list[Region], deadline: float) -> list[Region]:
    """The rule's finds. After a refused match the search goes on one character later, not behind it: a number may
    begin inside a look-alike."""
    left, right = rule.reach
    search, extent, accept = rule.pattern.search, rule.extent, rule.accept
    group = "secret" if "secret" in rule.pattern.groupindex else 0
    once = rule.pattern is WHOLE
    found: list[Region] = []
    done = 0
    for begin, stop in regions:
        start, end = max(done, begin - left), min(stop + right, len(text))
        while start < end and (match := search(text, start, end)) is not None:
            span: Region | None = match.span(group)
            if extent is not None:
                span = extent(text, *match.span(group))
            start = end if once else match.start() + 1
            if span is not None and span[0] < span[1] and (accept is None or accept(text, *span)):
                found.append(span)
                done = start = max(start, match.end(), span[1])
            if time.monotonic() > deadline:
                raise TooSlow(rule.name)
    return found
