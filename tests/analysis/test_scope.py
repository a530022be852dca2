"""A question about too many or too few calls has a wrong answer that nobody sees."""

from __future__ import annotations

from collections.abc import Callable

import click
import pytest
from click.testing import CliRunner

from tests.core import test_cli
from tests.core.test_cli import reply
from tokentrace_core import Budget, BudgetExceeded, Tracer
from tokentrace_core.analysis import Scope
from tokentrace_core.analysis.dimensions import NAMES
from tokentrace_core.cli.scope_options import scope_options
from tokentrace_core.store.reader import Reader

tracer = test_cli.tracer

Ask = Callable[[Scope], dict[str, list[str]]]


@pytest.fixture
def ask(tracer: Tracer, stored: Callable[[], Reader]) -> Ask:
    """What is in a scope, by names: two runs of three models, a refused call, and tools of two steps."""
    facts = {"task_type": "support", "agent_version": "2", "environment": "live", "tags": ["beta", "night"]}
    with tracer.run("first", user="ada", attributes={"tier": "gold", "trial": True}, **facts) as run:
        with run.step("plan") as step:
            with step.llm("small", messages="x") as call:
                call.done(reply())
                call.set(region="eu")
            with step.tool("lookup") as tool:
                tool.done("found")
        with run.step("answer") as step:
            with step.llm("foo-9", messages="x") as call:
                call.done(reply())
            with step.tool("mail") as tool:
                tool.done("sent")
    with tracer.run("second", user="bob", tags=["night"]) as run, run.llm("bar-1", messages="x") as call:
        call.done(reply())
    with tracer.run("idle", user="ada"):
        pass
    reader = stored()

    def answer(scope: Scope) -> dict[str, list[str]]:
        asked = {
            "runs": scope.runs().select("r.name as found"),
            "calls": scope.calls().select("c.model as found"),
            "tools": scope.tools().select("t.name as found"),
        }
        return {kind: sorted(row["found"] for row in reader.query(*sql)) for kind, sql in asked.items()}

    return answer


EVERYTHING = {
    "runs": ["first", "idle", "second"],
    "calls": ["bar-1", "foo-9", "small"],
    "tools": ["lookup", "mail"],
}
OF_FIRST = {"runs": ["first"], "calls": ["foo-9", "small"], "tools": ["lookup", "mail"]}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, EVERYTHING),
        ({"user": ("ada", "bob")}, EVERYTHING),
        ({"user": ("ada",)}, OF_FIRST | {"runs": ["first", "idle"]}),
        ({"version": ("2",), "environment": ("live",), "task-type": ("support",)}, OF_FIRST),
        ({"task_type": ("(none)",)}, {"runs": ["idle", "second"], "calls": ["bar-1"], "tools": []}),
        ({"tag": ("beta",)}, OF_FIRST),
        ({"tag": ("night",)}, EVERYTHING | {"runs": ["first", "second"]}),
        ({"attr.tier": ("gold",)}, OF_FIRST),
        ({"attr.trial": ("true",)}, OF_FIRST),
        ({"attr.region": ("eu",)}, {"runs": ["first"], "calls": ["small"], "tools": []}),
        ({"attr.step_name": ("plan",)}, {"runs": ["first"], "calls": ["small"], "tools": ["lookup"]}),
        ({"model": ("small",)}, {"runs": ["first"], "calls": ["small"], "tools": ["lookup"]}),
        ({"model": ("small",), "step-name": ("answer",)}, {"runs": [], "calls": [], "tools": []}),
        ({"tool": ("mail",)}, {"runs": ["first"], "calls": ["foo-9"], "tools": ["mail"]}),
        ({"user": ()}, {"runs": [], "calls": [], "tools": []}),
        ({"user": ("ada' or 1=1 --",)}, {"runs": [], "calls": [], "tools": []}),
        ({"attr.\"'$.x": ("1",)}, {"runs": [], "calls": [], "tools": []}),
    ],
    ids=str,
)
def test_only_what_was_asked_for_is_in_it(
    ask: Ask, where: dict[str, tuple[str, ...]], expected: dict[str, list[str]]
) -> None:
    assert ask(Scope(where=where)) == expected


def test_a_refused_call_is_nobodys_cost(tracer: Tracer, stored: Callable[[], Reader]) -> None:
    with Tracer(tracer.path, budget=Budget(steps=1)) as strict, strict.run("stopped") as run:
        with run.llm("small", messages="x") as call:
            call.done(reply())
        with pytest.raises(BudgetExceeded):
            run.llm("small", messages="x").__enter__()
    reader = stored()
    assert [call["status"] for call in reader.llm_calls(reader.run("last")["id"])] == ["success", "refused"]
    assert len(list(reader.query(*Scope().calls().select("c.id")))) == 1


@pytest.mark.parametrize("name", [name for name in NAMES if name != "attr.KEY"])
def test_every_dimension_can_narrow_every_question(ask: Ask, name: str) -> None:
    assert ask(Scope(where={name: ("nobody",)})) == {"runs": [], "calls": [], "tools": []}


def test_a_moment_belongs_to_one_of_two_spans_that_meet(ask: Ask, tracer: Tracer) -> None:
    with Reader(tracer.path) as reader:
        starts = sorted(row["started_at"] for row in reader.query("select started_at from runs"))
    before, after = ask(Scope(until=starts[1])), ask(Scope(since=starts[1]))
    assert [len(found["runs"]) for found in (before, after)] == [1, 2]
    assert ask(Scope(since=0, until=starts[-1] + 10**9)) == EVERYTHING


def test_two_scopes_fit_into_one_query(ask: Ask, tracer: Tracer) -> None:
    first, second = (Scope(where={"user": (user,)}).runs(user) for user in ("ada", "bob"))
    sql = f"select (select count(*) {first.sql}) as a, (select count(*) {second.sql}) as b"
    with Reader(tracer.path) as reader:
        assert list(reader.query(sql, first.parameters | second.parameters)) == [{"a": 2, "b": 1}]


@pytest.mark.parametrize("name", ["planet", "attr.", "attr.KEY", "", "attr-x"])
def test_a_dimension_that_there_is_not_is_refused_and_named(name: str) -> None:
    with pytest.raises(ValueError, match="There are: user, session"):
        Scope(where={name: ("x",)})


@pytest.fixture
def told() -> Callable[..., Scope | str]:
    """The scope that options make, or what is said instead."""
    heard: list[Scope] = []

    @click.command()
    @scope_options
    def command(scope: Scope) -> None:
        heard.append(scope)

    def run(*options: str) -> Scope | str:
        result = CliRunner().invoke(command, options)
        return heard.pop() if result.exit_code == 0 else result.stderr

    return run


def test_options_of_one_name_are_alternatives(told: Callable[..., Scope | str]) -> None:
    scope = told(
        *("--user", "ada", "--user", "bob", "--task-type", "x", "--attr", "a=b=c", "--where", "tool=mail"),
        *("--since", "2026-11-20", "--until", "2026-11-21"),
    )
    assert isinstance(scope, Scope)
    assert scope.where == {"user": ("ada", "bob"), "task-type": ("x",), "attr.a": ("b=c",), "tool": ("mail",)}
    assert (scope.until or 0) - (scope.since or 0) == 86_400_000_000


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--attr", "gold"), "is not KEY=VALUE"),
        (("--where", "planet=x"), "there is no dimension 'planet'"),
        (("--since", "2026-11-20", "--until", "2026-11-19"), "ends before it begins"),
        (("--until", "soon"), "is no time"),
    ],
)
def test_what_nobody_understands_is_said_and_not_left_out(
    told: Callable[..., Scope | str], options: tuple[str, ...], sentence: str
) -> None:
    assert sentence in str(told(*options))
