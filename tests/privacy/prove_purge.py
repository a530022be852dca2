"""The full proof of the purge: one user of a thousand, in a million events.

    python -m tests.privacy.prove_purge [--events 1000000] [--users 1000]

It makes the file, counts the canaries in its bytes, purges by the command line, and compares.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.privacy.big_file import CANARIES, EVENTS_PER_RUN, VICTIM, hits, make, totals


def prove(events: int, users: int) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "traces.db")
        make(path, events // EVENTS_PER_RUN, users)
        print(f"{events:,} events of {users:,} users, {path.stat().st_size / 1e6:,.0f} MB")
        before, found = totals(path), hits(path, [*CANARIES, VICTIM])
        print(f"before: {sum(found.values()):,} raw hits of {len(CANARIES)} canaries and the name")
        began = time.monotonic()
        command = [
            sys.executable,
            "-m",
            "tokentrace_core.cli",
            "--db",
            str(path),
            "purge",
            "--user",
            VICTIM,
            "--yes",
        ]
        code = subprocess.run(command, check=False).returncode
        took = time.monotonic() - began
        left, same = hits(path, [*CANARIES, VICTIM]), totals(path) == before
        print(
            f"after {took:.1f} s: {sum(left.values())} raw hits; totals of all others {'unchanged' if same else 'CHANGED'}"
        )
        return code == 0 and not left and same


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=1_000)
    asked = parser.parse_args()
    sys.exit(0 if prove(asked.events, asked.users) else 1)
