"""A LangGraph graph whose node asks a nested agent, in a thread: one run per request, one session per thread.

Every LangChain and LangGraph run of the process is recorded, without touching the code that starts it.
"""

from langchain.agents import create_agent
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph

import tokentrace_langchain
from tokentrace_core import Budget, Tracer
from tokentrace_langchain.demo import ScriptedChatModel


@tool
def population(city: str) -> int:
    """How many people live in a city."""
    return {"Lisbon": 545_000, "Porto": 232_000}.get(city, 0)


def researcher_script(conversation):
    if conversation[-1]["role"] == "tool":
        return {"content": "545,000 and 232,000.", "usage": {"input": 210, "output": 12}}
    calls = [
        {"id": f"call_{city}", "name": "population", "args": {"city": city}} for city in ("Lisbon", "Porto")
    ]
    return {"tool_calls": calls, "usage": {"input": 140, "output": 30}}


def writer_script(conversation):
    return {
        "content": "Lisbon is more than twice as large as Porto.",
        "usage": {"input": 320, "output": 14},
    }


researcher = create_agent(ScriptedChatModel(answer=researcher_script), [population], name="researcher")
writer = ScriptedChatModel(answer=writer_script, model_name="gpt-4o")


def research(state: MessagesState):
    return {"messages": researcher.invoke(state)["messages"][-1:]}


def write(state: MessagesState):
    return {"messages": [writer.invoke(state["messages"])]}


graph = StateGraph(MessagesState)
graph.add_node("research", research)
graph.add_node("write", write)
graph.add_edge(START, "research")
graph.add_edge("research", "write")
graph.add_edge("write", END)
app = graph.compile(checkpointer=InMemorySaver(), name="report")

with Tracer(budget=Budget(run_usd=0.25, steps=10)) as tracer:
    tokentrace_langchain.instrument(tracer)
    for question in ("Compare Lisbon and Porto.", "Again, but shorter."):
        state = app.invoke(
            {"messages": [("user", question)]},
            config={"configurable": {"thread_id": "report-7"}, "metadata": {"user_id": "ada"}},
        )
    tokentrace_langchain.uninstrument()

print(state["messages"][-1].text)
