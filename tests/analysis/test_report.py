"""A page that goes to a colleague must not phone home, must not run what a model wrote, and must say the same as the file."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.analysis import weeks
from tests.analysis.weeks import START_US, Clock, Habits, record_week
from tests.test_missing_extras import sentence, without
from tokentrace_core import Tracer
from tokentrace_core.cli import main
from tokentrace_core.cli.demo.month.weeks import write_weeks
from tokentrace_core.money import show_usd

HOSTILE = "</title><script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>\"'`]]>-->\x1b]0;x\x07\u202e"
#: Elements with which a page could fetch or run something.
ACTIVE = {
    "script",
    "link",
    "img",
    "iframe",
    "object",
    "embed",
    "base",
    "form",
    "video",
    "audio",
    "source",
    "image",
    "use",
    "a",
}


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, texts, and tables as rows of texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.sections: list[list[str]] = []
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "section":
            self.sections.append([])
        if self.sections:
            self.sections[-1].append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._in_cell:
            self.tables[-1][-1][-1] += data

    def table(self, header: str) -> list[list[str]]:
        """The rows of the table whose first column is called so."""
        return next(table for table in self.tables if table and table[0][0] == header)[1:]


Report = Callable[..., tuple[Result, str]]


def make(db: Path, target: Path, *arguments: str) -> tuple[Result, str]:
    result = CliRunner().invoke(main, ["report", "--db", str(db), "--html", str(target), *arguments])
    return result, target.read_text(encoding="utf-8") if target.exists() else ""


@pytest.fixture
def report(tmp_path: Path, db: Path) -> Report:
    """Make a page of this test's file."""
    return lambda *arguments: make(db, tmp_path / "page.html", *arguments)


@pytest.fixture(scope="module")
def two_weeks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of two weeks that ended yesterday."""
    path = tmp_path_factory.mktemp("weeks") / "traces.db"
    write_weeks(path, "cache_misses+verbose_output")
    return path


@pytest.fixture(scope="module")
def text(two_weeks: Path) -> str:
    """The page about them."""
    result, text = make(two_weeks, two_weeks.with_suffix(".html"))
    assert result.exit_code == 0, result.output
    assert "Written" in result.output
    return text


def check_that_nothing_is_fetched(page: Page, text: str) -> None:
    tags = {tag for tag, _ in page.elements}
    assert not ACTIVE & tags
    for _, attributes in page.elements:
        assert not [
            name
            for name in attributes
            if name.startswith("on")
            or name in ("src", "href", "xlink:href", "action", "srcset", "data", "ping")
        ]
        for value in attributes.values():
            assert "url(" not in (value or "") or re.fullmatch(r"url\(#[\w-]+\)", value or "")
    assert "@import" not in text
    policies = [found["content"] for tag, found in page.elements if tag == "meta" and "http-equiv" in found]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]
    # Addresses are left in one place only: the names of SVG itself.
    of_svg = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert {
        value for _, found in page.elements for value in found.values() if value and "://" in value
    } <= of_svg


def test_the_page_fetches_nothing_and_runs_nothing(text: str) -> None:
    check_that_nothing_is_fetched(Page(text), text)


def test_each_picture_is_described_and_has_its_figures_as_a_table(text: str) -> None:
    page = Page(text)
    figures = [found for tag, found in page.elements if tag == "figure"]
    assert len(figures) >= 6
    for found in figures:
        assert found["role"] == "img"
        assert re.search(r"\$[0-9.,]+", found["aria-label"] or "")
    for section in page.sections:
        assert section.count("svg") == section.count("figure") <= 1
        assert "svg" not in section or section.index("table") > section.index("svg")


def test_the_figures_are_those_of_the_rows(text: str, two_weeks: Path) -> None:
    page = Page(text)
    with sqlite3.connect(two_weeks) as file:
        for header, column in (("model", "c.model"), ("user", "r.user_id"), ("agent", "s.agent")):
            rows = file.execute(
                f"select {column}, count(distinct c.run_id), count(*), sum(c.cost_nano_usd) from llm_calls c"
                " join runs r on r.id = c.run_id join steps s on s.run_id = c.run_id and s.id = c.step_id"
                " group by 1 order by 4 desc"
            ).fetchall()
            expected = [[name, f"{runs:,}", f"{calls:,}", show_usd(nano)] for name, runs, calls, nano in rows]
            assert [row[:4] for row in page.table(header)] == expected[:10]
        days = file.execute(
            "select date(started_at / 1000000, 'unixepoch'), count(*), sum(cost_nano_usd) from llm_calls group by 1 order by 1"
        ).fetchall()
    assert page.table("day (UTC)") == [[day, f"{calls:,}", show_usd(nano)] for day, calls, nano in days]


def test_the_pictures_show_the_figures(text: str, two_weeks: Path) -> None:
    """As long as the bars are drawn, their lengths are in proportion to the dollars."""
    with sqlite3.connect(two_weeks) as file:
        costs = [
            nano
            for (nano,) in file.execute(
                "select sum(cost_nano_usd) from llm_calls group by model order by 1 desc"
            )
        ]
    drawn = text.split("<h2>By model</h2>")[1].split("</svg>")[0]
    lengths = [
        float(found)
        for found in re.findall(r'aria-roledescription="bar"[^>]*d="M0,[0-9.]+h([0-9.]+)v', drawn)
    ]
    assert len(lengths) == len(costs)
    for length, cost in zip(lengths, costs, strict=True):
        assert length / lengths[0] == pytest.approx(cost / costs[0], abs=0.01)


def test_it_says_why_and_what_to_do(text: str) -> None:
    said = " ".join(Page(text).texts)
    assert "Cost doubled on flat traffic" in said
    assert "Restore a stable cache prefix" in said
    assert "Constrain the prompt; lower the cap." in said
    assert "is avoidable" in said


def test_what_a_model_wrote_is_shown_and_not_run(
    db: Path, monkeypatch: pytest.MonkeyPatch, report: Report
) -> None:
    clock: Clock = weeks.freeze(monkeypatch)
    hostile = Habits(agent=HOSTILE, model=HOSTILE, version=HOSTILE, tags=(HOSTILE,))
    with Tracer(db) as tracer:
        record_week(tracer, clock, 0, Habits(runs=6))
        record_week(tracer, clock, 1, hostile)
        record_week(tracer, clock, 1, Habits(runs=20, agent=HOSTILE), seed=1)
        with (
            tracer.session("s", user=HOSTILE),
            tracer.run(HOSTILE) as run,
            run.llm("gpt-4o", messages="x") as call,
        ):
            call.done(HOSTILE)
    monkeypatch.undo()
    end = datetime.fromtimestamp(START_US / 1e6, UTC) + timedelta(days=14)
    result, text = report("--until", end.isoformat(), "--where", "run-name=" + HOSTILE)
    assert result.exit_code == 0, result.output
    page = Page(text)
    check_that_nothing_is_fetched(page, text)
    assert "<script>alert(1)</script>" in " ".join(page.texts)
    assert not set("\x1b\x07\u202e") & set(text)


def test_a_file_without_runs_makes_a_page_that_says_so(db: Path, report: Report) -> None:
    Tracer(db).close()
    result, text = report()
    assert result.exit_code == 0, result.output
    assert "No model call is in this time." in text


def test_only_what_is_asked_for_is_in_it(two_weeks: Path, tmp_path: Path) -> None:
    result, text = make(two_weeks, tmp_path / "docs.html", "--agent", "docs", "--json")
    assert [row[0] for row in Page(text).table("agent")] == ["docs"]
    told = json.loads(result.output)
    assert told["bytes"] == len(text.encode())
    assert "Why it changed" in told["sections"]


def test_what_cannot_be_written_or_compared_is_one_sentence(two_weeks: Path, tmp_path: Path) -> None:
    result, _ = make(two_weeks, tmp_path / "no" / "page.html")
    assert result.exit_code == 1
    assert "cannot be written" in result.output
    assert make(two_weeks, tmp_path / "page.html", "--before", "2099-01-01")[0].exit_code == 2


@pytest.mark.parametrize("module", ["altair", "vl_convert"])
def test_without_the_extra_the_install_line_is_the_answer(tmp_path: Path, module: str) -> None:
    done = without([module], "from tokentrace_core.cli import main\nmain(['report'])", tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"Error: {sentence('the report', 'altair with vl-convert-python', 'report')}\n"
    assert not (tmp_path / "report.html").exists()
