"""The promises on a corpus of made-up texts: what is private goes, what is not stays."""

from __future__ import annotations

import pytest

from tests.redaction.score import Score, disguised, lookalikes, plain, scores, whole
from tokentrace_core import Redactor

_SIZE, _SEED = 120, 20_261_121


@pytest.fixture(scope="module")
def redactor() -> Redactor:
    return Redactor()


@pytest.mark.parametrize("held_out", [False, True], ids=["tuned", "held out"])
def test_nearly_every_secret_of_every_kind_goes(redactor: Redactor, held_out: bool) -> None:
    by_kind = scores(plain(_SIZE, _SEED), redactor)[held_out]
    assert whole(by_kind).share >= 0.99
    assert not _below(by_kind, 0.95)


@pytest.mark.parametrize("held_out", [False, True], ids=["tuned", "held out"])
def test_a_secret_in_disguise_goes_as_well(redactor: Redactor, held_out: bool) -> None:
    by_kind = scores(disguised(_SIZE, _SEED), redactor)[held_out]
    assert whole(by_kind).share >= 0.98
    assert not _below(by_kind, 0.95)


@pytest.mark.parametrize("held_out", [False, True], ids=["tuned", "held out"])
def test_what_only_looks_private_stays(redactor: Redactor, held_out: bool) -> None:
    by_kind = scores(lookalikes(_SIZE, _SEED), redactor)[held_out]
    assert whole(by_kind).share >= 0.99
    assert not _below(by_kind, 0.97)


def _below(by_kind: dict[str, Score], least: float) -> dict[str, Score]:
    return {kind: score for kind, score in by_kind.items() if score.share < least}
