"""The audit against a month of several agents in which somebody else planted waste: each place found, to 2 %, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.analysis.audit.conftest import check
from tokentrace_core import PriceBook
from tokentrace_core.analysis import Scope
from tokentrace_core.analysis.audit import Audit, audit
from tokentrace_core.cli.demo.month import AUDIT, KINDS, Planted, write_month

Month = tuple[Planted, Audit, Path]


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Month]:
    """The audit of a month, made once."""
    made: dict[tuple[str, ...], Month] = {}

    def look(*kinds: str) -> Month:
        if kinds not in made:
            path = tmp_path_factory.mktemp("month") / "month.db"
            planted = write_month(path, plant=kinds)
            made[kinds] = planted, audit(path, Scope(), prices=PriceBook()), path
        return made[kinds]

    return look


def test_the_month_of_the_seed_wastes_47_percent(month: Callable[..., Month]) -> None:
    planted, found, path = month(*AUDIT)
    assert found.nano_usd == planted.total_nano_usd
    assert found.tokens == planted.total_tokens
    assert found.share == pytest.approx(0.47, abs=0.01)
    assert found.wasted_tokens == pytest.approx(planted.tokens, rel=0.02)
    check(found, path)


@pytest.mark.parametrize("kinds", [AUDIT, KINDS], ids=["the four of the seed", "all at once"])
def test_each_place_is_found_with_its_dollars_and_its_calls(
    month: Callable[..., Month], kinds: tuple[str, ...]
) -> None:
    planted, found, path = month(*kinds)
    assert {finding.kind for finding in found.findings} == set(kinds)
    for kind, place in planted.places.items():
        findings = [finding for finding in found.findings if finding.kind == kind]
        assert sum(finding.wasted_nano_usd for finding in findings) == pytest.approx(
            place.nano_usd, rel=0.02
        ), kind
        assert sum(finding.wasted_tokens for finding in findings) == pytest.approx(place.tokens, rel=0.02), (
            kind
        )
        assert {call for finding in findings for call in finding.calls} <= set(place.calls), kind
    check(found, path)


def test_a_team_that_does_all_this_well_hears_nothing(month: Callable[..., Month]) -> None:
    planted, found, _ = month()
    assert found.calls > 2_000
    assert planted.places == {}
    assert found.findings == ()
