"""Filler before the answer: found in whatever words, and never in an answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.analysis.audit.conftest import Agent, only, user
from tokentrace_core import Usage
from tokentrace_core.analysis.audit import Audit
from tokentrace_core.filler import filler_length

Audited = Callable[..., Audit]
ANSWER = "The parcel left Rotterdam on Monday and is due tomorrow."

FILLER = [
    "Great question! ",
    "You're absolutely right, and I apologize for the confusion. ",
    "Certainly! I'd be happy to help you with that. ",
    "What a thoughtful and well-worded question! Thank you so much for your patience.\n\n",
    "Absolutely! It is wonderful to see how carefully you think about this. Let me take a look for you. ",
    "I\u2019m sorry for the trouble this has caused you. I completely understand how frustrating this is. ",
]
PLAIN = [
    ANSWER,
    "Yes. The build passes.",
    "You're right.",
    "Sure, here is the plan:\n- a\n- b",
    "Thanks to the new index, latency fell by half. Nothing else changed.",
    "Great Expectations is a novel by Dickens. It appeared in parts.",
    "Perfect competition means many sellers. None sets the price.",
    "Sorry, the file does not exist. Check the path.",
    "Happy customers stay longer. Churn fell.",
    "def sure(): return 1\nThank you.",
    "",
]


@pytest.mark.parametrize("filler", FILLER)
def test_filler_is_what_stands_before_the_answer(filler: str) -> None:
    assert filler_length(filler + ANSWER) == len(filler)


@pytest.mark.parametrize("answer", PLAIN)
def test_an_answer_is_never_taken_for_filler(answer: str) -> None:
    assert filler_length(answer) == 0


@given(st.text())
def test_no_reply_breaks_the_reading_of_it(text: str) -> None:
    length = filler_length(text)
    assert 0 <= length <= len(text)
    assert not length or text[length:].strip()


def replies(agent: Agent, count: int, filler: str = FILLER[2], **usage: int) -> None:
    for number in range(count):
        with agent.tracer.run("support"):
            agent.ask([user(f"Where is parcel {number}?")], filler + ANSWER, **usage)


def test_a_habit_costs_its_share_of_the_output(agent: Agent, audited: Audited) -> None:
    replies(agent, 10, prompt=100, output=35)
    finding = only(audited())
    assert finding.kind == "preamble"
    assert len(finding.calls) == finding.times == 10
    share = len(FILLER[2]) / (len(FILLER[2] + ANSWER) + len('{"content":"","role":"assistant"}'))
    assert finding.wasted_tokens == 10 * int(35 * share)
    assert finding.wasted_nano_usd == finding.wasted_tokens * 10_000


def test_thoughts_are_no_preamble(agent: Agent, audited: Audited) -> None:
    for number in range(5):
        with agent.tracer.run("support"), agent.tracer.llm("claude-x", messages=[user(str(number))]) as call:
            call.done(
                FILLER[2] + ANSWER,
                usage=Usage(input_uncached_tokens=9, output_tokens=1_035, reasoning_tokens=1_000),
            )
    assert only(audited()).wasted_tokens < 5 * 35


def test_one_sure_is_no_habit(agent: Agent, audited: Audited) -> None:
    replies(agent, 2, prompt=100, output=35)
    replies(agent, 30, "Sure! ", prompt=100, output=20)
    assert audited().findings == ()


def test_filler_in_a_call_that_should_not_have_been_made_is_not_paid_twice(
    agent: Agent, audited: Audited
) -> None:
    with agent.tracer.run("support"):
        for _ in range(8):
            agent.ask([user("Where is it?")], FILLER[2] + ANSWER, prompt=100, output=35)
            agent.use("lookup", {"id": 1}, error="429")
    storm, filler = sorted(audited().findings, key=lambda finding: finding.kind, reverse=True)
    assert (storm.kind, filler.kind) == ("retry_storm", "preamble")
    assert (len(storm.calls), len(filler.calls)) == (5, 3)
    assert not set(storm.calls) & set(filler.calls)
