"""What an agent of the month does in a run: it asks models, uses tools, hands work to sub-agents; and time passes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from tokentrace_core.call_blocks import LLMBlock
from tokentrace_core.cli.demo.month.provider import MODELS, Answer, Message
from tokentrace_core.cli.demo.month.stage import Bill, Request, Stage, Visit
from tokentrace_core.usage import Usage


class ToolFault(Exception):
    """A tool that does not work."""


class ModelFault(Exception):
    """A provider that does not answer."""


@contextmanager
def entered(stage: Stage, visit: Visit, session: str, **facts: Any) -> Iterator[Scene]:
    """The run of a visit. The agent's failures are recorded, and go no further."""
    stage.time.at = visit.at
    with suppress(ToolFault, ModelFault, TimeoutError):
        if stage.tracer is None:
            yield Scene(stage, visit, None)
        else:
            with stage.tracer.session(session, user=visit.user):
                with stage.tracer.run(visit.agent, agent_version=visit.version, **facts) as run:
                    yield Scene(stage, visit, run)


class Scene:
    """A run under way, or an agent inside it."""

    def __init__(self, stage: Stage, visit: Visit, run: Any) -> None:
        self.stage = stage
        self.visit = visit
        self._run = run
        self._ended = 0
        """When the last of its sub-agents was done."""

    def has(self, planted: str) -> bool:
        """Whether this is planted in the run."""
        return planted in self.visit.plant

    def chance(self, what: str) -> random.Random:
        """Luck of this run, one string of it per matter: what is planted in one does not change the others."""
        return luck(self.stage, self.visit, what)

    def later(self, seconds: float) -> None:
        """Time passes."""
        self.stage.time.later(seconds)

    def ask(
        self,
        place: str,
        model: str,
        messages: Sequence[Message],
        answer: Answer,
        *,
        tools: Sequence[Any] = (),
        mark: int = 0,
        step: str | None = None,
        kind: str | None = None,
        **params: Any,
    ) -> list[dict[str, Any]]:
        """Ask a model; gives back its tool calls, with their ids. `place`: what the call is in its run.

        `mark`: how many messages are to be cached, with Anthropic. `kind`: the waste that may be planted here.
        """
        stage, known = self.stage, MODELS[model]
        key = (self.visit.agent, self.visit.number, place)
        reply, ids = stage.serve(key, Request(known, messages, tools, mark), answer, kind)
        seconds = self._seconds(place, key, known.tokens_a_second)
        if self._run is None:
            stage.time.later(seconds)
        else:
            if mark:
                params["cache_control"] = {"type": "ephemeral"}
            if tools:
                params["tools"] = tools
            block = self._run.llm(
                model, provider=known.provider, messages=messages, step_name=step or place, **params
            )
            with block as call:
                stage.time.later(seconds)
                call.done(reply)
            if block.span is not None:
                stage.note_ids(key, block.span.run_id, block.span.id)
        return [
            {"id": call_id, "name": name, "arguments": dict(arguments)}
            for call_id, (name, arguments) in zip(ids, answer.tools, strict=True)
        ]

    def _seconds(self, place: str, key: tuple[str, int, str], tokens_a_second: float) -> float:
        """To read what no cache holds, and to write."""
        usage = self.stage.bills[key].usage
        read = usage.input_uncached_tokens + usage.cache_write_5m_tokens
        luck = self.chance(f"speed {place}").uniform(0.3, 0.8)
        return luck + read / 12_000 + usage.output_tokens / tokens_a_second

    def fail(
        self, place: str, model: str, messages: Sequence[Message], error: Exception, seconds: float
    ) -> None:
        """Ask a model that does not answer. Raises the error."""
        if self._run is None:
            self.later(seconds)
            raise error
        block = self._run.llm(
            model, provider=MODELS[model].provider, messages=messages, step_name=place.split()[0]
        )
        try:
            with block:
                self.later(seconds)
                raise error
        finally:
            self._estimated(place, block)

    def _estimated(self, place: str, block: LLMBlock) -> None:
        """What broke off may be billed, and nobody says how much: what the recorder made of it."""
        span = block.span
        if span is not None and span.cost_nano_usd:
            usage = Usage(
                input_uncached_tokens=span.input_uncached_tokens or 0, output_tokens=span.output_tokens or 0
            )
            key = (self.visit.agent, self.visit.number, place)
            self.stage.bills[key] = Bill(usage, span.cost_nano_usd, 0, ids=(span.run_id, span.id))

    def use(
        self,
        asked: Mapping[str, Any],
        result: Any,
        seconds: float,
        *,
        error: str | None = None,
        status: int | None = None,
        kind: str = "tool",
    ) -> None:
        """Use a tool as the model asked for it, by name, arguments and id; or as the agent's code does, without an id."""
        if self._run is None:
            self.later(seconds)
            return
        with self._run.tool(
            asked["name"], asked["arguments"], tool_call_id=asked.get("id"), kind=kind
        ) as tool:
            self.later(seconds)
            tool.done(result, error=error, http_status=status)

    @contextmanager
    def delegate(self, asked: Mapping[str, Any], name: str) -> Iterator[Scene]:
        """A sub-agent that a tool call spawns. Not waited for: at its end, time goes back to where it began."""
        stage, began = self.stage, self.stage.time.at
        if self._run is None or stage.tracer is None:
            yield Scene(stage, self.visit, None)
        else:
            with self._run.tool(asked["name"], asked["arguments"], tool_call_id=asked["id"]) as tool:
                with stage.tracer.run(name) as agent:
                    yield Scene(stage, self.visit, agent)
                tool.done({"done": True})
        self._ended = max(self._ended, stage.time.at)
        stage.time.at = began

    def join(self) -> None:
        """Wait for the sub-agents."""
        self.stage.time.at = max(self.stage.time.at, self._ended)

    def finish(self, output: str, **scores: float) -> None:
        """The answer, and what somebody thought of it."""
        if self._run is not None:
            self._run.set_output(output)
            for name, value in scores.items():
                self._run.score(name, value)


def luck(stage: Stage, visit: Visit, what: str) -> random.Random:
    """See `Scene.chance`."""
    return random.Random(f"{stage.time.seed} {visit.agent} {visit.number} {what}")


def message(role: str, content: str) -> dict[str, Any]:
    """A message without tool calls."""
    return {"role": role, "content": content}


def turn(answer: Answer, asked: Sequence[Mapping[str, Any]], results: Sequence[str]) -> list[dict[str, Any]]:
    """What a turn adds to the conversation: the model's message, and what the tools gave."""
    said: dict[str, Any] = {"role": "assistant", "content": answer.text}
    if asked:
        said["tool_calls"] = list(asked)
    given = [
        {"role": "tool", "tool_call_id": call["id"], "content": result}
        for call, result in zip(asked, results, strict=True)
    ]
    return [said, *given]
