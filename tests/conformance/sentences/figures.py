"""What a run cost: every token in its column, every request once, and what is not known is not zero."""

from __future__ import annotations

import pytest

from tests.conformance.stage import Stage
from tests.conformance.work import Work, add, calls
from tests.loopback import Turn, TurnUsage

FLAT_OUT = Turn(status=429, headers={"retry-after-ms": "1"})
DOWN = Turn(status=500, error_message="the model is on fire", headers={"retry-after-ms": "1"})


class Figures:
    def test_cached_tokens_cost_what_cached_tokens_cost(self, stage: Stage, style: str) -> None:
        """Else a well cached agent looks twice as dear as it is."""
        stage.expect("Again?", Turn("Again.", usage=TurnUsage(1_000, 20, cached=800)))
        stage.ask(Work("Again?"), style)
        assert (
            stage.tree()
            == """\
run success $0.000102 -> Again.
  step 1 of boss: success
    llm openai/gpt-4o-mini success input=200 cache_read=800 output=20 $0.000102
"""
        )

    def test_reasoning_tokens_are_a_part_of_the_output_and_shown(self, stage: Stage, style: str) -> None:
        """Else they are paid twice, or nobody sees why so short an answer is so dear."""
        stage.expect("Why?", Turn("Because.", usage=TurnUsage(100, 500, reasoning=480)))
        stage.ask(Work("Why?"), style)
        assert (
            stage.tree()
            == """\
run success $0.000315 -> Because.
  step 1 of boss: success
    llm openai/gpt-4o-mini success input=100 output=500 reasoning=480 $0.000315
"""
        )

    def test_anthropics_cache_is_counted_when_it_is_written_and_when_it_is_read(
        self, stage: Stage, style: str
    ) -> None:
        """Else the dearest tokens of all are missing from the bill, or counted twice."""
        stage.expect(
            "What is 1+2?",
            calls(("add", {"a": 1, "b": 2}), usage=TurnUsage(1_000, 20, cache_write=900)),
            Turn("three", usage=TurnUsage(1_100, 20, cached=900)),
        )
        stage.ask(Work("What is 1+2?", (add,), provider="anthropic", model="claude-haiku-4-5"), style)
        assert (
            stage.tree()
            == """\
run success $0.001715 -> three
  step 1 of boss: success
    llm anthropic/claude-haiku-4-5 success input=100 cache_write_5m=900 output=20 $0.001325
    tool add{"a": 1, "b": 2} success -> 3
  step 2 of boss: success
    llm anthropic/claude-haiku-4-5 success input=200 cache_read=900 output=20 $0.00039
"""
        )

    def test_a_model_without_a_price_costs_nobody_knows_what_and_is_counted(
        self, stage: Stage, style: str
    ) -> None:
        """Else the newest model looks free."""
        stage.expect("Who are you?", Turn("foo"))
        stage.ask(Work("Who are you?", model="foo-9"), style)
        assert (
            stage.tree()
            == """\
run success $0 -> foo
  step 1 of boss: success
    llm openai/foo-9 success input=100 output=20 unpriced
"""
        )
        [run] = stage.read().runs()
        assert run["unpriced_calls"] == 1

    def test_a_request_that_succeeds_when_the_client_tries_again_is_one_call(
        self, stage: Stage, style: str
    ) -> None:
        """Else a bad day of the provider doubles the bill on paper."""
        tries = iter([FLAT_OUT, DOWN])
        stage.server.answer_with(lambda body: next(tries, Turn("at last")))
        assert stage.ask(Work("Are you there?"), style) == "at last"
        assert (
            stage.tree(retried=2)
            == """\
run success $0.000027 -> at last
  step 1 of boss: success
    llm openai/gpt-4o-mini success input=100 output=20 $0.000027
"""
        )

    def test_a_provider_that_stays_down_fails_the_run_costs_nothing_and_leaves_the_next_run_clean(
        self, stage: Stage, style: str
    ) -> None:
        """Else an outage is billed, or haunts what comes after it."""
        stage.expect("Are you there?", DOWN)
        stage.expect("And now?", calls(("add", {"a": 1, "b": 2})), Turn("three"))
        with pytest.raises(Exception, match="on fire"):
            stage.ask(Work("Are you there?"), style)
        tries = stage.server.count
        assert tries > 1, "the client has tried again"
        stage.ask(Work("And now?", (add,)), style)
        failed, clean = stage.trees(retried=tries - 1)
        assert (
            failed
            == """\
run failure $0
  step 1 of boss: failure
    llm openai/gpt-4o-mini failure $0
"""
        )
        assert (
            clean
            == """\
run success $0.000054 -> three
  step 1 of boss: success
    llm openai/gpt-4o-mini success input=100 output=20 $0.000027
    tool add{"a": 1, "b": 2} success -> 3
  step 2 of boss: success
    llm openai/gpt-4o-mini success input=100 output=20 $0.000027
"""
        )
        assert "on fire" in stage.read().runs()[-1]["error"]

    def test_an_abandoned_stream_is_over_and_paid_for(self, stage: Stage) -> None:
        """Else closing the browser tab makes a call free on paper, or leaves it running for ever."""
        stage.expect("Tell me a story.", Turn("Once upon a time there was an agent.", chunk_delay=0.05))
        assert "Once upon a time there was an agent.".startswith(stage.abandon(Work("Tell me a story.")))
        reader = stage.checked()
        [run] = reader.runs()
        [call] = reader.llm_calls(run["id"])
        # A framework may read on behind its user's back; what was heard to the end is a plain success.
        heard_out = stage.server.answered == 1
        assert (call["status"], call["usage_source"]) == (
            ("success", "reported") if heard_out else ("cancelled", "estimated")
        )
        assert run["status"] in ("success", "cancelled")
        assert call["cost_nano_usd"] > 0
