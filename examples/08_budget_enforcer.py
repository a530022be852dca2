"""A budget enforcer: half a dollar or fifteen steps, whichever comes first, for a cheap planner and a dear writer.

The budget belongs to the tracer, so nothing in the agent has to remember to check it. `budget_pressure` tells the
agent how near the nearest limit is: time to write with what there is.
"""

from tokentrace_core import Budget, BudgetExceeded, Tracer

tracer = Tracer(budget=Budget(run_usd=0.50, steps=15, max_repeats=3))


def ask(model, completion_tokens):
    """What a provider answers, in OpenAI's shape."""
    return {
        "model": model,
        "choices": [{"message": {"role": "assistant", "content": "so be it"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 2_000, "completion_tokens": completion_tokens},
    }


def think(task, model, completion_tokens):
    with tracer.llm(model, messages=[{"role": "user", "content": task}]) as call:
        call.done(ask(model, completion_tokens))


def work(chapters):
    """Plan a chapter, write it, until all are written; the ones that were."""
    written = 0
    with tracer.run("author", user="ada") as run:
        try:
            for chapter in range(chapters):
                think(f"plan {chapter}", "gpt-4o-mini", 200)
                if run.budget_pressure > 0.8:
                    print(f"{run.budget_pressure:.0%} of the budget is used: no more chapters")
                    break
                think(f"write {chapter}", "gpt-4o", 9_000)
                written += 1
        except BudgetExceeded as stop:
            print(f"stopped by {stop.scope}: {stop.spent} of {stop.limit}")
        run.set_output(f"{written} of {chapters} chapters")
    print(f"{written} of {chapters} chapters, {run.steps} steps, ${run.cost_usd}, {run.status}")


def go_in_circles():
    """Planning costs next to nothing; the steps run out first."""
    with tracer.run("planner", user="ada") as run:
        try:
            while True:
                think("plan", "gpt-4o-mini", 50)
        except BudgetExceeded as stop:
            print(f"stopped by {stop.scope}: {stop.spent} of {stop.limit}")
    print(f"{run.steps} steps, ${run.cost_usd}, {run.status}")


work(chapters=20)
go_in_circles()
tracer.close()
