"""A user's own patterns: compiled, named, and kept from running away.

Nobody promises that a user's pattern is linear, and Python cannot stop one that runs. So a pattern is tried on windows
of a text rather than on all of it, which keeps the cost of a quadratic one in proportion. One that takes exponential
time is found out when it is built, by feeding it repetitions of its own characters; texts it would be tried on are
dropped, since a rule that cannot be tried has not said that there is nothing private in them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence

import msgspec

from tokentrace_core.redaction_rule import WHOLE, Rule
from tokentrace_core.redaction_search import TooSlow
from tokentrace_core.redaction_sheet import Region, Sheet, scan
from tokentrace_core.shield import warn_once

#: How long a find of an own pattern may be, context included, if the text is longer than twice that.
LONGEST = 2_048
#: A text as short as this is tried even on a pattern that is exponential.
_HARMLESS = 20
_GROWTH = 4.0
_NOTICEABLE_S = 0.002


def own_rules(patterns: Mapping[str, str] | Sequence[Rule]) -> list[Rule]:
    """`{"EMPLOYEE_ID": r"E[0-9]{6}"}`, or rules that a user has made. Raises ValueError for one that does not compile."""
    rules = (
        [Rule(name, _placeholder(name), _compiled(name, pattern)) for name, pattern in patterns.items()]
        if isinstance(patterns, Mapping)
        else patterns
    )
    return [bounded for rule in rules for bounded in _bounded(rule)]


def _placeholder(name: str) -> str:
    return name if name.startswith("[") else f"[{name}_REDACTED]"


def _compiled(name: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"extra pattern {name!r} is not a regular expression: {error}") from error


def _bounded(rule: Rule) -> list[Rule]:
    if rule.within is not None:
        return [rule]
    window = max(rule.window, LONGEST)
    if not runs_away(rule.pattern):
        return [msgspec.structs.replace(rule, within=windows, window=window)]
    warn_once(
        f"the redaction pattern {rule.name!r} takes exponential time; texts of more than {_HARMLESS} characters "
        "are dropped because of it. Write it without a repetition inside a repetition"
    )
    short = msgspec.structs.replace(rule, within=_short, window=window)
    return [short, Rule(rule.name, rule.placeholder, WHOLE, within=_long, extent=_give_up)]


@scan(apart=True)
def windows(sheet: Sheet) -> list[Region]:
    """All of the text, in overlapping pieces."""
    length = len(sheet.text)
    if length <= 2 * LONGEST:
        return [(0, length)]
    return [(start, min(start + 2 * LONGEST, length)) for start in range(0, length - LONGEST, LONGEST)]


@scan()
def _short(sheet: Sheet) -> list[Region]:
    return [(0, len(sheet.text))] if len(sheet.text) <= _HARMLESS else []


@scan()
def _long(sheet: Sheet) -> list[Region]:
    return [(0, len(sheet.text))] if len(sheet.text) > _HARMLESS else []


def _give_up(text: str, start: int, end: int) -> Region:
    raise TooSlow


def runs_away(pattern: re.Pattern[str]) -> bool:
    """Whether its time multiplies with each few characters of some text made of what stands in it."""
    words = re.findall(r"[A-Za-z0-9]+", re.sub(r"\\.", " ", pattern.pattern))
    pieces = {*pattern.pattern[:200], *words[:8], *"aA0 .-_@", "a ", "a.", "0 ", "0-"}
    return any(_multiplies(pattern, piece) for piece in sorted(pieces))


def _multiplies(pattern: re.Pattern[str], piece: str) -> bool:
    before = 0.0
    for length in (8, 11, 14, 17, 20, 23, 26):
        text = (piece * length)[: max(length, len(piece) * 4)] + "\1"
        started = time.thread_time()
        pattern.search(text)
        took = time.thread_time() - started
        if took > _NOTICEABLE_S and took > _GROWTH * before:
            # Once more, because the machine may have been busy.
            started = time.thread_time()
            pattern.search(text)
            return time.thread_time() - started > _NOTICEABLE_S / 2
        before = took
    return False
