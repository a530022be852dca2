"""The README's table is what the suite found, not what somebody wished."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conformance.suite import sentences
from tests.conformance.table import Results, markdown

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
FRAMEWORKS = ("CrewAI", "LangChain", "LlamaIndex")


def rows() -> dict[str, list[str]]:
    """Each sentence in the README's tables, with its cells."""
    lines = re.findall(r"^\| (.+) \|$", README, re.MULTILINE)
    cells = [line.split(" | ") for line in lines]
    return {row[0]: row[1:] for row in cells if row[0] in sentences().values()}


def test_the_readme_leaves_out_no_sentence_and_no_framework() -> None:
    assert set(rows()) == set(sentences().values()), "run python -m tests.conformance.table"
    assert {len(cells) for cells in rows().values()} == {len(FRAMEWORKS)}
    for title in ("What is seen", "What is stopped"):
        assert f"| {' | '.join((title, *FRAMEWORKS))} |" in README


def test_the_readme_says_what_the_suite_has_found(results: Results) -> None:
    """After a part of the suite only the rest of the table is taken on trust: the test above has read it."""
    if results.is_complete:
        assert markdown(results) in README, "run python -m tests.conformance.table"
    else:
        assert rows()
