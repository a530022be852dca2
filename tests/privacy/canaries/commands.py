"""What the command line prints about a file: every command, for people and as JSON, and what it says on stderr.

A command that is not listed here is asked by its bare name, so that a new one is looked at from its first day.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from unittest import mock

from click.testing import CliRunner

from tokentrace_core.cli import COMMANDS, main
from tokentrace_core.store.reader import Reader

_DIMENSIONS = (
    *("user", "session", "project", "run-name", "task-type", "version", "environment", "agent", "step-name"),
    *("model", "provider", "tag", "tool"),
)
#: How a command is asked for all that it tells. RUN stands for each run in turn, NEW for a file that is not there yet,
#: SECRETS for one full of them, LOG for the log of the agents.
ASKED: dict[str, Sequence[Sequence[str]]] = {
    "demo": (),  # makes a file of its own
    "runs": (["--limit", "1000"],),
    "show": (["RUN", "--messages"],),
    "cost": [["--by", dimension] for dimension in _DIMENSIONS],
    "audit": ([],),
    "why": ([],),
    "metrics": ([], ["--by", "user"], ["--by", "agent"]),
    "what-if": ([],),
    "logs": (["LOG"],),
    "budget": (["--all"],),
    "tail": (),  # followed below
    "prices": ([], ["gpt-4o-mini"]),
    "reprice": ([],),
    "retention": ([], ["--apply"]),
    "purge": (["--user", "nobody"], ["--user", "nobody", "--yes"]),
    "backup": (["NEW"],),
    "restore": (),  # makes a file of a backup, which is looked at itself
    "rekey": (),  # makes the file unreadable for those that come after
    "audit-log": ([],),
    "report": (["--html", "NEW"],),
    "export": (["NEW"],),
    "import": (),  # takes in what an export has let out
    "redact": (["--check", "SECRETS"], ["SECRETS"]),
    "doctor": ([],),
}
_PATIENCE_S = 5
LOG = "agents.log"


def printed(db: Path, backups: Path, secrets: str, scratch: Path) -> Iterator[tuple[str, str]]:
    """Command, and what it says. `backups`: where they go. `secrets`: a text to redact. `scratch`: for other files."""
    cli, new = CliRunner(), (str(backups / f"backup{number}.db") for number in count())
    (scratch / "secrets.txt").write_text(secrets)
    with Reader(db) as reader:
        runs = [run["id"] for run in reader.runs(10_000)]
    for command in COMMANDS:
        for way in ASKED.get(command, ()):
            for run in runs if "RUN" in way else [""]:
                for form in ([], ["--json"]):
                    named = {"RUN": run, "SECRETS": str(scratch / "secrets.txt"), "LOG": str(backups / LOG)}
                    asked = [next(new) if word == "NEW" else named.get(word, word) for word in way]
                    result = cli.invoke(main, ["--db", str(db), command, *asked, *form])
                    assert not isinstance(result.exception, Exception), (command, asked, result.output)
                    assert result.exit_code in (0, 1), (command, asked, result.output)
                    yield command, result.output
        if command not in ASKED:
            copy = scratch / f"{command}.db"
            shutil.copy(db, copy)
            for form in ([], ["--json"]):
                yield command, _asked_alone(copy, command, *form)
    for form in ([], ["--json"]):
        yield "tail", _followed(cli, db, scratch / f"tail{len(form)}.db", *form)


def _asked_alone(db: Path, *command: str) -> str:
    """In a process of its own, which may last: not every command comes to an end."""
    with subprocess.Popen(
        [sys.executable, "-m", "tokentrace_core.cli", "--db", str(db), *command],
        cwd=db.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            said, _ = process.communicate(timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
    return said.decode("utf-8", "replace")


def _followed(cli: CliRunner, db: Path, copy: Path, *form: str) -> str:
    """What `tail` says of a file that appears while it waits: all that is in it."""

    def pass_time(_: float) -> None:
        if copy.exists():
            raise KeyboardInterrupt
        shutil.copy(db, copy)

    with mock.patch("time.sleep", pass_time):
        return cli.invoke(main, ["--db", str(copy), "tail", *form]).output
