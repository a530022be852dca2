"""A budget holds: after the stop no request leaves the process, and the program hears why."""

from __future__ import annotations

import pytest

from tests.conformance.stage import Stage
from tests.conformance.work import Helper, Work, add, calls
from tests.loopback import Turn, TurnUsage
from tokentrace_core import Budget, BudgetExceeded

#: So dear that what a framework adds to the prompt does not matter for the guess about the next call.
DEAR = TurnUsage(100_000, 1_000)
TWO_CALLS = "0.0312"
AGAIN = calls(("add", {"a": 1, "b": 2}), usage=DEAR)
#: What the model answers: one more tool call, again and again; an agent that nobody stops comes to an end.
ENDLESS = (*[AGAIN] * 12, Turn("Nobody stopped me."))
#: The call that was not sent hangs where the run had got to: it opens no step.
STOPPED_AFTER_TWO = """\
run failure (budget_exceeded) $0.0312
  step 1 of boss: success
    llm openai/gpt-4o-mini success input=100000 output=1000 $0.0156
    tool add{"a": 1, "b": 2} success -> 3
  step 2 of boss: success
    llm openai/gpt-4o-mini success input=100000 output=1000 $0.0156
    llm openai/gpt-4o-mini refused (budget_exceeded) $0
    tool add{"a": 1, "b": 2} success -> 3
"""


TWO_CALLS_WORTH = {
    "usd": Budget(run_usd=TWO_CALLS),
    "user-day": Budget(user_day_usd=TWO_CALLS),
    "all": Budget(run_usd=1, session_usd=1, user_day_usd=1, project_month_usd=TWO_CALLS, tokens=10**9),
}
NOTHING = {
    "usd": Budget(run_usd=0),
    "steps": Budget(steps=0),
    "tokens": Budget(tokens=0),
    "user-day": Budget(user_day_usd=0),
}


class Stops:
    @pytest.mark.parametrize("budget", TWO_CALLS_WORTH.values(), ids=TWO_CALLS_WORTH)
    def test_a_budget_of_two_calls_stops_before_the_third_request(self, stage: Stage, style: str) -> None:
        """Else a loop spends until somebody looks."""
        stage.expect("Go on.", *ENDLESS)
        with pytest.raises(BudgetExceeded, match=r"of \$0\.0312"):
            stage.ask(Work("Go on.", (add,)), style)
        assert stage.server.count == 2
        assert stage.tree() == STOPPED_AFTER_TWO

    @pytest.mark.parametrize("budget", [Budget(steps=2)], ids=["steps"])
    def test_a_budget_of_two_steps_stops_before_the_third_request(self, stage: Stage, style: str) -> None:
        """Else a loop of cheap calls goes on for ever."""
        stage.expect("Go on.", *ENDLESS)
        with pytest.raises(BudgetExceeded, match="2 of 2 steps taken"):
            stage.ask(Work("Go on.", (add,)), style)
        assert stage.server.count == 2
        assert stage.tree() == STOPPED_AFTER_TWO

    @pytest.mark.parametrize("budget", NOTHING.values(), ids=NOTHING)
    def test_a_budget_that_is_spent_sends_nothing(self, stage: Stage, style: str) -> None:
        """Else every new request of a blocked user costs once more."""
        stage.expect("Go on.", *ENDLESS)
        with pytest.raises(BudgetExceeded):
            stage.ask(Work("Go on.", (add,)), style)
        assert stage.server.count == 0
        assert (
            stage.tree()
            == """\
run failure (budget_exceeded) $0
  llm openai/gpt-4o-mini refused (budget_exceeded) $0
"""
        )

    @pytest.mark.parametrize("budget", [Budget(run_usd=TWO_CALLS)], ids=["usd"])
    def test_a_budget_that_a_nested_agent_spends_stops_the_agent_that_asked_it(
        self, stage: Stage, style: str
    ) -> None:
        """Else the outer agent takes the stop for a tool's mistake and tries again."""
        stage.expect(
            "Delegate.", calls(("ask_adder", {"question": "Go on."}), usage=DEAR), Turn("never", usage=DEAR)
        )
        stage.expect("Go on.", *ENDLESS)
        with pytest.raises(BudgetExceeded):
            stage.ask(Work("Delegate.", (add,), (Helper("adder", (add,)),)), style)
        assert stage.server.count == 2
        [run] = stage.checked().runs()
        assert (run["status"], run["error_type"]) == ("failure", "budget_exceeded")
        assert (run["llm_calls"], run["cost_nano_usd"]) == (2, 31_200_000)

    @pytest.mark.parametrize("budget", [Budget(run_usd=TWO_CALLS)], ids=["usd"])
    def test_a_budget_that_one_run_has_spent_is_full_again_for_the_next(
        self, stage: Stage, style: str
    ) -> None:
        """Else one runaway blocks everybody."""
        stage.expect("Go on.", *ENDLESS)
        stage.expect("Good morning?", Turn("Yes."))
        with pytest.raises(BudgetExceeded):
            stage.ask(Work("Go on.", (add,)), style)
        assert stage.ask(Work("Good morning?"), style) == "Yes."
        assert (
            stage.trees()[1]
            == """\
run success $0.000027 -> Yes.
  step 1 of boss: success
    llm openai/gpt-4o-mini success input=100 output=20 $0.000027
"""
        )

    @pytest.mark.parametrize("budget", [Budget(user_day_usd=TWO_CALLS)], ids=["user-day"])
    def test_a_users_day_that_one_run_has_spent_is_spent_for_their_next_and_nobody_elses(
        self, stage: Stage, style: str
    ) -> None:
        """Else a user who starts over has the day's money again."""
        stage.expect("Go on.", *ENDLESS)
        stage.expect("Good morning?", Turn("Yes."))
        for question in ("Go on.", "Good morning?"):
            with pytest.raises(BudgetExceeded, match="user_day_usd"):
                stage.ask(Work(question, (add,), user="ada"), style)
            assert stage.server.count == 2
        assert stage.ask(Work("Good morning?", user="bob"), style) == "Yes."
        assert stage.server.count == 3
        stopped, refused, answered = stage.checked().runs()[::-1]
        assert [run["status"] for run in (stopped, refused, answered)] == ["failure", "failure", "success"]
        assert (refused["llm_calls"], refused["refused_calls"], refused["cost_nano_usd"]) == (0, 1, 0)

    @pytest.mark.parametrize("budget", [Budget(max_repeats=2)], ids=["repeats"])
    def test_an_agent_that_goes_in_circles_is_stopped(self, stage: Stage, style: str) -> None:
        """Else a tool is asked the same for ever, because each call alone is cheap."""
        stage.expect("Go on.", *ENDLESS)
        with pytest.raises(BudgetExceeded, match="tool 'add' was called 3 times with the same arguments"):
            stage.ask(Work("Go on.", (add,)), style)
        assert stage.server.count == 3
        [run] = stage.checked().runs()
        assert (run["status"], run["error_type"]) == ("failure", "budget_exceeded")
