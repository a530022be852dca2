"""A crew of two agents, recorded: one line for the process, and inputs that say whose run it is.

Keyless: the model is scripted. With a key, put `llm="openai/gpt-4o-mini"` in its place.
"""

import os

# CrewAI's own telemetry and traces: tokentrace neither needs them nor turns them off for you.
os.environ |= {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false"}

from crewai import Agent, Crew, Task
from crewai.tools import tool

import tokentrace_crewai
from tokentrace_core import Budget, Tracer
from tokentrace_crewai.demo import ScriptedLLM


@tool
def stock(item: str) -> int:
    """How many of an item are left."""
    return {"rope": 3}.get(item, 0)


def counter_script(conversation):
    if conversation[-1]["role"] == "tool":
        return {"content": "3 ropes are left.", "usage": {"input": 220, "output": 8}}
    call = {"id": "call_1", "name": "stock", "args": {"item": "rope"}}
    return {"tool_calls": [call], "usage": {"input": 160, "output": 15}}


def buyer_script(conversation):
    return {"content": "Order 20 ropes.", "usage": {"input": 190, "output": 6}}


def agent(role: str, script, **settings) -> Agent:
    llm = ScriptedLLM(model="gpt-4o-mini", answer=script)
    return Agent(
        role=role, goal="Keep the shop stocked.", backstory="Twenty years at sea.", llm=llm, **settings
    )


counter, buyer = agent("counter", counter_script, tools=[stock]), agent("buyer", buyer_script)
count = Task(name="count", description="Count the ropes.", expected_output="a number", agent=counter)
buy = Task(name="buy", description="Order what is missing.", expected_output="an order", agent=buyer)
crew = Crew(name="chandlery", agents=[counter, buyer], tasks=[count, buy])

with Tracer(budget=Budget(run_usd=0.05, steps=10)) as tracer:
    tokentrace_crewai.instrument(tracer)
    print(crew.kickoff(inputs={"session_id": "shop-2", "user_id": "ada"}).raw)
    tokentrace_crewai.uninstrument()
