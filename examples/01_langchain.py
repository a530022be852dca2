"""A LangChain agent, recorded: attach one handler, and read what the run cost.

Keyless: the model is scripted. With a key, put any chat model in its place.
"""

from langchain.agents import create_agent
from langchain_core.tools import tool

from tokentrace_core import Tracer
from tokentrace_langchain import TokentraceHandler
from tokentrace_langchain.demo import ScriptedChatModel


@tool
def order_status(order_id: int) -> str:
    """Where an order is."""
    return f"order {order_id} left the warehouse this morning"


def scripted(conversation):
    """Ask for the tool once, then answer."""
    if conversation[-1]["role"] == "tool":
        return {"content": "It left this morning.", "usage": {"input": 180, "cached": 0, "output": 9}}
    call = {"id": "call_1", "name": "order_status", "args": {"order_id": 4711}}
    return {"tool_calls": [call], "usage": {"input": 120, "cached": 0, "output": 18}}


tracer = Tracer()  # TOKENTRACE_DB, or ./traces.db
agent = create_agent(ScriptedChatModel(answer=scripted), [order_status], name="support")

with tracer.run("support", user="ada") as run:
    state = agent.invoke(
        {"messages": [("user", "Where is order 4711?")]},
        config={"callbacks": [TokentraceHandler(tracer)]},
    )

print(state["messages"][-1].text)
print(f"{run.steps} steps, ${run.cost_usd}")
tracer.close()
