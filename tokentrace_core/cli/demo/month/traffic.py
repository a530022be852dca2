"""Who asks which agent when: weekdays and office hours, a few users who ask for most, a new version mid month."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from tokentrace_core.cli.demo.month.chores import answer_question, classify, write_report
from tokentrace_core.cli.demo.month.reviewer import review
from tokentrace_core.cli.demo.month.stage import Stage, Visit
from tokentrace_core.cli.demo.month.support import answer_ticket


class Agent(NamedTuple):
    """One agent of the company: what it does, how often, and what can be planted in it."""

    name: str
    work: Callable[[Stage, Visit], None]
    a_month: int
    """Runs in 30 days."""
    versions: tuple[str, str]
    """Before and from the 15th day."""
    plants: tuple[str, ...]
    users: int = 60
    nightly: bool = False


AGENTS = (
    Agent(
        "code-reviewer",
        review,
        80,
        ("3.1", "3.1"),
        ("fan_out", "refetch", "preamble", "broken_cache"),
        users=14,
    ),
    Agent(
        "support", answer_ticket, 100, ("2.3", "2.4"), ("retry_storm", "preamble", "loop", "oversized_result")
    ),
    Agent("docs", answer_question, 280, ("1.0", "1.1"), ("preamble", "unused_tools")),
    Agent("nightly-report", write_report, 30, ("0.9", "0.9"), ("context_rot",), users=0, nightly=True),
    Agent("classifier", classify, 900, ("1.4", "1.4"), ("expensive_model",)),
)
BY_NAME = {agent.name: agent for agent in AGENTS}

_USERS = (
    "amelia", "bruno", "chiara", "dmitri", "elif", "farid", "greta", "hanna", "ivan", "jana", "kofi", "lena",
    "marek", "nadia", "oskar", "paula", "quentin", "rosa", "samir", "tilda",
)  # fmt: skip
_HOURS = (0, 0, 0, 0, 0, 0, 1, 4, 10, 16, 18, 15, 9, 12, 17, 16, 13, 8, 4, 2, 1, 1, 0, 0)
_WEEKEND = 0.12
_POLITE = 0.4
"""The part of the interactions whose answer begins with a preamble."""
_STORMY = 0.48
"""The part of the tickets that meet the order service at its rate limit."""


def visits(
    seed: int, start: datetime, days: int, scale: float, mix: Mapping[str, float] | None = None
) -> list[Visit]:
    """All runs of the period, in the order in which they begin. `scale`, `mix`: factors on how many, of all and by agent."""
    factors = {agent.name: scale * (mix or {}).get(agent.name, 1) for agent in AGENTS}
    made = [visit for agent in AGENTS for visit in _of_agent(agent, seed, start, days, factors[agent.name])]
    return sorted(made, key=lambda visit: (visit.at, visit.agent))


def _of_agent(agent: Agent, seed: int, start: datetime, days: int, scale: float) -> Iterable[Visit]:
    chance = random.Random(f"traffic {seed} {agent.name}")
    weights = [_WEEKEND if (start + timedelta(days=day)).weekday() > 4 else 1.0 for day in range(days)]
    runs = round(agent.a_month * days / 30 * scale)
    chosen = _spread(runs, [1.0] * days if agent.nightly else weights)
    stormy = _evenly(runs, _STORMY)
    polite = _evenly(runs, _POLITE)
    for number, day in enumerate(chosen):
        hour = 2 if agent.nightly else chance.choices(range(24), _HOURS)[0]
        moment = start + timedelta(days=day, hours=hour, seconds=chance.randrange(3_600))
        yield Visit(
            agent=agent.name,
            number=number,
            at=round(moment.timestamp() * 1_000_000) + chance.randrange(1_000_000),
            user=_user(chance, agent.users) if agent.users else None,
            version=agent.versions[day >= 14],
            day=day,
            incident=stormy(number),
            polite=polite(number),
        )


def _spread(runs: int, weights: list[float]) -> list[int]:
    """The day of each run: as many as the weights say, in order."""
    total, day, reached, days = sum(weights), 0, weights[0], []
    for number in range(runs):
        while day + 1 < len(weights) and (number + 0.5) / runs * total > reached:
            day += 1
            reached += weights[day]
        days.append(day)
    return days


def _evenly(runs: int, share: float) -> Callable[[int], bool]:
    """Whether a run is one of this share of all, spread over the whole period."""
    return lambda number: int((number + 1) * share) > int(number * share)


def _user(chance: random.Random, users: int) -> str:
    """One of so many; the first ask for half of all, the last hardly ever."""
    ranks = range(users)
    rank = chance.choices(ranks, [(rank + 1) ** -0.9 for rank in ranks])[0]
    return f"{_USERS[rank % len(_USERS)]}-{rank // len(_USERS) + 1}"
