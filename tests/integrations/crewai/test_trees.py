"""What a recorded crew looks like: whose step, which task, which calls, and who was delegated to."""

from __future__ import annotations

from typing import Any

from crewai import Crew, Process
from crewai.flow.flow import Flow, listen, start

from tests.integrations.crewai.conftest import LastTree
from tests.integrations.crewai.crews import adding, agent, crew, llm, task
from tests.loopback import LoopbackServer, ToolCall, Turn


def test_a_crew_is_a_run_whose_steps_are_named_after_agent_and_task(
    server: LoopbackServer, last_tree: LastTree
) -> None:
    two = Turn(tool_calls=(ToolCall("add", {"a": 1, "b": 2}), ToolCall("add", {"a": 3, "b": 4})))
    server.script(two, Turn(tool_calls=(ToolCall("boom", {"a": 1}),)), Turn("ten"))
    crew(server).kickoff()
    assert (
        last_tree()
        == """
run library success: Count the books. -> ten
  step Librarian 1 count success
    llm gpt-4o-mini success
    tool add{"a":1,"b":2} success: 3
    tool add{"a":3,"b":4} success: 7
  step Librarian 2 count success
    llm gpt-4o-mini success
    tool boom{"a":1} failure (ValueError): None
  step Librarian 3 count success
    llm gpt-4o-mini success
"""
    )


def test_a_delegated_task_is_a_nested_agent_below_the_tool_call(
    server: LoopbackServer, last_tree: LastTree
) -> None:
    work = {"task": "sum up", "context": "none", "coworker": "Librarian"}
    delegating = Turn(tool_calls=(ToolCall("delegate_work_to_coworker", work),))
    server.script(delegating, adding(1, 2), Turn("three"), Turn("done"))
    Crew(
        agents=[agent(server)],
        tasks=[task()],
        process=Process.hierarchical,
        manager_llm=llm(server, model="openai/gpt-4o"),
        name="library",
    ).kickoff()
    assert (
        last_tree()
        == """
run library success: Count the books. -> done
  step Crew Manager 1 count success
    llm gpt-4o success
    tool delegate_work_to_coworker{"context":"none","coworker":"Librarian","task":"sum up"} success: three
      step Librarian 1 model success
        llm gpt-4o-mini success
        tool add{"a":1,"b":2} success: 3
      step Librarian 2 model success
        llm gpt-4o-mini success
  step Crew Manager 2 count success
    llm gpt-4o success
"""
    )


def test_asynchronous_tasks_keep_their_own_steps(server: LoopbackServer, last_tree: LastTree) -> None:
    def answer(body: dict[str, Any]) -> Turn:
        return Turn("both" if "Put both" in str(body) else "one", delay=0.05)

    server.answer_with(answer)
    one, two, three = (agent(server, role) for role in ("One", "Two", "Three"))
    first = task(one, "first", async_execution=True)
    second = task(two, "second", async_execution=True)
    last = task(three, "last", description="Put both together.", context=[first, second])
    Crew(agents=[one, two, three], tasks=[first, second, last], name="library").kickoff()
    lines = sorted(line for line in last_tree().splitlines() if "step" in line)
    assert lines == [
        "  step One 1 first success",
        "  step Three 1 last success",
        "  step Two 1 second success",
    ]


def test_a_flow_is_a_run_and_the_crew_inside_is_a_part_of_it(
    server: LoopbackServer, last_tree: LastTree
) -> None:
    class Morning(Flow[Any]):
        @start()
        def open_up(self) -> str:
            return str(crew(server).kickoff().raw)

        @listen(open_up)
        def tell(self, found: str) -> Any:
            return llm(server).call(f"Tell {found}")

    server.script(Turn("ten"), Turn("told"))
    assert Morning().kickoff() == "told"
    assert (
        last_tree()
        == """
run Morning success: None -> told
  step Librarian 1 count success
    llm gpt-4o-mini success
  step Morning 1 tell success
    llm gpt-4o-mini success
"""
    )


def test_an_agent_alone_is_a_run(server: LoopbackServer, last_tree: LastTree) -> None:
    server.script(adding(1, 2), Turn("three"))
    assert agent(server).kickoff("How many?").raw == "three"
    assert (
        last_tree()
        == """
run Librarian success: How many? -> three
  step Librarian 1 model success
    llm gpt-4o-mini success
    tool add{"a":1,"b":2} success: 3
  step Librarian 2 model success
    llm gpt-4o-mini success
"""
    )


def test_a_call_to_a_model_alone_is_a_run(server: LoopbackServer, last_tree: LastTree) -> None:
    server.script(Turn("hello"))
    assert llm(server).call("Hi") == "hello"
    assert (
        last_tree()
        == """
run gpt-4o-mini success: Hi -> hello
  step gpt-4o-mini 1 - success
    llm gpt-4o-mini success
"""
    )


def test_a_crew_inside_a_block_of_ours_is_a_part_of_that_run(
    server: LoopbackServer, last_tree: LastTree, tracer: Any
) -> None:
    server.script(Turn("ten"))
    with tracer.run("morning"):
        crew(server).kickoff()
    assert (
        last_tree()
        == """
run morning success: None -> None
  step Librarian 1 count success
    llm gpt-4o-mini success
"""
    )
