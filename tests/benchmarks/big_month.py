"""A file of a million calls: a month written through the recorder, then its rows copied with new ids and times.

`python -m tests.benchmarks.big_month PATH [CALLS]`. For measuring only: the copies are nobody's traffic. Each is moved by
whole days round the month, run by run, and by a few hours, so that all days fill evenly. It has runs, sessions, prompts and
messages of its own, but shares what runs share in life: system prompts, the files of a repository, tools. Long texts of
the copies are cut to what a report prints; their sizes stay.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tokentrace_core.cli.demo.month import write_month
from tokentrace_core.store.synopsis import FullSynopsis

START = datetime(2026, 10, 1, tzinfo=UTC)
DAYS = 30
#: How much of a month comes from the recorder: of a large file some 10,000 calls, of a small one 250.
_SCALE, _SMALL_SCALE, _SMALL = 4.0, 0.1, 100_000
_HOUR_US = 3_600 * 1_000_000
_DAY_US = 24 * _HOUR_US
_KEPT = 240
_SPANS = ("steps", "llm_calls", "tool_calls", "scores")

#: How far a copy moves what began then: its days go round the month.
_SHIFT = "(({0} - :start + :days) % :month - ({0} - :start) + :hours)"
#: Ends the ids that are new in a copy: so that none of the base ends like it.
_MARK = "printf('%08x', :copy * 2654435761 % 4294967296)"


def write_big_month(path: Path, calls: int) -> int:
    """A file with at least so many model calls. How many there are."""
    write_month(path, start=START, days=DAYS, scale=_SMALL_SCALE if calls < _SMALL else _SCALE)
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        for setting in (
            "journal_mode = off",
            "synchronous = off",
            "cache_size = -500000",
            "temp_store = memory",
        ):
            file.execute(f"pragma {setting}")
        file.create_function("moved_synopsis", 2, _moved_synopsis, deterministic=True)
        (base,) = file.execute("select count(*) from llm_calls").fetchone()
        _keep_base(file)
        statements = list(_statements(file))
        copies = -(-calls // base)
        file.execute("begin")
        for copy in range(1, copies):
            facts = {
                "copy": copy,
                "days": copy % DAYS * _DAY_US,
                "hours": copy // DAYS * _HOUR_US,
                "month": DAYS * _DAY_US,
                "start": round(START.timestamp() * 1e6),
            }
            for statement in statements:
                file.execute(statement, facts)
        file.execute("commit")
        file.execute("analyze")
    return int(base * copies)


def _keep_base(file: sqlite3.Connection) -> None:
    """What is copied: all rows, and of prompts and messages those that only one run has."""
    for table in ("sessions", "runs", *_SPANS):
        file.execute(f"create temp table base_{table} as select * from {table}")
    file.execute(
        """
        create temp table paths as
        with recursive up (run_id, prompt_id) as (
            select run_id, prompt_id from llm_calls
            union select run_id, parent_id from up join prompts p on p.id = prompt_id where parent_id is not null
        ) select run_id, prompt_id, message_id from up join prompts p on p.id = prompt_id
        """
    )
    for kind in ("prompt", "message"):
        file.execute(f"create temp table own_{kind}s (id text primary key) without rowid")
        file.execute(
            f"insert into own_{kind}s select {kind}_id from paths group by 1 having count(distinct run_id) = 1"
        )
    file.execute(
        "insert or ignore into own_messages select output_id from llm_calls"
        " where output_id is not null and output_id not in (select message_id from paths)"
    )
    file.execute("create temp table base_prompts as select * from prompts where id in own_prompts")
    file.execute(
        f"""
        create temp table base_messages as select id, role, case when length(body) <= {_KEPT} then body
            else json_object('content', substr(body, 13, {_KEPT}), 'role', role) end as body, bytes
        from messages where id in own_messages
        """
    )
    file.execute(f"update base_tool_calls set result = substr(result, 1, {_KEPT})")
    file.execute(
        f"update base_runs set input = substr(input, 1, {_KEPT}), output = substr(output, 1, {_KEPT})"
    )
    file.execute("create temp table begun (id text primary key, started_at integer) without rowid")
    file.execute("insert into begun select id, started_at from runs")


def _statements(file: sqlite3.Connection) -> Iterator[str]:
    """One per table: its rows of the base, with what is different in a copy."""
    shift = _SHIFT.format("r.started_at")
    run = f"printf('%012x', (r.started_at + {shift}) / 1000) || substr(r.id, 13, 12) || {_MARK}"
    fresh = f"substr(t.{{0}}, 1, 24) || {_MARK}"
    own = {
        name: f"case when t.{name} in own_{kind}s then {fresh.format(name)} else t.{name} end"
        for name, kind in (
            ("prompt_id", "prompt"),
            ("parent_id", "prompt"),
            ("message_id", "message"),
            ("output_id", "message"),
        )
    }
    times = {name: f"t.{name} + {shift}" for name in ("started_at", "ended_at", "created_at")}
    of_run = {
        "run_id": run,
        "span_id": f"case when t.span_id = t.run_id then {run} else t.span_id end",
        **times,
    }
    session = "'-' || :copy"
    changes: dict[str, dict[str, str]] = {
        "sessions": {
            "id": f"t.id || {session}",
            "started_at": f"t.started_at + {_SHIFT.format('t.started_at')}",
        },
        "runs": {
            "id": run,
            "session_id": f"t.session_id || {session}",
            "synopsis": f"moved_synopsis(t.synopsis, {shift})",
            **times,
        },
        **dict.fromkeys(_SPANS, of_run | own),
        "prompts": own | {"id": fresh.format("id")},
        "messages": {"id": fresh.format("id")},
    }
    for table, changed in changes.items():
        names = [row[1] for row in file.execute(f"pragma table_info(base_{table})")]
        values = ", ".join(changed.get(name, f"t.{name}") for name in names)
        key = "id" if table == "runs" else "run_id"
        join = f"join begun r on r.id = t.{key}" if table == "runs" or table in _SPANS else ""
        yield f"insert into {table} ({', '.join(names)}) select {values} from base_{table} t {join}"


def _moved_synopsis(text: str | None, shift: int) -> str | None:
    if text is None:
        return None
    synopsis = msgspec.json.decode(text, type=FullSynopsis)
    if synopsis.first is not None and synopsis.last is not None:
        synopsis.first, synopsis.last = synopsis.first + shift, synopsis.last + shift
    hours = shift // _HOUR_US
    synopsis.calls = [sums._replace(hour=sums.hour + hours) for sums in synopsis.calls]
    synopsis.shares = [sums._replace(hour=sums.hour + hours) for sums in synopsis.shares]
    return msgspec.json.encode(synopsis).decode()


if __name__ == "__main__":
    began = time.perf_counter()
    target = Path(sys.argv[1])
    written = write_big_month(target, int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000)
    print(f"{written:,} calls, {target.stat().st_size / 1e9:.2f} GB, {time.perf_counter() - began:.0f} s")
