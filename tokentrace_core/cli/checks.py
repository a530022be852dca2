"""The checks of `tokentrace doctor`: each looks at one thing and says what it found."""

from __future__ import annotations

import glob
import importlib.util
import platform
import sqlite3
import stat
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

from tokentrace_core import __version__
from tokentrace_core.cli import figures
from tokentrace_core.errors import StoreError
from tokentrace_core.store.purge import begun
from tokentrace_core.store.reader import Reader, Row

Verdict = Literal["ok", "warn", "fail"]

_TABLES = ("sessions", "runs", "steps", "llm_calls", "tool_calls", "messages", "prompts", "scores")
#: Distribution -> the integration that records it.
_FRAMEWORKS = {
    "langchain-core": "tokentrace_langchain",
    "langgraph": "tokentrace_langchain",
    "llama-index-core": "tokentrace_llama_index",
    "crewai": "tokentrace_crewai",
}
_LIBRARIES = ("genai-prices", "sqlite-utils", "openai", "anthropic")


class Check(NamedTuple):
    """One fact."""

    name: str
    value: str
    verdict: Verdict = "ok"
    advice: str | None = None


def check_environment() -> Iterator[Check]:
    yield Check("tokentrace", __version__)
    yield Check("Python", f"{platform.python_version()} ({platform.system()})")
    yield check_sqlite(sqlite3.sqlite_version_info)
    for name in _LIBRARIES:
        if version := _version(name):
            yield Check(name, version)
    for name, integration in _FRAMEWORKS.items():
        if version := _version(name):
            present = importlib.util.find_spec(integration) is not None
            yield Check(name, f"{version}, {integration} {'installed' if present else 'not installed'}")


def check_sqlite(version: tuple[int, int, int]) -> Check:
    """SQLite before 3.51.3 can lose what two processes write at the same instant (sqlite.org/wal.html)."""
    shown = ".".join(map(str, version))
    if not has_wal_reset_bug(version):
        return Check("SQLite", shown)
    return Check(
        "SQLite",
        shown,
        "warn",
        "has the WAL-reset bug (unless your system patched it): with several processes writing one file, "
        "rows can be lost. Give each process its own file, or use SQLite 3.51.3, 3.50.7 or 3.44.6.",
    )


def has_wal_reset_bug(version: tuple[int, int, int]) -> bool:
    if not (3, 7, 0) <= version <= (3, 51, 2):
        return False
    repaired = {(3, 44): 6, (3, 50): 7}.get(version[:2])
    return repaired is None or version[2] < repaired


def check_file(path: Path) -> Iterator[Check]:
    yield Check("file", str(path.expanduser().resolve()))
    try:
        reader = Reader(path)
    except StoreError as error:
        yield Check("readable", "no", "fail", str(error))
        return
    if whose := begun(path.expanduser()):
        yield Check("purge", f"of {whose} was begun and not ended", "fail", "Run: tokentrace purge --yes")
    with reader:
        yield _size(reader.path)
        yield _mode(reader.path)
        yield from _moved_aside(reader.path)
        yield from _drafts(reader.path)
        try:
            yield from _sound(reader)
            yield from _contents(reader)
        except sqlite3.Error as error:
            yield Check("readable", "not all of it", "fail", str(error))


def _size(path: Path) -> Check:
    log = path.with_name(f"{path.name}-wal")
    waiting = f", {figures.size(log.stat().st_size)} in the write-ahead log" if log.exists() else ""
    return Check("size", f"{figures.size(path.stat().st_size)}{waiting}")


def _mode(path: Path) -> Check:
    mode = stat.S_IMODE(path.stat().st_mode)
    if not mode & (stat.S_IRGRP | stat.S_IROTH):
        return Check("mode", f"{mode:04o}")
    return Check(
        "mode", f"{mode:04o}", "warn", f"others on this machine can read your traces. Run: chmod 600 {path}"
    )


def _moved_aside(path: Path) -> Iterator[Check]:
    """Damaged files, in whose place this one was begun."""
    kept = sorted(
        found.name
        for found in path.resolve().parent.glob(f"{glob.escape(path.name)}.corrupt-*Z")
        if found.is_file()
    )
    if kept:
        advice = "an older trace was damaged and moved there. What can be saved: sqlite3 FILE .recover"
        yield Check("moved aside", ", ".join(kept), "warn", advice)


def _drafts(path: Path) -> Iterator[Check]:
    """Copies of the file that were to become something, and hold all that it held."""
    left = sorted(
        found.name
        for end in ("*.part*", "rekey*")
        for found in path.resolve().parent.glob(f"{glob.escape(path.name)}.{end}")
    )
    if left:
        advice = "a backup, restore or rekey was cut off, unless one is at work: delete it"
        yield Check("left over", ", ".join(left), "warn", advice)


def _sound(reader: Reader) -> Iterator[Check]:
    journal = next(reader.query("pragma journal_mode"))["journal_mode"]
    if journal == "wal":
        yield Check("journal mode", "wal")
    else:
        yield Check("journal mode", journal, "warn", "readers will block the writer; tokentrace sets wal.")
    faults = [row["quick_check"] for row in reader.query("pragma quick_check(3)")]
    if faults == ["ok"]:
        yield Check("quick check", "ok")
    else:
        yield Check(
            "quick check", "; ".join(faults), "fail", "the file is damaged. Run: sqlite3 FILE .recover"
        )
    applied = [
        row["name"]
        for row in reader.query("select name from _sqlite_migrations where migration_set = 'tokentrace'")
    ]
    yield Check("schema", ", ".join(applied) or "no migration applied", "ok" if applied else "fail")


def _contents(reader: Reader) -> Iterator[Check]:
    counts = (f"{name} {_number(reader, f'select count(*) from {name}'):,}" for name in _TABLES)
    yield Check("rows", ", ".join(counts))
    by_status = reader.query("select status, count(*) as runs from runs group by status order by runs desc")
    yield Check("runs", ", ".join(f"{row['status']} {row['runs']:,}" for row in by_status) or "none")
    yield _running(reader)
    yield _losses(reader)
    yield _unpriced(reader)
    yield _dropped_texts(reader)
    estimated = _number(reader, "select count(*) from calls where usage_source = 'estimated'")
    yield Check("estimated calls", f"{estimated:,}")


def _running(reader: Reader) -> Check:
    """Runs under way, and those that a process which was killed has left behind."""
    running = _number(reader, "select count(*) from runs where status = 'running'")
    said = _number(reader, "select count(*) from main.runs where status = 'running'")
    left = said - running
    advice = "their process was killed. They read `interrupted`; their cost is that up to its end."
    return Check(
        "running",
        f"{figures.count(running, 'run')}, {left:,} left by a dead process"
        if left
        else figures.count(running, "run"),
        "warn" if left else "ok",
        advice if left else None,
    )


def _losses(reader: Reader) -> Check:
    lost = reader.losses()
    advice = (
        "they are in no sum. The disk was full, locked or not writable then; see `at` in the table `losses`."
    )
    return Check(
        "lost records",
        losses_line(lost) or "none",
        "warn" if lost else "ok",
        advice if lost else None,
    )


def losses_line(lost: list[Row]) -> str:
    """How many records could not be stored, and why; empty if all could."""
    total = sum(row["records"] for row in lost)
    reasons = ", ".join(f"{row['records']:,} x {row['reason']}" for row in lost)
    return f"{total:,} ({reasons}), last {figures.moment(max(row['at'] for row in lost))} UTC" if lost else ""


def _unpriced(reader: Reader) -> Check:
    unpriced = _number(reader, "select count(*) from calls where cost_status = 'unpriced'")
    advice = "not in any sum of dollars. Run: tokentrace prices"
    return Check(
        "unpriced calls", f"{unpriced:,}", "warn" if unpriced else "ok", advice if unpriced else None
    )


#: Where a text may stand that the redactor had to drop.
_TEXTS = {
    "runs": ("input", "output", "error"),
    "tool_calls": ("arguments", "result", "error"),
    "messages": ("body",),
}


def _dropped_texts(reader: Reader) -> Check:
    """A text in which a rule failed or took too long is not stored, only its length."""
    dropped = sum(
        _number(reader, f"select count(*) from {table} where instr({column}, '[REDACTION_FAILED len=')")
        for table, columns in _TEXTS.items()
        for column in columns
    )
    advice = (
        "a rule of the redactor failed on them, so they are not in the file. Try: tokentrace redact --check"
    )
    return Check(
        "dropped by redactor",
        f"{dropped:,}",
        "warn" if dropped else "ok",
        advice if dropped else None,
    )


def _number(reader: Reader, sql: str) -> int:
    return int(next(iter(next(reader.query(sql)).values())))


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
