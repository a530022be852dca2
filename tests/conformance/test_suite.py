"""The rule of the suite: whoever leaves a sentence out, skips it or changes it must say why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.langchain_driver import LangChainDriver
from tests.conformance.suite import HandlerSuite, sentences

SENTENCE = "test_an_abandoned_stream_is_over_and_paid_for"
WHY = "The framework reads every stream to its end, whoever listens."
SKIPPING = """
import pytest
from tests.conformance.langchain_driver import LangChainDriver
from tests.conformance.suite import HandlerSuite

class Tired(LangChainDriver):
    async def stream(self, work):
        pytest.skip("not today")
        yield ""

class TestTired(HandlerSuite):
    driver = Tired
"""


def otherwise(self: Any) -> None:
    """Not what the suite says."""


def define(*bases: type, **body: Any) -> type[HandlerSuite]:
    return type("TestFramework", (*bases, HandlerSuite), {"driver": LangChainDriver, **body})


def test_every_sentence_is_one() -> None:
    assert len(sentences()) >= 24
    assert all(getattr(HandlerSuite, name).__doc__.startswith("Else ") for name in sentences())


def test_a_framework_that_keeps_every_sentence_needs_no_reason() -> None:
    assert define().EXCEPTIONS == {}


@pytest.mark.parametrize("value", [otherwise, None, pytest.mark.skip(otherwise)])
def test_a_sentence_is_not_overridden_without_a_reason(value: Any) -> None:
    with pytest.raises(TypeError, match=f"{SENTENCE} is not kept, and EXCEPTIONS says no reason"):
        define(**{SENTENCE: value})
    with pytest.raises(TypeError, match=SENTENCE):
        define(**{SENTENCE: value}, EXCEPTIONS={SENTENCE: " "})
    define(**{SENTENCE: value}, EXCEPTIONS={SENTENCE: WHY})


def test_a_base_class_does_not_override_a_sentence_behind_our_backs() -> None:
    with pytest.raises(TypeError, match=SENTENCE):
        define(type("Mixin", (), {SENTENCE: otherwise}))


def test_a_reason_for_a_sentence_that_is_kept_is_stale() -> None:
    with pytest.raises(TypeError, match=f"excuses {SENTENCE}, which is kept"):
        define(EXCEPTIONS={SENTENCE: WHY})


@pytest.mark.parametrize(
    "body",
    [{"pytestmark": [pytest.mark.skip]}, {"__test__": False}, {"__init_subclass__": classmethod(otherwise)}],
    ids=["marked", "hidden", "unruled"],
)
def test_the_whole_suite_is_not_switched_off(body: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="is not kept"):
        define(**body)


def test_a_driver_that_skips_has_failed(tmp_path: Path) -> None:
    suite = tmp_path / "test_tired.py"
    suite.write_text(SKIPPING, "utf-8")
    pytest_of_its_own = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conformance.conftest"]
    fixtures = ["-p", "tests.conftest", "--rootdir", str(tmp_path), "-p", "no:cacheprovider"]
    played = subprocess.run(
        [*pytest_of_its_own, *fixtures, f"{suite}::TestTired::{SENTENCE}"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"TestTired.{SENTENCE} is skipped and EXCEPTIONS says no reason" in played.stdout
    assert "1 failed" in played.stdout
