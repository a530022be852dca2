"""How long a question to a file of a million calls takes: the first time, and when the days that are over are known."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.big_month import START, write_big_month
from tests.benchmarks.sampling import Options, sample
from tests.benchmarks.tables import middle, table
from tokentrace_core.store.reader import Reader
from tokentrace_core.store.trace_file import transaction
from tokentrace_core.store.upkeep import opened


def _week(first_day: int) -> str:
    begin = START + timedelta(days=first_day)
    return f"{begin:%Y-%m-%d}..{begin + timedelta(days=7):%Y-%m-%d}"


_SINCE = ("--since", f"{START:%Y-%m-%d}")
QUESTIONS = {
    "cost": ["cost"],
    "cost --by agent,model": ["cost", "--by", "agent,model"],
    "cost users": ["cost", "users"],
    "cost tools": ["cost", "tools"],
    "metrics": ["metrics"],
    "metrics --by agent": ["metrics", "--by", "agent"],
    "audit": ["audit", *_SINCE],
    "what-if --cache-prefix --retry-cap 2": ["what-if", "--cache-prefix", "--retry-cap", "2", *_SINCE],
    "why, week over week": ["why", "--from", _week(10), "--to", _week(17)],
}


def report(options: Options) -> str:
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        file = options.file
        if file is None:
            file = Path(folder) / "big.db"
            write_big_month(file, 1_000 if options.quick else 1_000_000)
        return _report(file.resolve(), options.repeat(3))


def _report(file: Path, rounds: int) -> str:
    rows = []
    for name, command in QUESTIONS.items():
        _forget_days(file)
        first, *later = [
            sample("question", {"command": command, "file": str(file)}) for _ in range(rounds + 1)
        ]
        wall, cpu = (middle(one[figure] for one in later) for figure in ("wall", "cpu"))
        rows.append(
            [f"`{name}`", first["wall"], wall, cpu, max(one["peak"] for one in (first, *later)) / 1e6]
        )
    with Reader(file) as reader:
        [(runs, calls)] = reader.execute(
            "select (select count(*) from runs), (select count(*) from llm_calls)"
        )
    heads = ["a question", "s, the first time", "s, from then on", "s of CPU", "peak RSS, MB"]
    size = file.stat().st_size / 1e6
    return (
        f"{table(heads, rows)}\n\n{calls:,} calls of {runs:,} runs in {size:,.0f} MB; one sample when the file knows no day,"
        f" then medians of {rounds}; memory is the most of all."
    )


def _forget_days(file: Path) -> None:
    """As if nobody had asked anything before; a file of an earlier version becomes one of this."""
    with opened(file) as connection, transaction(connection):
        connection.execute("delete from day_digests")
