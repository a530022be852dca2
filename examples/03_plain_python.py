"""An agent without any framework: decorators and `with` blocks, a budget, and a partial answer when it is spent.

`ask` stands for a provider's client: `call.done(reply)` reads what OpenAI's and Anthropic's clients return.
"""

from tokentrace_core import Budget, BudgetExceeded, Tracer

tracer = Tracer(budget=Budget(run_usd=0.02, steps=8))


def ask(messages):
    """What a provider answers, in OpenAI's shape."""
    return {
        "id": "chatcmpl-1",
        "model": "gpt-4o-2024-08-06",
        "choices": [{"message": {"role": "assistant", "content": "look further"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1_500, "completion_tokens": 120},
    }


@tracer.tool
def lookup(topic: str) -> str:
    return f"three more things about {topic}"


@tracer.run("researcher")
def research(topic: str) -> str:
    messages = [{"role": "user", "content": f"Tell me all about {topic}."}]
    found = []
    try:
        while True:
            with tracer.step("think") as step, step.llm("gpt-4o", messages=messages) as call:
                call.done(ask(messages))
            found.append(lookup(topic))
            messages.append({"role": "user", "content": found[-1]})
    except BudgetExceeded as stop:
        print(f"stopped by {stop.scope}, {stop.spent} of {stop.limit}")
    return f"{len(found)} findings"


with tracer.session("ticket-4711", user="ada"):
    print(research("tides"))
tracer.close()
