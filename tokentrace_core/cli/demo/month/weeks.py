"""Two comparable weeks of which the second costs twice as much, for a reason that is known.

The same agents have the same runs at the same times of the week, by the same users. From the first day of the second
week one thing, or two, are different: one of the causes that requirement S120 tells by their symptoms, or dearer models.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from tokentrace_core.cli.demo.month.stage import Stage, Visit
from tokentrace_core.cli.demo.month.timeline import StoryTime
from tokentrace_core.cli.demo.month.traffic import AGENTS, visits
from tokentrace_core.cli.demo.month.writing import Progress, play, record
from tokentrace_core.pricing import PriceBook

_WEEK = timedelta(days=7)
#: Numbers of the second week's runs begin here: a multiple of every rhythm in which an agent's runs differ.
_SECOND = 36_000


class Change(NamedTuple):
    """What is different in the second week, in words, and where."""

    agent: str
    step: str
    what: str
    plant: str
    """What the agents know it by."""


CHANGES = {
    "cache_misses": Change(
        "code-reviewer", "file", "the time of day moved to the top of the system prompt", "broken_cache"
    ),
    "more_retrieved": Change(
        "docs", "answer", "the retriever returns fourteen passages, not three", "more_retrieved"
    ),
    "tool_errors": Change(
        "support", "look up", "order_lookup fails with 500, and is asked for again", "tool_errors"
    ),
    "verbose_output": Change("docs", "answer", "answers are six times as long", "verbose_output"),
    "one_user": Change("support", "search_help", "amelia-1 pastes logs of 7,500 tokens", "one_user"),
    "dearer_models": Change(
        "docs", "answer", "three of five questions go to gpt-4o, not to gpt-4.1-mini", "dearer_models"
    ),
}
#: The cases, each with the factor on the number of runs of its agents; all others have a third of their own.
CASES: dict[str, Mapping[str, float]] = {
    "cache_misses": {"code-reviewer": 2},
    "more_retrieved": {"docs": 8},
    "tool_errors": {"support": 3},
    "verbose_output": {"docs": 8},
    "one_user": {"support": 2},
    "dearer_models": {"docs": 4},
    "cache_misses+verbose_output": {"code-reviewer": 2, "docs": 4},
    "tool_errors+one_user": {"support": 3},
}
_OTHERS = 0.33


class Cause(NamedTuple):
    """One thing that is different in the second week."""

    name: str
    agent: str
    """The run's name."""
    step: str
    what: str
    nano_usd: int
    """What it adds to the second week, alone."""


class Weeks(NamedTuple):
    """What was recorded."""

    case: str
    before: tuple[datetime, datetime]
    after: tuple[datetime, datetime]
    nano_before: int
    nano_after: int
    causes: tuple[Cause, ...]
    """The dearest first."""


def write_weeks(
    path: str | os.PathLike[str],
    case: str,
    *,
    seed: int = 1,
    start: datetime | None = None,
    progress: Progress | None = None,
) -> Weeks:
    """Record the two weeks of one of `CASES` into a file.

    `start`: the first midnight; by default so that the last day is yesterday. Raises ValueError for an unknown case.
    """
    if case not in CASES:
        raise ValueError(f"there is no case {case!r}; there are {', '.join(CASES)}")
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    begin = start or today - 2 * _WEEK
    names = case.split("+")
    mix = {agent.name: CASES[case].get(agent.name, _OTHERS) for agent in AGENTS}
    first = visits(seed, begin, _WEEK.days, 1, mix)
    prices = PriceBook()
    stage = record(Path(path), [*first, *_second(first, names)], seed, prices, progress)
    usual = _cost(_second(first, []), seed, prices)
    causes = [
        Cause(name, *CHANGES[name][:3], _cost(_second(first, [name]), seed, prices) - usual) for name in names
    ]
    of_first = sum(bill.nano_usd for (_, number, _), bill in stage.bills.items() if number < _SECOND)
    return Weeks(
        case=case,
        before=(begin, begin + _WEEK),
        after=(begin + _WEEK, begin + 2 * _WEEK),
        nano_before=of_first,
        nano_after=sum(bill.nano_usd for bill in stage.bills.values()) - of_first,
        causes=tuple(sorted(causes, key=lambda cause: -cause.nano_usd)),
    )


def _second(first: list[Visit], names: list[str]) -> list[Visit]:
    """The same visits a week later, with these changes."""
    week_us = round(_WEEK.total_seconds() * 1e6)
    plants = {
        agent.name: frozenset(CHANGES[name].plant for name in names if CHANGES[name].agent == agent.name)
        for agent in AGENTS
    }
    return [
        visit._replace(
            number=visit.number + _SECOND,
            at=visit.at + week_us,
            day=visit.day + _WEEK.days,
            plant=plants[visit.agent],
        )
        for visit in first
    ]


def _cost(told: list[Visit], seed: int, prices: PriceBook) -> int:
    """What these runs would cost."""
    stage = Stage(StoryTime(seed), prices)
    play(stage, told, None)
    return sum(bill.nano_usd for bill in stage.bills.values())
