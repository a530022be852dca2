"""Encryption: with a key nothing can be read off the disk, and no wrong key, lost key or kill costs a single row.

The full campaign of rotations that are killed:

    python -m pytest tests/privacy/test_encryption.py --rotations 20
"""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.privacy.big_file import hits
from tests.privacy.conftest import Command, Killed
from tokentrace_core import Budget, ModelPrice, PriceBook, StoreError, Tracer
from tokentrace_core.store.connection import KEY_VARIABLE, connect, use_key
from tokentrace_core.store.reader import Reader

KEY = "correct horse battery staple'\""
OTHER = "0f" * 32
SECRETS = [
    "canary-input",
    "canary-output",
    "canary-said",
    "canary-answer",
    "canary-found",
    "ada.lovelace",
    "triage-name",
]
_FILES = ("", "-wal", "-shm")


def record(tracer: Tracer, count: int = 3) -> None:
    for number in range(count):
        with tracer.run("triage-name", user="ada.lovelace", input=f"canary-input {number}") as run:
            with run.llm("small", messages=f"canary-said {number}") as call:
                call.done("canary-answer")
            with run.tool("lookup", {"of": "canary-found"}) as tool:
                tool.done("canary-found")
            run.set_output("canary-output") if hasattr(run, "set_output") else None
    assert tracer.flush(10)


@pytest.fixture
def encrypted(db: Path) -> Path:
    with Tracer(db, key=KEY, prices=PriceBook({"small": ModelPrice(input=1, output=10)})) as tracer:
        record(tracer)
        assert not tracer.losses
    use_key(db, None)
    return db


def test_d4_neither_the_file_nor_its_log_nor_a_backup_shows_anything(
    db: Path, script: Any, command: Command
) -> None:
    copy = db.with_name("copy.db")
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"""
import sys
from tokentrace_core import Tracer, Budget
tracer = Tracer({str(db)!r}, key=lambda: {KEY!r}, budget=Budget(user_day_usd=5))
assert tracer.flush(30)  # on a busy machine the file may take longer than a limit is waited for
for number in range(50):
    with tracer.run("triage-name", user="ada.lovelace", input="canary-input") as run:
        with run.llm("gpt-4o", messages="canary-said") as call:
            call.done("canary-answer")
        with run.tool("lookup", {{"of": "canary-found"}}) as tool:
            tool.done("canary-found")
assert tracer.flush(10) and not tracer.losses, tracer.losses
print("ready", flush=True)
sys.stdin.readline()
tracer.close()
""",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == "ready\n"
        assert command("backup", str(copy), **{KEY_VARIABLE: KEY}).returncode == 0
        live = [db.with_name(db.name + end) for end in _FILES]
        assert all(file.stat().st_size for file in live), "there is a log to be looked at"
        assert hits(db, SECRETS) == {}
        assert hits(copy, SECRETS) == {}
        agent.communicate("\n", timeout=30)
    assert hits(db, SECRETS) == {}
    for file in (db, copy):
        assert not file.read_bytes().startswith(b"SQLite")
        with closing(connect(file, key=KEY)) as connection:
            assert connection.execute("select count(*) from runs").fetchone() == (50,)


def test_everything_that_reads_or_writes_works_with_a_key(
    encrypted: Path, answer: Callable[..., Any], command: Command
) -> None:
    key = {KEY_VARIABLE: KEY}
    assert len(answer("runs", **key)["runs"]) == 3
    assert answer("cost", **key)["total"]["calls"] == 3
    assert command("show", "last", "--messages", **key).stdout.count("canary-said") == 1
    assert answer("audit-log", **key)["entries"][0]["action"] == "read messages"
    assert command("doctor", **key).returncode == 0
    assert answer("retention", "--apply", **key)["due"]["traces"] == 0
    assert answer("purge", "--user", "ada.lovelace", "--yes", **key)["encrypted"] is True
    assert answer("runs", **key)["runs"] == []


def test_a_run_that_waits_and_a_shared_limit_are_found_in_a_file_with_a_key(db: Path) -> None:
    prices = PriceBook({"small": ModelPrice(input=1, output=10)})
    with Tracer(db, key=KEY, budget=Budget(user_day_usd=5), prices=prices) as tracer:
        record(tracer)
    with closing(connect(db, key=KEY)) as connection:
        assert connection.execute(
            "select count(*), sum(spent_nano_usd) > 0 from budget_ledger"
        ).fetchone() == (1, 1)
        assert connection.execute("select count(*) from reservations").fetchone() == (0,)


def test_the_sqlcipher_shell_opens_the_file_with_the_same_passphrase(encrypted: Path) -> None:
    import sqlcipher3.dbapi2 as plain

    with closing(plain.connect(str(encrypted))) as connection:
        quoted = KEY.replace("'", "''")
        connection.execute(f"pragma key = '{quoted}'")
        assert connection.execute("select count(*) from runs").fetchone() == (3,)


# ── the wrong key, no key, a key too many ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("wrong", "the key does not fit"),
        ("", f"is encrypted, it seems: set {KEY_VARIABLE}"),
        (OTHER, "the key does not fit"),
    ],
)
def test_d4_a_wrong_or_a_lost_key_is_one_sentence_and_the_file_stays_as_it_is(
    encrypted: Path, command: Command, key: str, said: str
) -> None:
    before = encrypted.read_bytes()
    for arguments in (
        ["runs"],
        ["purge", "--user", "ada.lovelace", "--yes"],
        ["backup", "x.db"],
        ["retention", "--apply"],
    ):
        done = command(*arguments, **{KEY_VARIABLE: key})
        assert done.returncode == 1
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert KEY not in done.stderr
    assert encrypted.read_bytes() == before


@pytest.mark.parametrize("key", ["wrong", None])
def test_d4_an_agent_with_the_wrong_key_goes_on_and_the_file_is_not_taken_for_damaged(
    encrypted: Path, key: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    before = encrypted.read_bytes()
    tracer = Tracer(encrypted, key=key)
    with tracer.run("agent") as run:
        with run.llm("m", messages="hello") as call:
            call.done("hi")
    tracer.close(5)
    assert tracer.losses
    assert encrypted.read_bytes() == before
    assert not list(encrypted.parent.glob("*.corrupt*"))
    assert "key" in caplog.text


def test_a_key_for_a_file_that_has_none_is_said_and_changes_nothing(db: Path, command: Command) -> None:
    with Tracer(db) as tracer:
        record(tracer)
    before = db.read_bytes()
    done = command("runs", **{KEY_VARIABLE: KEY})
    assert done.returncode == 1
    assert "is not encrypted, but a key is set" in done.stderr
    assert db.read_bytes() == before


def test_a_key_that_cannot_be_had_is_no_reason_to_stop_the_agent(
    db: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def vault() -> str:
        raise ConnectionError("canary-token")

    tracer = Tracer(db, key=vault)
    with tracer.run("agent"):
        pass
    tracer.close(5)
    assert "could not be had: ConnectionError" in caplog.text + str(tracer.losses)
    assert "canary-token" not in caplog.text


def test_without_the_extra_a_key_says_how_to_install_it(script: Callable[..., Any]) -> None:
    done = script("""
        import sys
        sys.modules["sqlcipher3"] = None
        try:
            Tracer(db, key="k")
        except MissingExtra as error:
            print(error)
    """)
    assert "pip install 'tokentrace[encryption]'" in done.stdout, done.stderr


def test_without_a_key_nothing_of_it_is_loaded(script: Callable[..., Any]) -> None:
    done = script("""
        with Tracer(db) as tracer, tracer.run("agent"):
            pass
        print([name for name in sys.modules if "cipher" in name])
    """)
    assert done.stdout == "[]\n", done.stderr


# ── rotation ─────────────────────────────────────────────────────────────────────────────────────────────


def _opens(path: Path, key: str) -> int | None:
    try:
        with closing(connect(path, mode="ro", key=key)) as connection:
            return int(connection.execute("select count(*) from runs").fetchone()[0])
    except sqlite3.Error:
        return None


def test_d4_a_file_gets_a_key_another_key_and_none(db: Path, command: Command) -> None:
    with Tracer(db) as tracer:
        record(tracer)
    assert hits(db, SECRETS)
    given = command("rekey", TOKENTRACE_NEW_KEY=KEY)
    assert given.returncode == 0, given.stderr
    assert hits(db, SECRETS) == {}
    assert command("runs", **{KEY_VARIABLE: KEY}).stdout.count("triage-name") == 3
    assert command("rekey", TOKENTRACE_NEW_KEY=OTHER, **{KEY_VARIABLE: KEY}).returncode == 0
    assert (_opens(db, KEY), _opens(db, OTHER)) == (None, 3)
    assert stat_mode(db) == 0o600
    assert command("rekey", "--remove", **{KEY_VARIABLE: OTHER}).returncode == 0
    with Reader(db) as reader:
        assert len(reader.runs()) == 3
        assert [row["action"] for row in reader.query("select action from audit_log order by id")] == [
            "key changed", "key changed", "key removed",
        ]  # fmt: skip
    with closing(sqlite3.connect(db)) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute("delete from audit_log")


def test_what_was_written_before_the_file_had_a_key_is_overwritten(db: Path, command: Command) -> None:
    with Tracer(db) as tracer:
        record(tracer)
    old = db.with_name("the-old-bytes")
    old.hardlink_to(db)
    assert hits(old, SECRETS)
    assert command("rekey", TOKENTRACE_NEW_KEY=KEY).returncode == 0
    assert set(old.read_bytes()) == {0}
    assert _opens(db, KEY) == 3


def stat_mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_file_in_the_place_of_another_one_opens_with_its_own_key(db: Path) -> None:
    """Two replacements later its inode may be that of the file which this process had opened."""
    for turn in range(4):
        new = db.with_name(f"new-{turn}.db")
        with Tracer(new, key=f"key {turn}") as tracer:
            record(tracer, 1)
        for end in ("-wal", "-shm"):
            new.with_name(f"{new.name}{end}").unlink(missing_ok=True)
        new.replace(db)
        if turn % 2 == 0:
            assert _opens(db, f"key {turn}") == 1


def test_d4_a_rotation_that_is_killed_leaves_one_key_that_opens_everything(
    encrypted: Path, killed: Killed, request: pytest.FixtureRequest
) -> None:
    now, other = KEY, OTHER
    chance = random.Random(7)
    turned = interrupted = 0
    for turn in range(1, 1 + request.config.getoption("--rotations", 3)):
        draft = encrypted.with_name(f"{encrypted.name}.rekey")
        if turn % 3:  # else it stands in the way of the next one
            draft.unlink(missing_ok=True)
        killed(
            "rekey",
            after=chance.uniform(0, 1.2) + (0 if turn % 3 else 0.3),
            once=draft,
            TOKENTRACE_NEW_KEY=other,
            **{KEY_VARIABLE: now},
        )
        found = {key: _opens(encrypted, key) for key in (now, other)}
        assert sorted(found.values(), key=str) == [3, None], "exactly one of the two"
        if found[other] == 3:
            now, other, turned = other, now, turned + 1
        else:
            interrupted += 1
    print(f"{turned} rotations were over before they were killed, {interrupted} were not")
    with Tracer(encrypted, key=now) as tracer:
        record(tracer, 1)
        assert not tracer.losses
    assert _opens(encrypted, now) == 4


def test_a_rotation_while_somebody_writes_is_refused_and_costs_them_nothing(
    encrypted: Path, command: Command
) -> None:
    with Tracer(encrypted, key=KEY) as tracer:
        record(tracer, 1)
        began = time.monotonic()
        done = command("rekey", TOKENTRACE_NEW_KEY=OTHER, **{KEY_VARIABLE: KEY})
        assert time.monotonic() - began < 30
        assert done.returncode == 1
        assert "open in another process" in done.stderr
        record(tracer, 1)
        assert not tracer.losses
    assert _opens(encrypted, KEY) == 5


def test_a_reader_with_a_wrong_key_says_so(encrypted: Path) -> None:
    use_key(encrypted, "wrong")
    with pytest.raises(StoreError, match="the key does not fit"):
        Reader(encrypted)
