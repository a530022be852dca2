"""Nobody can stop an agent by sending it a text: whatever it holds, redacting it costs in proportion to its length."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from tests.redaction.hostile import FRAGMENTS, documents, mixed, repeated
from tokentrace_core.redact import Redactor

_LENGTH = 100_000
#: The promise, for so long a text. What is measured is a third of it or less, for objects in objects two thirds.
_MOST_S = 1.0
#: For four times the text; a quadratic rule takes sixteen times as long. Less than the floor is noise.
_GROWTH, _FLOOR_S = 10, 0.004
#: What takes too long is timed again: the machine may have been busy, and then even a thread's own time runs faster.
_TRIES = 3


@pytest.mark.parametrize("aim", FRAGMENTS)
def test_a_fragment_repeated_without_end_costs_time_in_proportion(aim: str) -> None:
    slow = {
        fragment: times
        for fragment in FRAGMENTS[aim]
        if (times := _out_of_proportion(lambda length, one=fragment: repeated(one, length)))
    }
    assert not slow


@pytest.mark.parametrize("seed", range(12))
def test_fragments_of_several_rules_together_cost_no_more(seed: int) -> None:
    assert not _out_of_proportion(lambda length: mixed(Random(seed), length))


@pytest.mark.parametrize(("name", "value"), list(documents(_LENGTH)))
def test_documents_cost_no_more_than_plain_text(name: str, value: Any) -> None:
    assert _keeps_the_promise(lambda: Redactor().redact_value(value))


@pytest.mark.parametrize("size", [1, _LENGTH])
@pytest.mark.parametrize(
    "fragment", ["pwd=a(", "1.1.1.1.", "1-", "0049 30 123456,", "sk-", "bearer+", "a", "\\", '"password":[']
)
def test_a_stream_costs_no_more_however_it_is_cut(fragment: str, size: int) -> None:
    text = repeated(fragment, _LENGTH)
    assert _keeps_the_promise(lambda: [*_streamed(text, size)])


def test_an_allowed_text_may_stand_there_as_often_as_it_likes() -> None:
    redactor, text = Redactor(allow=["ada@example.com"]), repeated("ada@example.com, ", _LENGTH)
    assert _keeps_the_promise(lambda: redactor.redact(text))
    assert redactor.redact(text[:17] * 3) == text[:17] * 3


def _streamed(text: str, size: int) -> Iterator[str]:
    stream = Redactor().stream()
    for at in range(0, len(text), size):
        yield stream.feed(text[at : at + size])
    yield stream.close()


def _out_of_proportion(make: Callable[[int], str]) -> tuple[float, float] | None:
    """The two times, if they are."""
    for _ in range(_TRIES):
        small, large = (_seconds(_redacting(make(length))) for length in (_LENGTH // 4, _LENGTH))
        if large <= _MOST_S and large <= _GROWTH * max(small, _FLOOR_S):
            return None
    return small, large


def _redacting(text: str) -> Callable[[], str]:
    return lambda: Redactor().redact(text)


def _keeps_the_promise(work: Callable[[], object]) -> bool:
    return any(_seconds(work) <= _MOST_S for _ in range(_TRIES))


def _seconds(work: Callable[[], object]) -> float:
    """Of this thread alone: what else the machine does is not counted."""
    started = time.thread_time()
    work()
    return time.thread_time() - started
