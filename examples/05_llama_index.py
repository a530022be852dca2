"""A LlamaIndex agent and a query engine, recorded: one line for the process, and tags that say whose run it is.

Keyless: the model is scripted. With a key, put any LlamaIndex LLM in its place.
"""

import asyncio

from llama_index.core import Document, SummaryIndex
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.tools import QueryEngineTool
from llama_index_instrumentation.dispatcher import instrument_tags

import tokentrace_llama_index
from tokentrace_core import Budget, Tracer
from tokentrace_llama_index.demo import ScriptedModel


def scripted(conversation):
    """The engine's question is answered from what it found; the agent asks the engine once, then answers."""
    last = conversation[-1]
    if "Context information" in last["content"]:
        return {"content": "High water is at 06:12.", "usage": {"input": 240, "output": 9}}
    if last["role"] == "tool":
        return {"content": "Sail before 06:12.", "usage": {"input": 210, "output": 7}}
    call = {"id": "call_1", "name": "tides", "args": {"input": "high water on Monday"}}
    return {"tool_calls": [call], "usage": {"input": 130, "output": 16}}


model = ScriptedModel(answer=scripted)
almanac = SummaryIndex.from_documents([Document(text="Monday: high water 06:12 and 18:40.")])
tides = QueryEngineTool.from_defaults(
    almanac.as_query_engine(llm=model), name="tides", description="When the tides are."
)
agent = FunctionAgent(name="harbour", tools=[tides], llm=model, streaming=False)


async def ask(question: str) -> str:
    with instrument_tags({"session_id": "boat-7", "user_id": "ada"}):
        answering = agent.run(question)
    return str(await answering)


with Tracer(budget=Budget(run_usd=0.05)) as tracer:
    tokentrace_llama_index.instrument(tracer)
    print(asyncio.run(ask("When shall I sail on Monday?")))
    tokentrace_llama_index.uninstrument()
