"""The command line: what is in a trace file, asked from a shell.

    tokentrace runs | show RUN | cost --by user,model --since 7d | tail | prices MODEL | doctor

Every command prints for people by default and one JSON document with `--json`; both go to stdout, everything
else to stderr. Exit codes: 0 fine, 1 the answer could not be given (one sentence says why), 2 wrong usage,
3 `audit --fail-over`: more is avoidable than allowed.

A command lives in the module of its name and is imported when it is called, so that `--help` stays quick. To
add one: a module with `@main.command`, and its line in `COMMANDS`.
"""

from __future__ import annotations

import errno
import importlib
import io
import sqlite3
import sys
from typing import Any

import click

from tokentrace_core import __version__
from tokentrace_core.cli.options import common_options
from tokentrace_core.cli.text import clean
from tokentrace_core.errors import TokentraceError

#: Command, which is also its module -> the question it answers.
COMMANDS: dict[str, str] = {
    "demo": "Watch a real agent recorded and stopped; no key, no network.",
    "runs": "The latest runs, newest first.",
    "show": "One run as a tree: steps, model calls, tools, nested agents.",
    "cost": "What was spent, by model, user, tool, day and more.",
    "audit": "What need not have been spent: causes, proof and fixes.",
    "why": "Why a period cost more than the one before: what changed, where, and what to do.",
    "metrics": "How runs go: success, steps, cost, latency, tools, context.",
    "what-if": "What recorded runs would have cost with other models, caching, caps.",
    "report": "One page with pictures to send to a colleague.",
    "budget": "How shared limits stand, and which runs were stopped.",
    "tail": "Follow a file: one line per event, as it happens.",
    "logs": "Errors, latency, cost and loops from log files alone.",
    "prices": "What a model costs per million tokens, or which models have no price.",
    "reprice": "What recorded calls would cost at other prices; with --apply, for good.",
    "retention": "What is older than it may be, and away with it.",
    "purge": "Delete everything of one user, and prove that it is gone.",
    "export": "The trace as JSON lines, CSV or Parquet.",
    "import": "JSON lines into a trace file; parts of one run are put together.",
    "backup": "A copy of the file while it is written, checked.",
    "restore": "Put a backup back, without what was purged since.",
    "rekey": "Encrypt the file, give it another key, or none.",
    "audit-log": "Who read, exported, purged or changed what.",
    "redact": "A text as it would be recorded, or what in it would be masked.",
    "doctor": "Is the file sound, and is this environment fit to write it?",
}


class _Commands(click.Group):
    """Commands by name, imported when called; errors that a user can mend become one sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            importlib.import_module(f"{__name__}.{cmd_name.replace('-', '_')}")
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        if sys.stdout is None:
            raise click.ClickException("there is no standard output to print to")
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except TokentraceError as error:
            raise click.ClickException(clean(str(error))) from error
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # whoever read has gone; click ends quietly
            sys.stdout = io.StringIO()  # or the interpreter would try again, and complain, at its end
            raise click.ClickException(clean(f"the output cannot be written: {error.strerror}")) from error
        except sqlite3.Error as error:
            raise click.ClickException(clean(f"the trace file cannot be read: {error}")) from error


@click.group(name="tokentrace", cls=_Commands)
@click.version_option(__version__, prog_name="tokentrace")
@common_options
def main() -> None:
    """What every agent run cost, why, and a stop before it costs too much."""
