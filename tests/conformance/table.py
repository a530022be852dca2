"""What is seen and what is stopped, per framework and calling style, as the suite itself found it.

python -m tests.conformance.table        prints two Markdown tables; exits with pytest's own code

A column is a test class of the suite, a row is a sentence. "yes": it is kept, in every calling style (sync, async,
stream); else the cell names the styles in which it is. An exception shows its reason below the tables. The README
has both tables; `test_table` holds it to what the suite finds when all of it is run.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.conformance.sentences.stops import Stops
from tests.conformance.stage import STYLES
from tests.conformance.suite import HandlerSuite, sentences

ANY_STYLE = ""


class Results:
    """A pytest plugin that keeps, for each suite class, sentence and style, whether all of it passed."""

    def __init__(self) -> None:
        self.suites: dict[str, type[HandlerSuite]] = {}
        self._passed: defaultdict[tuple[str, str], dict[str, bool]] = defaultdict(dict)
        self._place: dict[str, tuple[str, str, str]] = {}
        self._played: set[str] = set()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if isinstance(item, pytest.Function) and item.cls and issubclass(item.cls, HandlerSuite):
                self.suites[item.cls.__name__] = item.cls
                style = (
                    item.callspec.params.get("style", ANY_STYLE) if hasattr(item, "callspec") else ANY_STYLE
                )
                self._place[item.nodeid] = item.cls.__name__, item.originalname, str(style)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if place := self._place.get(report.nodeid):
            suite, sentence, style = place
            self._played.add(report.nodeid)
            styles = self._passed[suite, sentence]
            styles[style] = styles.get(style, True) and report.passed

    def cell(self, suite: str, sentence: str) -> str:
        if sentence in self.suites[suite].EXCEPTIONS:
            return f"[^{suite}-{sentence}]"
        styles = self._passed[suite, sentence]
        if styles and all(styles.values()):
            return "yes"
        return ", ".join(style for style in STYLES if styles.get(style)) or "no"

    @property
    def is_complete(self) -> bool:
        """Whether all suites were played, and all of each: every sentence in every style."""
        whole = {(suite, sentence) for suite in self.suites for sentence in sentences()}
        asked = {(suite, sentence) for suite, sentence, _ in self._place.values()}
        return bool(whole) and whole <= asked and self._played >= self._place.keys()

    def notes(self) -> list[str]:
        return [
            f"[^{name}-{sentence}]: {reason}"
            for name, suite in self.suites.items()
            for sentence, reason in suite.EXCEPTIONS.items()
        ]


def markdown(results: Results) -> str:
    """Both tables and the reasons of exceptions."""
    rows = sentences()
    stopped = [name for name in rows if name in vars(Stops)]
    seen = [name for name in rows if name not in stopped]
    tables = [_table("What is seen", seen, results), _table("What is stopped", stopped, results)]
    return "\n\n".join([*tables, *filter(None, ["\n".join(results.notes())])])


def _table(title: str, names: list[str], results: Results) -> str:
    suites = list(results.suites)
    head = [title, *(suite.removeprefix("Test") for suite in suites)]
    lines = [head, ["---"] * len(head)]
    lines += [[sentences()[name], *(results.cell(suite, name) for suite in suites)] for name in names]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    results, said = Results(), io.StringIO()
    with contextlib.redirect_stdout(said):
        code = pytest.main(["-q", str(Path(__file__).parent)], plugins=[results])
    print(markdown(results))
    if code:
        print(said.getvalue(), file=sys.stderr)
    return int(code)


if __name__ == "__main__":
    raise SystemExit(main())
