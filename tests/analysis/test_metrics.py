"""Who steers by a wrong metric steers wrong: each is reckoned a second time, in plain Python over the rows."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.analysis import traffic
from tests.analysis.conftest import Raw, Row, attributes, input_tokens
from tests.core.test_cli import reply
from tokentrace_core import PriceBook, Tracer
from tokentrace_core.analysis import Scope
from tokentrace_core.analysis.distribution import Distribution, distribution
from tokentrace_core.analysis.metric_figures import Metrics
from tokentrace_core.analysis.metrics import metrics
from tokentrace_core.analysis.ordered import Numbers
from tokentrace_core.store.reader import Reader

FAILED = ("failure", "timeout")


# ── the second way ───────────────────────────────────────────────────────────────────────────────────────


def spread(values: list[float]) -> dict[str, Any]:
    """By the definition: the smallest value that so many of a hundred do not exceed."""

    def at(percent: int) -> float | None:
        enough = [
            value
            for value in values
            if 100 * sum(other <= value for other in values) >= percent * len(values)
        ]
        return min(enough, default=None)

    mean = sum(values) / len(values) if values else None
    return {
        "count": len(values),
        "p50": at(50),
        "p99": at(99),
        "mean": mean,
        "max": max(values, default=None),
    }


def told(found: Distribution) -> dict[str, Any]:
    return {name: getattr(found, name) for name in ("count", "p50", "p99", "mean", "max")}


class Part:
    """The rows of one run that a group has."""

    def __init__(self, raw: Raw, run: Row, takes: Callable[[Row, Row | None], bool] | None) -> None:
        def taken(rows: list[Row]) -> list[Row]:
            own = raw.of_run(rows, run)
            return [
                row
                for row in own
                if takes is None or takes(row, raw.step_of.get((run["id"], row["step_id"])))
            ]

        self.run, self.raw = run, raw
        self.all_calls = raw.of_run(raw.calls, run)
        self.calls, self.tools = taken(raw.calls), taken(raw.tools)
        self.steps = [
            step
            for step in raw.of_run(raw.steps, run)
            if takes is None or takes({"step_id": step["id"]}, step)
        ]

    @property
    def cost(self) -> int:
        return sum(row["cost_nano_usd"] or 0 for row in [*self.calls, *self.tools])

    def step_cost(self, step: Row) -> int:
        of_step = [row for row in [*self.calls, *self.tools] if row["step_id"] == step["id"]]
        return sum(row["cost_nano_usd"] or 0 for row in of_step)

    def retries(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for place, tool in enumerate(self.tools):
            same = [
                other for other in self.tools[:place]
                if (other["name"], other["arguments_hash"]) == (tool["name"], tool["arguments_hash"])
            ]  # fmt: skip
            found[tool["name"]] += bool(same) and same[-1]["status"] in FAILED
        return found

    def loops(self) -> set[str]:
        tried = Counter((tool["name"], tool["arguments_hash"]) for tool in self.tools)
        return {name for (name, _), times in tried.items() if times > 2}

    def corrections(self) -> int:
        found = set()
        for place, tool in enumerate(self.tools):
            step = self.raw.step_of[self.run["id"], tool["step_id"]]
            before = [
                other for other in self.tools[:place]
                if other["name"] == tool["name"]
                and self.raw.step_of[self.run["id"], other["step_id"]]["agent"] == step["agent"]
            ][-1:]  # fmt: skip
            for other in before:
                earlier = self.raw.step_of[self.run["id"], other["step_id"]]["number"] < step["number"]
                if (
                    earlier
                    and other["status"] in FAILED
                    and other["arguments_hash"] != tool["arguments_hash"]
                ):
                    found.add(step["id"])
        return len(found)

    def falls_back(self) -> bool:
        by_agent: dict[str | None, list[Row]] = defaultdict(list)
        for call in self.all_calls:
            by_agent[self.raw.step_of[self.run["id"], call["step_id"]]["agent"]].append(call)
        return any(
            first["status"] in FAILED and first["model"] != second["model"]
            for calls in by_agent.values()
            for first, second in pairwise(calls)
        )


def check(found: Metrics, parts: list[Part]) -> None:
    """Everything that `metrics` says of these runs."""
    assert (found.runs, found.unfinished) == (len(parts), 0)
    assert found.success_rate == sum(part.run["status"] == "success" for part in parts) / len(parts)
    assert told(found.steps) == spread([len(part.steps) for part in parts])
    assert told(found.cost_nano_usd) == pytest.approx(spread([part.cost for part in parts]))
    assert found.cost_nano_usd.total == sum(part.cost for part in parts)
    lasted = [
        (part.run["ended_at"] - part.run["started_at"]) / 1000 - part.run["waiting_ms"] for part in parts
    ]
    assert told(found.latency_ms) == pytest.approx(spread(lasted))
    calls = [call for part in parts for call in part.calls]
    sent = sum(map(input_tokens, calls))
    assert found.token_efficiency == sum(call["output_tokens"] or 0 for call in calls) / sent
    assert found.cache_hit_rate == sum(call["cache_read_tokens"] or 0 for call in calls) / sent
    assert found.unpriced_calls == sum(call["cost_status"] == "unpriced" for call in calls)
    assert found.estimated_calls == sum(call["usage_source"] == "estimated" for call in calls)
    assert found.fallback_rate == sum(part.falls_back() for part in parts) / len(parts)
    check_steps(found, parts)
    check_tools(found, parts)


def check_steps(found: Metrics, parts: list[Part]) -> None:
    longest = max(len(part.steps) for part in parts)
    assert [step.step for step in found.steps_by_number] == list(range(1, longest + 1))
    for place, step in enumerate(found.steps_by_number):
        reached = [(part, part.steps[place]) for part in parts if len(part.steps) > place]
        costs = [part.step_cost(each) for part, each in reached]
        sent = [
            input_tokens(call)
            for part, each in reached
            for call in part.calls
            if call["step_id"] == each["id"]
        ]
        so_far = [sum(map(part.step_cost, part.steps[: place + 1])) for part, _ in reached]
        firsts = [part.step_cost(part.steps[0]) for part, _ in reached]
        assert (step.runs, step.mean_nano_usd) == (len(reached), pytest.approx(sum(costs) / len(costs)))
        assert step.mean_input_tokens == pytest.approx(sum(sent) / len(reached))
        assert step.multiplier == (pytest.approx(sum(so_far) / sum(firsts)) if sum(firsts) else None)
    late = [part.step_cost(step) for part in parts for step in part.steps[4:]]
    assert found.late_step_nano_usd == (pytest.approx(sum(late) / len(late)) if late else None)


def check_tools(found: Metrics, parts: list[Part]) -> None:
    of_name: dict[str, list[Row]] = defaultdict(list)
    for part in parts:
        for tool in part.tools:
            of_name[tool["name"]].append(tool)
    assert {tool.name for tool in found.tools} == set(of_name)
    retries: Counter[str] = sum((part.retries() for part in parts), Counter())
    loops = Counter(name for part in parts for name in part.loops())
    for tool in found.tools:
        calls = of_name[tool.name]
        assert (tool.calls, tool.runs) == (len(calls), len({call["run_id"] for call in calls}))
        assert tool.calls_per_run == len(calls) / len(parts)
        assert tool.error_rate == sum(call["status"] in FAILED for call in calls) / len(calls)
        assert tool.retry_rate == retries[tool.name] / (len(calls) - retries[tool.name])
        assert tool.loop_rate == loops[tool.name] / len(parts)
        lasted = [(call["ended_at"] - call["started_at"]) / 1000 for call in calls]
        assert told(tool.latency_ms) == pytest.approx(spread(lasted))
    assert found.loop_rate == sum(bool(part.loops()) for part in parts) / len(parts)


# ── the same, whichever way ──────────────────────────────────────────────────────────────────────────────


def test_every_figure_of_all_runs_is_what_their_rows_say(reader: Reader, raw: Raw) -> None:
    (found,) = metrics(reader)
    parts = [Part(raw, run, None) for run in raw.runs]
    check(found, parts)
    steps = sum(len(part.steps) for part in parts)
    assert found.self_correction_rate == sum(part.corrections() for part in parts) / steps > 0
    assert found.loop_rate
    assert found.fallback_rate


OF_RUN: dict[str, Callable[[Row], list[str]]] = {
    "user": lambda run: [run["user_id"] or "(none)"],
    "task-type": lambda run: [run["task_type"] or "(none)"],
    "version": lambda run: [run["agent_version"]],
    "tag": lambda run: json.loads(run["tags"] or "[]") or ["(none)"],
}


@pytest.mark.parametrize("name", OF_RUN)
def test_groups_of_runs_are_reckoned_from_their_runs(reader: Reader, raw: Raw, name: str) -> None:
    found = {group.key: group for group in metrics(reader, [name])}
    of_group: dict[str, list[Part]] = defaultdict(list)
    for run in raw.runs:
        for label in OF_RUN[name](run):
            of_group[label].append(Part(raw, run, None))
    assert set(found) == {(label,) for label in of_group}
    for label, parts in of_group.items():
        check(found[label,], parts)


@pytest.mark.parametrize("name", ["agent", "step-name"])
def test_an_agent_answers_for_its_own_steps_calls_and_tools(reader: Reader, raw: Raw, name: str) -> None:
    column = "agent" if name == "agent" else "name"
    labels = {step[column] for step in raw.steps}
    found = {group.key: group for group in metrics(reader, [name])}
    assert set(found) == {(label or "(none)",) for label in labels}
    for label in labels:

        def takes(_: Row, step: Row | None, label: str | None = label) -> bool:
            return bool(step and step[column] == label)

        parts = [part for run in raw.runs if (part := Part(raw, run, takes)).steps]
        group = found[(label or "(none)",)]
        assert group.runs == len(parts)
        assert told(group.steps) == spread([len(part.steps) for part in parts])
        assert group.cost_nano_usd.total == sum(part.cost for part in parts)
        check_steps(group, parts)
        assert {tool.name: tool.calls for tool in group.tools} == Counter(
            tool["name"] for part in parts for tool in part.tools
        )
        narrowed = metrics(reader, scope=Scope(where={name: (label or "(none)",)}))
        assert [group.cost_nano_usd, group.steps] == [narrowed[0].cost_nano_usd, narrowed[0].steps]


def test_a_model_costs_what_its_own_calls_cost(reader: Reader, raw: Raw) -> None:
    found = {group.key[0]: group for group in metrics(reader, ["model"])}
    assert set(found) == {call["model"] for call in raw.calls}
    for model, group in found.items():
        calls = [call for call in raw.calls if call["model"] == model]
        assert group.runs == len({call["run_id"] for call in calls})
        assert group.cost_nano_usd.total == sum(call["cost_nano_usd"] or 0 for call in calls)
        assert group.token_efficiency == sum(call["output_tokens"] or 0 for call in calls) / sum(
            map(input_tokens, calls)
        )


@pytest.mark.parametrize("key", ["tier", "region", "trial"])
def test_an_attribute_of_a_run_or_of_a_call_makes_groups_too(reader: Reader, raw: Raw, key: str) -> None:
    def label(row: Row) -> str:
        rows = (row, raw.step_of.get((row["run_id"], row["step_id"])), raw.run_of[row["run_id"]])
        value = next((attributes(each)[key] for each in rows if key in attributes(each)), "(none)")
        return value if isinstance(value, str) else json.dumps(value)

    costs: Counter[str] = Counter()
    tools: Counter[str] = Counter()
    for row in [*raw.calls, *raw.tools]:
        costs[label(row)] += row["cost_nano_usd"] or 0
        tools[label(row)] += "arguments_hash" in row
    found = {group.key[0]: group for group in metrics(reader, [f"attr.{key}"])}
    assert {value: group.cost_nano_usd.total for value, group in found.items()} == costs
    assert {value: sum(tool.calls for tool in group.tools) for value, group in found.items()} == tools


def test_the_time_that_counts_is_when_a_run_began(reader: Reader, raw: Raw) -> None:
    middle = raw.runs[20]["started_at"]
    before, after = (metrics(reader, scope=scope)[0] for scope in (Scope(until=middle), Scope(since=middle)))
    check(before, [Part(raw, run, None) for run in raw.runs[:20]])
    check(after, [Part(raw, run, None) for run in raw.runs[20:]])


@given(st.lists(st.integers(0, 50), min_size=1, max_size=150))
def test_a_percentile_is_a_value_that_occurred(values: list[int]) -> None:
    found = distribution((Numbers(values), 1))
    assert told(found) == pytest.approx(spread([*values]))
    assert {found.p50, found.p99} <= set(values)


def test_of_a_hundred_values_the_99th_is_not_the_largest() -> None:
    assert distribution((Numbers([*range(1, 101)]), 1)).p99 == 99


# ── what each figure means ───────────────────────────────────────────────────────────────────────────────


def test_an_empty_file_has_no_success_and_no_figures(tracer: Tracer, stored: Callable[[], Reader]) -> None:
    (found,) = metrics(stored())
    assert (found.runs, found.success_rate, found.token_efficiency, found.tools) == (0, 0.0, None, [])
    assert found.steps == Distribution()
    assert metrics(stored(), ["user"]) == []


def test_a_run_that_is_not_over_is_neither_a_success_nor_a_failure(
    tracer: Tracer, stored: Callable[[], Reader]
) -> None:
    with tracer.run("done"):
        pass
    with tracer.run("going on") as run, run.step(), run.llm("gpt-4o", messages="x") as call:
        call.done(reply())
        (found,) = metrics(stored())
    assert (found.runs, found.unfinished, found.success_rate) == (1, 1, 1.0)
    assert found.cost_nano_usd.total == 0


def test_waiting_for_a_human_is_not_the_agents_slowness(tracer: Tracer, stored: Callable[[], Reader]) -> None:
    tracer.recorder.open_run("before", "asks", session="s")
    tracer.recorder.wait("before")
    time.sleep(0.02)
    tracer.recorder.open_run("after", "asks", session="s", resume=True)
    tracer.recorder.close_run("after")
    (run,) = stored().runs()
    (found,) = metrics(stored())
    assert run["waiting_ms"] >= 20
    assert found.latency_ms.max == (run["ended_at"] - run["started_at"] - 1_000 * run["waiting_ms"]) / 1000


def test_the_window_that_is_used_is_that_of_the_last_call(
    tracer: Tracer, stored: Callable[[], Reader]
) -> None:
    with tracer.run("long") as run:
        for model, sent in (("gpt-4o", 128_000), ("gpt-4o-mini", 32_000)):
            with run.step(), run.llm(model, messages="x") as call:
                call.done(reply(sent=sent))
        with pytest.raises(RuntimeError), run.llm("gpt-4o", messages="x"):
            raise RuntimeError
    with tracer.run("unknown") as run, run.llm("foo-9", messages="x") as call:
        call.done(reply(sent=99_000))
    (found,) = metrics(stored(), book=PriceBook())
    assert told(found.context_utilization) == spread([0.25])


def test_a_model_that_answers_for_another_is_a_fallback(tracer: Tracer, stored: Callable[[], Reader]) -> None:
    for answered in ("gpt-4o-2024-08-06", "gpt-4o-mini-2024-07-18", "my-own-name"):
        with tracer.run(answered) as run, run.llm("gpt-4o", messages="x") as call:
            call.done({**reply(), "model": answered})
    found = {group.key[0]: group.fallback_rate for group in metrics(stored(), ["run-name"])}
    assert found == {"gpt-4o-2024-08-06": 0, "gpt-4o-mini-2024-07-18": 1, "my-own-name": 0}


def test_trying_the_same_model_again_is_no_fallback(tracer: Tracer, stored: Callable[[], Reader]) -> None:
    for second in ("gpt-4o", "gpt-4o-mini"):
        with tracer.run(second) as run:
            with pytest.raises(TimeoutError), run.llm("gpt-4o", messages="x"):
                raise TimeoutError
            with run.llm(second, messages="x") as call:
                call.done(reply())
    found = {group.key[0]: group.fallback_rate for group in metrics(stored(), ["run-name"])}
    assert found == {"gpt-4o": 0, "gpt-4o-mini": 1}


@pytest.mark.parametrize(
    "by", [["agent", "model"], ["tag", "attr.x"], ["tool"], ["status"], ["planet"]], ids=str
)
def test_a_grouping_that_cannot_be_is_refused_and_says_why(reader: Reader, by: list[str]) -> None:
    with pytest.raises(ValueError, match=r"at a time|cannot be grouped|no dimension"):
        metrics(reader, by)


@pytest.mark.parametrize("by", [["user"], ["agent"], ["attr.region"]], ids=str)
def test_an_earlier_file_without_synopses_says_the_same(
    reader: Reader, traffic_file: Path, tmp_path: Path, by: list[str]
) -> None:
    old = traffic.without_synopses(traffic_file, tmp_path / "old.db")
    with Reader(old) as earlier:
        assert metrics(earlier, by) == metrics(reader, by)
