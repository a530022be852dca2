"""A program without a framework, recorded by blocks and decorators: a canary in every place that takes a text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.privacy.canaries.bench import Bench
from tests.privacy.canaries.outlets import Outlets
from tests.privacy.canaries.planting import Cage
from tokentrace_core import Budget, ModelPrice, PriceBook, Tracer, signals

PRICES = PriceBook(
    {
        "gpt-4o-mini": ModelPrice(input=1, output=10),
        "dear": ModelPrice(input=100_000, output=100_000),
        "unknown": ModelPrice(input=1, output=1),  # what LlamaIndex calls the model behind its embeddings
    }
)
BUDGET = Budget(
    user_day_usd=5, session_usd=50, project_month_usd=10**6, max_repeats=2, steps=9, on_unpriced="block"
)


#: Heard, and not kept at all.
NOT_KEPT = {
    "a file to redact",
    "amount that is none",
    "error in a group",
    "note of an error",
    "reasoning in an answer",
}


def work(bench: Bench) -> None:
    tracer, cage, outlets = bench.tracer, bench.cage, bench.outlets
    _a_conversation(tracer, cage, outlets)
    _a_decorated_agent(tracer, cage, outlets)
    _a_failing_agent(tracer, cage, outlets)
    _stops(tracer, cage, outlets)
    _faults(tracer, cage, outlets)


def _a_conversation(tracer: Tracer, cage: Cage, outlets: Outlets) -> None:
    session = tracer.session(
        cage.at("session id"),
        user=cage.at("user id"),
        channel=cage.said_at("session metadata"),
        **cage.named_at("session metadata"),
    )
    facts = {
        "input": {"question": cage.said_at("run input"), **cage.named_at("run input")},
        "task_type": cage.at("task type"),
        "agent_version": cage.at("agent version"),
        "environment": cage.at("environment"),
        "tags": [cage.at("tag"), "plain"],
        "attributes": {
            cage.at("attribute's key"): cage.said_at("attribute"),
            "deep": [{"a": (cage.at("attribute"),)}],
        },
    }
    with session, tracer.run(cage.at("run name"), **facts) as run:
        run.add_tags(cage.at("tag, later"))
        run.set(**{cage.at("attribute's key, later"): cage.at("attribute, later")})
        run.record_error(ValueError(cage.said_at("error survived")))
        with run.step(cage.at("step name")) as step:
            step.set(note=cage.said_at("attribute of a step"))
            _a_call(step, cage, outlets)
            _a_streamed_call(step, cage)
            with step.tool(
                cage.at("tool name"),
                {"q": cage.said_at("tool arguments"), **cage.named_at("tool arguments")},
                tool_call_id=cage.at("tool call id"),
            ) as tool:
                tool.done({"row": [cage.said_at("tool result")], cage.at("key of a tool result"): 1})
                tool.score(cage.at("score's name"), 0.5, cage.said_at("score's comment"))
            with step.tool("polite", cage.said_at("tool arguments as a text")) as tool:
                tool.done(cage.said_at("tool result"), error=cage.said_at("error that a tool reports"))
            with step.tool("search", {"query": cage.said_at("query")}, kind="retrieval") as found:
                found.done(
                    [
                        {
                            "content": cage.said_at("document"),
                            "metadata": {"source": cage.at("document's metadata")},
                        }
                    ]
                )
            step.set_reasoning(cage.said_at("reasoning"))
        with (
            tracer.run(cage.at("name of a nested agent")),
            tracer.llm("gpt-4o-mini", messages="hi", step_name=cage.at("name of a call's step")) as call,
        ):
            call.done("ok")
        run.set_output([cage.said_at("run output")])
        outlets.look_at(
            run, step, call, tool, session, run.span, step.span, call.span, tool.span, tracer, tracer.recorder
        )
    with tracer.run("later", user="plain") as run, run.step():
        run.set_user(cage.at("user id, later"))
        tracer.set(late=cage.said_at("attribute, by the tracer"))
        tracer.add_tags(cage.at("tag, by the tracer"))


def _a_call(step: Any, cage: Cage, outlets: Outlets) -> None:
    definition = {
        "name": cage.at("name of a tool definition"),
        "description": cage.said_at("description of a tool"),
        "input_schema": {"properties": {"id": {"default": cage.at("default in a tool's schema")}}},
    }
    prompt = [
        {"role": "user", "content": cage.said_at("prompt")},
        {
            "role": "assistant",
            "content": cage.said_at("history"),
            "tool_calls": [
                {
                    "id": cage.at("id in history"),
                    "name": "find",
                    "arguments": {"a": cage.said_at("arguments in history")},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "t1", "content": cage.said_at("tool result in history")},
        {
            "role": "user",
            "name": cage.at("name of who speaks"),
            "content": [
                {"type": "text", "text": cage.said_at("part of a prompt")},
                {
                    "type": "image_url",
                    "image_url": {"url": f"https://example.com/?q={cage.at('address of an image')}"},
                },
            ],
        },
    ]
    asked = {
        "system": cage.said_at("system prompt"),
        "provider": cage.at("provider"),
        "stop": [cage.at("parameter")],
        "extra_headers": {"X-Customer": cage.at("header"), "Authorization": f"Bearer {cage.at('header')}"},
        "metadata": {
            cage.at("key of a call's metadata"): cage.at("call's metadata"),
            **cage.named_at("call's metadata"),
        },
        "response_format": {"json_schema": {"description": cage.said_at("schema of an answer")}},
    }
    with step.llm("gpt-4o-mini", messages=prompt, tools=[definition], **asked) as call:
        call.set(note=cage.said_at("attribute of a call"))
        call.done(
            {
                "id": cage.at("response id"),
                "model": cage.at("model that answered"),
                "choices": [
                    {
                        "finish_reason": cage.at("stop reason"),
                        "message": {
                            "role": "assistant",
                            "content": cage.said_at("answer"),
                            "reasoning_content": cage.said_at("reasoning in an answer"),
                            "tool_calls": [
                                {
                                    "id": cage.at("id of a call asked for"),
                                    "function": {
                                        "name": cage.at("name of a call asked for"),
                                        "arguments": f'{{"q": "{cage.at("arguments asked for")}"}}'.replace(
                                            "\n", " "
                                        ),
                                    },
                                }
                            ],
                        },
                    }
                ],
                "usage": {"prompt_tokens": 9, "completion_tokens": 2},
            }
        )
    outlets.look_at(call)


def _a_streamed_call(step: Any, cage: Cage) -> None:
    said = cage.said_at("streamed answer")
    with step.llm("gpt-4o-mini", messages=cage.said_at("prompt as a text")) as call:
        for at in range(0, len(said), 5):
            call.chunk({"choices": [{"delta": {"content": said[at : at + 5]}}]})


def _a_decorated_agent(tracer: Tracer, cage: Cage, outlets: Outlets) -> None:
    @tracer.tool
    def look_up(customer: str, **how: str) -> dict[str, str]:
        return {"found": cage.said_at("result of a decorated tool")}

    @tracer.llm("gpt-4o-mini")
    def ask(prompt: str) -> Iterator[str]:
        said = cage.said_at("yielded answer")
        yield from (said[at : at + 7] for at in range(0, len(said), 7))

    @tracer.run("decorated")
    def agent(question: str) -> str:
        look_up(cage.said_at("argument of a decorated tool"), **cage.named_at("argument of a decorated tool"))
        "".join(ask(cage.said_at("argument of a decorated call")))
        return cage.said_at("returned by a decorated agent")

    agent(cage.said_at("argument of a decorated agent"))
    outlets.look_at(agent, ask, look_up)


def _a_failing_agent(tracer: Tracer, cage: Cage, outlets: Outlets) -> None:
    with outlets.raising(Exception), tracer.run("failing") as run:
        with outlets.raising(ConnectionError), run.llm("gpt-4o-mini", messages="x") as call:
            call.chunk({"choices": [{"delta": {"content": cage.said_at("broken stream")}}]})
            raise ConnectionError(cage.said_at("error of a model"))
        with outlets.raising(ValueError), run.tool("context"):
            try:
                raise KeyError(cage.at("context of an error"))
            except KeyError:
                raise ValueError(cage.said_at("error of a tool"))  # noqa: B904  that is how it is done
        with outlets.raising(RuntimeError), run.tool("cause"):
            error = RuntimeError("refused", {"body": cage.said_at("argument of an error")})
            error.add_note(cage.said_at("note of an error"))
            raise error from LookupError(cage.said_at("cause of an error"))
        with outlets.raising(ExceptionGroup), run.tool("group"):
            raise ExceptionGroup(
                cage.said_at("error of a group"), [OSError(cage.said_at("error in a group"))]
            )
        raise type(cage.at("name of an error's class"), (Exception,), {})("odd")


def _stops(tracer: Tracer, cage: Cage, outlets: Outlets) -> None:
    with tracer.run(
        "broke", user=cage.at("user of a stopped run"), session=cage.at("session of a stopped run")
    ) as run:
        for _ in range(2):
            with outlets.raising(), run.llm("dear", messages="x" * 400) as call:
                call.done("y" * 400)
    with tracer.run("in circles", user="u") as run:
        name, arguments = (
            cage.at("tool of an agent in circles"),
            {"q": cage.said_at("arguments of an agent in circles")},
        )
        for _ in range(3):
            with run.tool(name, arguments):
                pass
        with outlets.raising(), run.llm("gpt-4o-mini", messages="x"):
            pass
    with tracer.run("unpriced", user="u") as run:
        with outlets.raising(), run.llm(cage.at("model without a price"), messages="x"):
            pass
    with outlets.raising():
        tracer.reserve(6, user=cage.at("user of a reservation"))


def _faults(tracer: Tracer, cage: Cage, outlets: Outlets) -> None:
    """Our log tells of faults; those of the user's code that we call have texts of their own."""

    def receive(recorder: object, **fact: object) -> None:
        raise LookupError(cage.said_at("error of a receiver"))

    def unreadable(message: object) -> Any:
        raise TypeError(cage.said_at("error in reading a message"))

    class Sentry:
        def __repr__(self) -> str:
            raise RuntimeError(cage.said_at("error in a repr"))

        __str__ = __repr__

    with signals.run_started.connected_to(receive, sender=tracer.recorder):
        with tracer.run("odd", input={"object": Sentry()}) as run:
            with run.tool("charged") as tool:
                tool.done(Sentry(), cost_usd=cage.at("amount that is none"))
            asked = {"model": "gpt-4o-mini", "messages": [object()], "to_message": unreadable}
            tracer.recorder.open_llm("odd call", **asked)
            tracer.recorder.close_llm("odd call", output=object(), to_message=unreadable)
            with run.llm("gpt-4o-mini", messages=Sentry()) as call:
                call.done(Sentry())
