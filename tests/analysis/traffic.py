"""Traffic with everything that a sum can get wrong: shared steps, own costs, unpriced, estimated, failed and refused calls."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.core.test_cli import reply
from tokentrace_core import Budget, BudgetExceeded, ModelPrice, PriceBook, Tracer
from tokentrace_core.call_blocks import LLMBlock

PRICES = PriceBook({"small": ModelPrice(input=1, output=10), "large": ModelPrice(input=7, output=30)})
BUDGET = Budget(steps=7)
_WRONG = (ValueError("bad arguments"), TimeoutError("slow"), RuntimeError("gone"))


def record(tracer: Tracer, seed: int, runs: int = 12) -> None:
    """Some runs, each another. Needs a tracer with `PRICES` and `BUDGET`."""
    chance = random.Random(seed)
    for number in range(runs):
        facts: dict[str, Any] = {
            "user": chance.choice([None, "ada", "bob"]),
            "session": chance.choice([None, "thread"]),
            "task_type": chance.choice([None, "support", "code"]),
            "agent_version": chance.choice(["1", "2"]),
            "tags": chance.sample(["beta", "night", "x,y"], chance.randint(0, 3)),
            "attributes": chance.choice([{}, {"tier": "gold"}, {"tier": 3}, {"trial": True}]),
        }
        try:
            with tracer.run(f"name-{number % 3}", **facts):
                _steps(tracer, chance)
                if chance.random() < 0.2:
                    raise chance.choice(_WRONG)
        except (BudgetExceeded, *map(type, _WRONG)):
            pass


def _steps(tracer: Tracer, chance: random.Random, depth: int = 0) -> None:
    for _ in range(chance.randint(0, 5)):
        with tracer.step(chance.choice([None, "plan", "act"])):
            for _ in range(chance.choice([0, 1, 1, 2])):
                _ask(
                    tracer.llm(
                        chance.choice(["small", "large", "foo-9"]), messages="x" * chance.randint(1, 99)
                    ),
                    chance,
                )
            for _ in range(chance.choice([0, 0, 1, 2, 3])):
                _use(tracer, chance)
            if depth == 0 and chance.random() < 0.2:
                with tracer.run("helper"):
                    _steps(tracer, chance, depth + 1)


def _ask(block: LLMBlock, chance: random.Random) -> None:
    try:
        with block as call:
            if chance.random() < 0.2:
                raise chance.choice(_WRONG)
            sent = chance.randint(1, 5_000)
            usage = {"sent": sent, "cached": chance.randint(0, sent), "got": chance.randint(0, 900)}
            call.done(chance.choice([reply(**usage), "an answer without usage"]))
            call.set(region=chance.choice(["eu", "us"]))
    except tuple(map(type, _WRONG)):
        pass


def _use(tracer: Tracer, chance: random.Random) -> None:
    try:
        with tracer.tool(chance.choice(["lookup", "mail"]), {"q": chance.randint(0, 1)}) as tool:
            if chance.random() < 0.4:
                raise chance.choice(_WRONG)
            tool.done("ok", cost_usd=chance.choice([None, "0.0000017"]))
    except tuple(map(type, _WRONG)):
        pass


def without_synopses(source: Path, path: Path) -> Path:
    """The file as an earlier version would have left it."""
    with closing(sqlite3.connect(source)) as full, closing(sqlite3.connect(path)) as copy:
        full.backup(copy)
        copy.execute("alter table runs drop column synopsis")
        copy.commit()
    return path
