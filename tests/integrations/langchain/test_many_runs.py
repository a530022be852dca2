"""P15: a process that runs agents for weeks holds no more after a thousand runs than after a hundred."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableLambda

from tests.integrations.figures import statuses
from tests.loopback import LoopbackServer, Turn
from tests.loopback.clients import chat_openai
from tokentrace_core import Tracer
from tokentrace_core.store.reader import Reader

KIB = 1024
MIB = 1024 * KIB


class QuickModel(BaseChatModel):
    """Answers at once, at some length, with what it was asked: no two answers are the same."""

    length: int = 200

    @property
    def _llm_type(self) -> str:
        return "quick"

    def _answer(self, messages: Any) -> str:
        asked = str(messages[-1].content)
        return asked * (self.length // len(asked))

    def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
        usage = {"input_tokens": 10, "output_tokens": 50, "total_tokens": 60}
        answer = AIMessage(content=self._answer(messages), usage_metadata=usage)
        return ChatResult(generations=[ChatGeneration(message=answer)])

    def _stream(self, messages: Any, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for _ in range(3):
            yield ChatGenerationChunk(message=AIMessageChunk(content=self._answer(messages)))


@pytest.fixture
def held(tracer: Tracer) -> Iterator[Callable[[], int]]:
    """How many bytes are held, once everything is in the file."""

    def measure() -> int:
        assert tracer.flush(30)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    yield measure
    tracemalloc.stop()


def test_p15_thousands_of_runs_some_of_them_abandoned_leave_nothing_behind(
    tracer: Tracer, config: Any, stored: Callable[[], Reader], held: Callable[[], int]
) -> None:
    model = QuickModel()
    whole, chain = RunnableLambda(model.invoke), RunnableLambda(lambda question: question) | model

    def run(numbers: range) -> None:
        for number in numbers:
            question = f"question {number % 100}"  # ids of texts are remembered by the writer, up to a number
            facts = config | {"metadata": {"session_id": f"session {number}", "user_id": "ada"}}
            if number % 10:
                whole.invoke(question, facts)
            else:
                stream = chain.stream(question, facts)
                next(stream)
                stream.close()

    run(range(2500))  # what is remembered of the latest few thousand is full then
    before, threads = held(), threading.active_count()
    run(range(2500, 5000))
    assert held() - before < 0.9 * MIB
    assert threading.active_count() == threads
    assert tracer.recorder.open_parts == 0
    reader = stored()
    [row] = reader.query("select count(*) as runs, count(distinct session_id) as sessions from runs")
    assert row == {"runs": 5000, "sessions": 5000}
    assert statuses(reader) == {"success", "cancelled"}
    [row] = reader.query("select count(*) as abandoned from llm_calls where status = 'cancelled'")
    assert row == {"abandoned": 500}


@pytest.mark.usefixtures("instrumented")
def test_p15_replies_that_two_handlers_report_are_not_kept_once_their_runs_have_ended(
    tracer: Tracer, config: Any, stored: Callable[[], Reader], held: Callable[[], int]
) -> None:
    model = QuickModel(length=20 * KIB)  # alone: its run is over before the second handler hears of the reply

    def run(numbers: range) -> None:
        for number in numbers:
            model.invoke(f"question {number}", config | {"metadata": {"session_id": f"session {number}"}})

    run(range(100))
    before = held()
    run(range(100, 500))
    # A kept reply is 20 KiB; what is remembered of a run that is over is its ids.
    assert held() - before < 2 * MIB
    assert tracer.recorder.open_parts == 0
    assert next(stored().query("select count(*) as runs from runs"))["runs"] == 500


@pytest.mark.usefixtures("nothing_collected")
def test_p15_connections_of_streams_that_are_abandoned_leave_nothing_behind(
    server: LoopbackServer, tracer: Tracer, config: Any, stored: Callable[[], Reader]
) -> None:
    server.answer_with(lambda body: Turn("one two"))
    model = chat_openai(server)
    model.invoke("warm up", config)
    threads = threading.active_count()
    for number in range(100):
        if number % 10:
            model.invoke(f"question {number}", config)
        else:
            stream = model.stream(f"question {number}", config)
            next(stream)
            stream.close()
    assert tracer.recorder.open_parts == 0
    assert threading.active_count() <= threads
    [row] = stored().query("select count(*) as runs, sum(status = 'cancelled') as abandoned from runs")
    assert row == {"runs": 101, "abandoned": 10}
