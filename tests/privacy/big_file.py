"""A trace file of any size, as agents would have written it, made in a minute instead of an hour.

    python -m tests.privacy.big_file traces.db --events 1000000 --users 1000

Events are runs, steps and calls. Each run is a user's: it has five steps of a model call and a tool call, and its prompts
grow by two messages a step. `CANARIES` stand in everything that the user `VICTIM` said and got.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tokentrace_core.payload import content_id
from tokentrace_core.store.rows import INSERT_MESSAGE, INSERT_PROMPT
from tokentrace_core.store.trace_file import TraceFile, transaction

VICTIM = "ada.lovelace-0815"
CANARIES = [f"canary-{number:02}-{'zyxwv' * 2}" for number in range(20)]
EVENTS_PER_RUN = 16
_STEPS = 5
_FILLER = "the quick brown fox jumps over the lazy dog of the order desk and asks again for the parcel; "
_DAY_US = 86_400_000_000
MODELS = ("gpt-4o", "claude-sonnet-4-5", "gemini-2.5-pro")


def user_name(number: int) -> str:
    return VICTIM if number == 7 else f"user-{number:04}-{content_id(str(number))[:6]}"


class Writing:
    """Rows into one open file."""

    def __init__(self, file: sqlite3.Connection, users: int, seed: int = 1) -> None:
        self._file = file
        self._users = users
        self._chance = random.Random(seed)
        self._span = self._depth = 0
        self._system = self._message({"role": "system", "content": f"You are a clerk. {_FILLER * 4}"})

    def run(self, number: int, started_at: int, days: float = 0.0) -> None:
        """One run of the user whose turn it is, begun `days` before `started_at`."""
        user = user_name(number % self._users)
        self._canaries = iter(CANARIES * 2) if user == VICTIM else None
        at = started_at - int(days * _DAY_US)
        run_id = f"{at:016x}{self._chance.getrandbits(64):016x}"
        session = f"session-{number % (self._users * 3)}-{user[-6:]}"
        model = MODELS[number % len(MODELS)]
        self._add(
            "sessions", id=session, user_id=user, project="shop", started_at=at, metadata=self._json("about")
        )
        prompt = self._prompt(None, self._system)
        prompt = self._prompt(prompt, self._message({"role": "user", "content": self._text("asks")}))
        cost = 0
        for step in range(_STEPS):
            step_id, call_id, tool_id = self._id(), self._id(), self._id()
            shared = {
                "run_id": run_id,
                "started_at": at + step,
                "ended_at": at + step + 1,
                "status": "success",
            }
            answer = self._message({"role": "assistant", "content": self._text("says")})
            nano = 1_000 * (number % 97) + step
            cost += nano
            self._add(
                "steps",
                id=step_id,
                number=step + 1,
                agent="clerk",
                agent_step=step + 1,
                reasoning=self._text("thinks"),
                **shared,
            )
            self._add(
                "llm_calls", id=call_id, step_id=step_id, kind="chat", provider="openai", model=model,
                input_uncached_tokens=900 + step, cache_read_tokens=100, output_tokens=40, usage_source="reported",
                cost_nano_usd=nano, cost_status="priced", prompt_id=prompt, output_id=answer, **shared,
            )  # fmt: skip
            result = self._text("finds")
            self._add(
                "tool_calls", id=tool_id, step_id=step_id, kind="tool", name="lookup", arguments=self._json("seeks"),
                arguments_hash=content_id(result), result=result, result_bytes=len(result), **shared,
            )  # fmt: skip
            if step == _STEPS - 1:
                break  # nobody sent these any more
            prompt = self._prompt(prompt, answer)
            prompt = self._prompt(prompt, self._message({"role": "tool", "content": result}))
        self._add("scores", id=self._id(), run_id=run_id, span_id=run_id[:16], name="useful", value=1.0,
                  comment=self._text("judged"), created_at=at)  # fmt: skip
        self._add(
            "runs", id=run_id, session_id=session, user_id=user, project="shop", framework="langchain", name="triage",
            status="success", started_at=at, ended_at=at + 10, input=self._text("asks"), output=self._text("gets"),
            error=self._text("errs"), steps=_STEPS, llm_calls=_STEPS, tool_calls=_STEPS, refused_calls=0, waiting_ms=0,
            input_tokens=1_000 * _STEPS + 10, cached_tokens=100 * _STEPS, output_tokens=40 * _STEPS, cost_nano_usd=cost,
            unpriced_calls=0, unpriced_tokens=0, estimated_calls=0,
        )  # fmt: skip

    def _text(self, what: str) -> str:
        mark = next(self._canaries, "") if self._canaries else ""
        return f"{what} {self._chance.getrandbits(64):x} {mark} {_FILLER * self._chance.randint(1, 5)}"

    def _json(self, what: str) -> str:
        return json.dumps({"what": self._text(what)})

    def _id(self) -> str:
        self._span += 1
        return f"{self._span:016x}"

    def _message(self, message: dict[str, str]) -> str:
        body = json.dumps(message)
        self._file.execute(INSERT_MESSAGE, [content_id(body), message["role"], body, len(body)])
        return content_id(body)

    def _prompt(self, parent: str | None, message: str) -> str:
        prompt = content_id((parent or "") + message)
        self._depth = self._depth + 1 if parent else 1
        told = self._file.execute("select role, bytes from messages where id = ?", [message]).fetchone()
        self._file.execute(INSERT_PROMPT, [prompt, parent, message, self._depth, *told])
        return prompt

    def _add(self, table: str, **row: object) -> None:
        names = ", ".join(row)
        self._file.execute(
            f"insert or ignore into {table} ({names}) values ({', '.join('?' * len(row))})",
            list(row.values()),
        )


def make(path: Path, runs: int, users: int, days: float = 0.0) -> None:
    """A file of so many runs, spread evenly over the last `days`, oldest first."""
    file = TraceFile(path)
    connection = file.open().conn
    connection.execute("pragma synchronous = off")
    now = time.time_ns() // 1_000
    with transaction(connection):
        writing = Writing(connection, users)
    for first in range(0, runs, 500):
        with transaction(connection):
            for number in range(first, min(first + 500, runs)):
                writing.run(number, now - 1_000 * (runs - number), days * (1 - number / runs))
    file.close()


def totals(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """What the others have: to be the same after a purge, to the nano-dollar."""
    with closing(sqlite3.connect(path)) as connection:
        questions = {
            "by user": "select user_id, count(*), sum(cost_nano_usd), sum(input_tokens), sum(output_tokens) from runs"
            " where user_id != ? group by 1 order by 1",
            "by model": "select model, count(*), sum(cost_nano_usd), sum(input_tokens) from calls where user_id != ? group by 1 order by 1",
        }
        return {name: connection.execute(sql, [VICTIM]).fetchall() for name, sql in questions.items()}


def hits(path: Path, needles: list[str]) -> dict[str, int]:
    """How often these bytes stand in the file and in what lies beside it."""
    found: dict[str, int] = {}
    for file in sorted(path.parent.glob(f"{path.name}*")):
        for chunk in _chunks(file):
            for needle in needles:
                for spelled in (needle.encode(), needle.encode("utf-16-le")):
                    if count := chunk.count(spelled):
                        found[f"{file.name}: {needle}"] = found.get(f"{file.name}: {needle}", 0) + count
    return found


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as raw:
        before = b""
        while chunk := raw.read(16 << 20):
            yield before + chunk
            before = chunk[-200:]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=1_000)
    parser.add_argument("--days", type=float, default=0.0)
    asked = parser.parse_args()
    make(asked.path, asked.events // EVENTS_PER_RUN, asked.users, asked.days)
