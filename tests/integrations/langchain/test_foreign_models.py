"""Models that report otherwise than the two big providers' clients do: what they say is found where they say it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import ToolException, tool

from tests.integrations.conftest import LastRun
from tests.integrations.figures import COUNTERS, counters_of
from tests.integrations.langchain.agents import GO, agent
from tests.integrations.langchain.driving import Driver
from tests.integrations.turns import adding
from tests.loopback import LoopbackServer, Turn
from tokentrace_core.store.reader import Reader

QUESTION = "Will it rain?"
OPENAI = {"prompt_tokens": 100, "completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 30}}
ANTHROPIC = {"input_tokens": 70, "cache_read_input_tokens": 30, "output_tokens": 20}
EXPECTED = dict.fromkeys(COUNTERS, 0) | {
    "input_uncached_tokens": 70,
    "cache_read_tokens": 30,
    "output_tokens": 20,
}

REPORTS: dict[str, dict[str, Any]] = {
    "token_usage of the message": {"facts": {"token_usage": OPENAI}},
    "usage of the message": {"facts": {"usage": OPENAI}},
    "usage of the message, as Anthropic counts": {"facts": {"usage": ANTHROPIC}},
    "token_usage of the result": {"result": {"token_usage": OPENAI}},
    "usage of the result": {"result": {"usage": OPENAI}},
    # LangChain copies what the result says to the message, unless the message says something itself.
    "token_usage of the result, but an empty one of the message": {
        "facts": {"token_usage": {}},
        "result": {"token_usage": OPENAI},
    },
    "usage of the result, but an empty one of the message": {
        "facts": {"usage": {}},
        "result": {"usage": OPENAI},
    },
}


class ForeignModel(BaseChatModel):
    """Says what it used, and who it is, where the test wants it."""

    facts: dict[str, Any] = {}  # noqa: RUF012 (a pydantic field)
    result: dict[str, Any] | None = None
    used: dict[str, Any] | None = None

    @property
    def _llm_type(self) -> str:
        return "foreign"

    def _get_ls_params(self, stop: Any = None, **kwargs: Any) -> LangSmithParams:
        return LangSmithParams(ls_provider="foreign", ls_model_name="gpt-4o-mini", ls_model_type="chat")

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        answer = AIMessage(content="Yes.", response_metadata=self.facts)
        answer.usage_metadata = self.used  # type: ignore[assignment]
        return ChatResult(generations=[ChatGeneration(message=answer)], llm_output=self.result)


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_usage_is_found_wherever_a_model_reports_it(
    call: Driver, config: Any, last_run: LastRun, report: dict[str, Any]
) -> None:
    call(ForeignModel(**report), QUESTION, config)
    run, [stored_call] = last_run()
    assert counters_of(stored_call) == EXPECTED
    assert stored_call["usage_source"] == "reported"
    assert run["estimated_calls"] == 0


def test_the_common_report_wins_over_the_providers_own(call: Driver, config: Any, last_run: LastRun) -> None:
    used = {"input_tokens": 5, "output_tokens": 1, "total_tokens": 6}
    call(ForeignModel(used=used, facts={"token_usage": OPENAI}), QUESTION, config)
    run, _ = last_run()
    assert (run["input_tokens"], run["output_tokens"]) == (5, 1)


@pytest.mark.parametrize("name", ["model_name", "model"])
def test_who_answered_is_found_under_either_name(
    call: Driver, config: Any, last_run: LastRun, name: str
) -> None:
    facts = {name: "gpt-4o", "model_provider": "openai", "token_usage": OPENAI}
    call(ForeignModel(facts=facts), QUESTION, config)
    run, [stored_call] = last_run()
    assert (stored_call["model"], stored_call["model_answered"]) == ("gpt-4o-mini", "gpt-4o")
    # 70 tokens at $2.50 a million, 30 at half of that, 20 at $10.
    assert run["cost_nano_usd"] == 70 * 2500 + 30 * 1250 + 20 * 10_000


def test_the_provider_that_answered_is_the_one_that_is_stored(
    call: Driver, config: Any, last_run: LastRun
) -> None:
    call(ForeignModel(facts={"model_provider": "openai"}), QUESTION, config)
    assert last_run()[1][0]["provider"] == "openai"


def test_without_a_word_of_the_reply_it_is_the_one_that_was_asked(
    call: Driver, config: Any, last_run: LastRun
) -> None:
    call(ForeignModel(), QUESTION, config)
    assert last_run()[1][0]["provider"] == "foreign"


def test_a_model_that_says_it_was_free_has_not_been_served_from_a_cache(
    call: Driver, config: Any, last_run: LastRun
) -> None:
    used = {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120, "total_cost": 0}
    facts = {"model_provider": "openai"}
    call(ForeignModel(used=used, facts=facts, result={"model_name": "gpt-4o-mini"}), QUESTION, config)
    run, [stored_call] = last_run()
    assert (stored_call["cost_status"], run["input_tokens"]) == ("priced", 100)
    assert run["cost_nano_usd"] > 0


def test_what_a_tool_said_goes_into_the_prompt_with_its_name_and_its_failure(
    call: Driver, server: LoopbackServer, config: Any, stored: Callable[[], Reader]
) -> None:
    @tool
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        if a > b:
            raise ToolException("out of numbers")
        return a + b

    add.handle_tool_error = True
    server.script(adding(2, 1), adding(1, 2), Turn("three"))
    call(agent(server, add), GO, config)
    reader = stored()
    last_call = reader.llm_calls(reader.run("last")["id"])[-1]
    said = [row["body"] for row in reader.messages(last_call["prompt_id"]) if row["role"] == "tool"]
    ids = [message.pop("tool_call_id") for message in said]
    assert said == [
        {"role": "tool", "content": "out of numbers", "name": "add", "status": "error"},
        {"role": "tool", "content": "3", "name": "add"},
    ]
    assert len(set(ids)) == 2
