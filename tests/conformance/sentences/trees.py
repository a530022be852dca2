"""What happened inside a run: steps, the calls in them, and what hangs below what."""

from __future__ import annotations

from pathlib import Path

from tests.conformance.stage import Stage
from tests.conformance.work import Helper, Work, add, calls, divide, weather
from tests.loopback import Turn, TurnUsage

TEN_STEPS = Path(__file__).parents[1] / "ten_steps.txt"
SUM = ("add", {"a": 1, "b": 2})
OTHER_SUM = ("add", {"a": 3, "b": 4})
PARIS = ("weather", {"city": "Paris"})
ADDER = Helper("adder", (add,))
FORECASTER = Helper("forecaster", (weather,))


class Trees:
    def test_each_step_has_its_model_call_and_the_tool_that_this_asked_for(
        self, stage: Stage, style: str
    ) -> None:
        """Else nobody can say what a tool call cost."""
        stage.expect("What is 1+2?", calls(SUM), Turn("three"))
        assert stage.ask(Work("What is 1+2?", (add,)), style) == "three"
        assert (
            stage.tree()
            == """\
run success $0.000054 -> three
  step 1 of boss: success
    llm openai/gpt-4o-mini success input=100 output=20 $0.000027
    tool add{"a": 1, "b": 2} success -> 3
  step 2 of boss: success
    llm openai/gpt-4o-mini success input=100 output=20 $0.000027
"""
        )

    def test_parallel_tools_belong_to_the_step_that_asked_for_them(self, stage: Stage, style: str) -> None:
        """Else a step that did three things looks like three steps."""
        stage.expect("Tell me all.", calls(SUM, OTHER_SUM, PARIS), Turn("all"))
        stage.ask(Work("Tell me all.", (add, weather)), style)
        assert (
            stage.tree()
            == """\
run success $0.000054 -> all
  step 1 of boss: success
    llm openai/gpt-4o-mini success input=100 output=20 $0.000027
    tool add{"a": 1, "b": 2} success -> 3
    tool add{"a": 3, "b": 4} success -> 7
    tool weather{"city": "Paris"} success -> rain in Paris
  step 2 of boss: success
    llm openai/gpt-4o-mini success input=100 output=20 $0.000027
"""
        )

    def test_a_tool_that_fails_has_failed_though_the_agent_goes_on(self, stage: Stage, style: str) -> None:
        """Else a broken tool hides behind a good answer."""
        stage.expect("What is 1/2?", calls(("divide", {"a": 1, "b": 2})), Turn("no idea"))
        assert stage.ask(Work("What is 1/2?", (divide,)), style) == "no idea"
        assert (
            stage.tree()
            == """\
run success $0.000054 -> no idea
  step 1 of boss: success
    llm openai/gpt-4o-mini success input=100 output=20 $0.000027
    tool divide{"a": 1, "b": 2} failure
  step 2 of boss: success
    llm openai/gpt-4o-mini success input=100 output=20 $0.000027
"""
        )
        [tool] = stage.read().query("select * from tool_calls")
        assert "out of numbers" in tool["error"]

    def test_a_nested_agent_hangs_below_the_tool_call_that_asked_it(self, stage: Stage, style: str) -> None:
        """Else its cost belongs to nobody."""
        stage.expect("Delegate.", calls(("ask_adder", {"question": "1 and 2?"})), Turn("done"))
        stage.expect("1 and 2?", calls(SUM), Turn("three"))
        stage.ask(Work("Delegate.", helpers=(ADDER,)), style)
        assert (
            stage.tree()
            == """\
run success $0.000108 -> done
  step 1 of boss: success
    llm openai/gpt-4o-mini success input=100 output=20 $0.000027
    tool ask_adder{"question": "1 and 2?"} success -> three
      step 1 of adder: success
        llm openai/gpt-4o-mini success input=100 output=20 $0.000027
        tool add{"a": 1, "b": 2} success -> 3
      step 2 of adder: success
        llm openai/gpt-4o-mini success input=100 output=20 $0.000027
  step 2 of boss: success
    llm openai/gpt-4o-mini success input=100 output=20 $0.000027
"""
        )

    def test_two_nested_agents_at_once_keep_their_calls_apart(self, stage: Stage, style: str) -> None:
        """Else the cheap helper pays for the dear one."""
        both = (("ask_adder", {"question": "1 and 2?"}), ("ask_forecaster", {"question": "Rain?"}))
        stage.expect("Delegate.", calls(*both), Turn("done"))
        stage.expect("1 and 2?", calls(SUM, delay=0.02), Turn("three", delay=0.02))
        stage.expect("Rain?", calls(PARIS, delay=0.03), Turn("yes"))
        stage.ask(Work("Delegate.", helpers=(ADDER, FORECASTER)), style)
        assert (
            stage.tree()
            == """\
run success $0.000162 -> done
  step 1 of boss: success
    llm openai/gpt-4o-mini success input=100 output=20 $0.000027
    tool ask_adder{"question": "1 and 2?"} success -> three
      step 1 of adder: success
        llm openai/gpt-4o-mini success input=100 output=20 $0.000027
        tool add{"a": 1, "b": 2} success -> 3
      step 2 of adder: success
        llm openai/gpt-4o-mini success input=100 output=20 $0.000027
    tool ask_forecaster{"question": "Rain?"} success -> yes
      step 1 of forecaster: success
        llm openai/gpt-4o-mini success input=100 output=20 $0.000027
        tool weather{"city": "Paris"} success -> rain in Paris
      step 2 of forecaster: success
        llm openai/gpt-4o-mini success input=100 output=20 $0.000027
  step 2 of boss: success
    llm openai/gpt-4o-mini success input=100 output=20 $0.000027
"""
        )

    def test_ten_steps_with_parallel_tools_and_a_nested_agent_are_the_same_tree_in_every_framework(
        self, stage: Stage, style: str
    ) -> None:
        """Else moving to another framework changes the bill, and nobody knows why."""
        first = calls(SUM, usage=TurnUsage(200, 30))
        parallel = calls(SUM, OTHER_SUM, PARIS, usage=TurnUsage(300, 60, cached=100))
        nested = calls(
            ("ask_adder", {"question": "1 and 2?"}), PARIS, usage=TurnUsage(400, 80, cached=200, reasoning=16)
        )
        more = [
            calls(("add", {"a": step, "b": 10}), usage=TurnUsage(100 * step, 40, cached=100))
            for step in range(4, 10)
        ]
        stage.expect("Plan it.", first, parallel, nested, *more, Turn("planned", usage=TurnUsage(1_000, 200)))
        stage.expect("1 and 2?", calls(SUM), calls(OTHER_SUM, PARIS), Turn("ten"))
        helper = Helper("adder", (add, weather))
        assert stage.ask(Work("Plan it.", (add, weather), (helper,)), style) == "planned"
        assert stage.tree() == TEN_STEPS.read_text("utf-8")

    def test_the_question_and_the_answer_can_be_read(self, stage: Stage, style: str) -> None:
        """Else a dear run is a number and not a story."""
        stage.expect("Will it rain?", Turn("Take an umbrella."))
        stage.ask(Work("Will it rain?"), style)
        reader = stage.checked()
        [run] = reader.runs()
        [call] = reader.llm_calls(run["id"])
        prompt = [str(message["body"]["content"]) for message in reader.messages(call["prompt_id"])]
        assert "Will it rain?" in run["input"]
        assert run["output"] == "Take an umbrella."
        assert any("Will it rain?" in text for text in prompt)
        assert "Take an umbrella." in str(reader.message(call["output_id"]))
