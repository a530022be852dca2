"""`python -m tests.benchmarks [section ...] [--peers DIR] [--file FILE] [--quick]`: what tokentrace costs, as Markdown tables.

`python -m tests.benchmarks peers --install DIR` makes the virtual environments of the recorders to compare with.
"""

from __future__ import annotations

import argparse
import platform
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.benchmarks.peers.install import install
from tests.benchmarks.sampling import Options
from tests.benchmarks.sections import (
    analysis,
    budget,
    calls,
    ending,
    handler,
    import_time,
    redaction,
    rss,
    size,
    store,
)

SECTIONS = {
    "handler": handler.report,
    "calls": calls.report,
    "size": size.report,
    "import": import_time.report,
    "rss": rss.report,
    "exit": ending.report,
    "store": store.report,
    "budget": budget.report,
    "redaction": redaction.report,
    "analysis": analysis.report,
}


def main() -> None:
    arguments = _arguments()
    if arguments.install:
        install(arguments.install, arguments.section[1:])
        return
    options = Options(arguments.quick, arguments.peers, arguments.rounds, arguments.file)
    print(f"CPython {platform.python_version()}, {platform.system()} {platform.machine()}\n")
    names = arguments.section or list(SECTIONS)
    # Two at a time disturb each other, which is all the same when nobody reads the figures.
    with ThreadPoolExecutor(2 if options.quick else 1) as pool:
        for name, report in zip(names, pool.map(lambda name: SECTIONS[name](options), names), strict=True):
            print(f"## {name}\n\n{report}\n", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("section", nargs="*", help=f"{', '.join(SECTIONS)}; or peers, with --install")
    parser.add_argument("--peers", type=Path, metavar="DIR", help="compare with the peers installed in DIR")
    parser.add_argument("--install", type=Path, metavar="DIR", help="install the peers into DIR")
    parser.add_argument("--rounds", type=int, help="samples of each variant (default: by section)")
    parser.add_argument("--file", type=Path, help="for analysis: a file that big_month has written before")
    parser.add_argument(
        "--quick", action="store_true", help="only see that it works; the figures mean nothing"
    )
    arguments = parser.parse_intermixed_args()
    wrong = set(arguments.section) - {*SECTIONS} if not arguments.install else set()
    if wrong or (arguments.install and arguments.section[:1] != ["peers"]):
        parser.error(f"sections are {', '.join(SECTIONS)}; or: peers --install DIR [peer ...]")
    return arguments


if __name__ == "__main__":
    main()
