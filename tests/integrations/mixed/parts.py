"""One asker per framework, each with a real client: an agent with one tool that asks the next one, or an end.

An asker is built from the one that its tool asks, so they nest in any order. The order is the only thing that
differs between two such programs: what the model is asked, what it answers and what must be stored are the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise, permutations
from typing import Any, NamedTuple

import httpx
from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import StructuredTool
from llama_index.core import Document, MockEmbedding, VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai import OpenAI

from tests.conformance.work import ScriptedModel, calls
from tests.loopback import LoopbackServer, Turn, TurnUsage
from tests.loopback.clients import chat_openai

#: Made before anything is recorded: making it is a run of its own.
_ALMANAC = VectorStoreIndex.from_documents([Document(text="Wet in May.")], embed_model=MockEmbedding(8))
SPENT = TurnUsage(1_000, 20)
#: Of one such answer of gpt-4o-mini.
PRICE_NANO_USD = 1_000 * 150 + 20 * 600


class Asker(NamedTuple):
    """Something that answers a question, in both ways of asking."""

    ask: Callable[[str], str]
    ask_async: Callable[[str], Awaitable[str]]


#: Builds an asker: the server, its name, and the asker behind its tool, which is called `ask_<name of that>`.
Build = Callable[[LoopbackServer, str, str, Asker], Asker]


# ── agents ───────────────────────────────────────────────────────────────────────────────────────────────


def crew(server: LoopbackServer, name: str, asked: str, inner: Asker, *, tools: Sequence[Any] = ()) -> Asker:
    """A crew of one agent with one task."""

    def made(ask: Callable[[str], Any], question: str) -> Crew:
        ask.__doc__ = "Ask the next one."
        llm = LLM("openai/gpt-4o-mini", base_url=server.openai_url, api_key="test", max_retries=0)
        used = list(tools) or [tool(f"ask_{asked}")(ask)]
        agent = Agent(role=name, goal="Answer.", backstory="You answer.", llm=llm, tools=used)
        task = Task(description=question, expected_output="the answer", agent=agent)
        return Crew(agents=[agent], tasks=[task], name=name)

    def ask(question: str) -> str:
        def ask_next(question: str) -> str:
            return inner.ask(question)

        return str(made(ask_next, question).kickoff().raw)

    async def ask_async(question: str) -> str:
        async def ask_next(question: str) -> str:
            return await inner.ask_async(question)

        return str((await made(ask_next, question).akickoff()).raw)

    return Asker(ask, ask_async)


def langchain_tool(asked: str, inner: Asker) -> StructuredTool:
    def ask(question: str) -> str:
        return inner.ask(question)

    async def ask_async(question: str) -> str:
        return await inner.ask_async(question)

    return StructuredTool.from_function(ask, ask_async, name=f"ask_{asked}", description="Ask the next one.")


def langchain_agent(
    server: LoopbackServer, name: str, asked: str, inner: Asker, *, callbacks: Sequence[Any] = ()
) -> Asker:
    def agent() -> Any:
        return create_agent(_langchain_model(server), [langchain_tool(asked, inner)], name=name)

    config: Any = {"callbacks": list(callbacks)}

    def ask(question: str) -> str:
        return str(agent().invoke({"messages": [("user", question)]}, config)["messages"][-1].text)

    async def ask_async(question: str) -> str:
        state = await agent().ainvoke({"messages": [("user", question)]}, config)
        return str(state["messages"][-1].text)

    return Asker(ask, ask_async)


def llama_index_agent(server: LoopbackServer, name: str, asked: str, inner: Asker) -> Asker:
    """Its tool is a plain function when it is asked synchronously: LlamaIndex calls that in a thread."""

    def agent(**function: Any) -> FunctionAgent:
        asking = FunctionTool.from_defaults(**function, name=f"ask_{asked}", description="Ask the next one.")
        return FunctionAgent(
            name=name, tools=[asking], llm=_llama_index_model(server), streaming=False, description=name
        )

    async def ask_in_thread(question: str) -> str:
        def ask_next(question: str) -> str:
            return inner.ask(question)

        return str(await agent(fn=ask_next).run(question))

    async def ask_async(question: str) -> str:
        async def ask_next(question: str) -> str:
            return await inner.ask_async(question)

        return str(await agent(async_fn=ask_next).run(question))

    return Asker(lambda question: asyncio.run(ask_in_thread(question)), ask_async)


# ── ends ─────────────────────────────────────────────────────────────────────────────────────────────────


def langchain_chain(server: LoopbackServer) -> Asker:
    prompt = ChatPromptTemplate.from_messages([("user", "{question}")])

    def ask(question: str) -> str:
        chain: Any = prompt | _langchain_model(server)
        return str(chain.invoke({"question": question}).text)

    async def ask_async(question: str) -> str:
        chain: Any = prompt | _langchain_model(server)
        return str((await chain.ainvoke({"question": question})).text)

    return Asker(ask, ask_async)


def llama_index_engine(server: LoopbackServer) -> Asker:
    """A query engine over one page. Its vectors are the mock's: no request is sent for them."""
    engine = _ALMANAC.as_query_engine(llm=_llama_index_model(server))

    async def ask_async(question: str) -> str:
        return str(await engine.aquery(question))

    return Asker(lambda question: str(engine.query(question)), ask_async)


def _langchain_model(server: LoopbackServer) -> BaseChatModel:
    """Each with connections of its own: those that LangChain shares belong to the loop they were made in, and
    CrewAI runs an asynchronous tool in another one."""
    return chat_openai(server, http_async_client=httpx.AsyncClient(), max_retries=0)


def _llama_index_model(server: LoopbackServer) -> OpenAI:
    return OpenAI("gpt-4o-mini", api_base=server.openai_url, api_key="test", max_retries=0)


# ── programs ─────────────────────────────────────────────────────────────────────────────────────────────

AGENTS: dict[str, Build] = {"crewai": crew, "langchain": langchain_agent, "llama-index": llama_index_agent}
ORDERS = tuple(permutations(AGENTS))
NAMES = ("first", "second", "third")


def nested(server: LoopbackServer, builds: Sequence[Build], end: Asker) -> Asker:
    """Each of these agents in a tool of the one before, the end in the last one's tool."""
    asker = end
    names = [*NAMES[: len(builds)], "end"]
    for place in reversed(range(len(builds))):
        asker = builds[place](server, names[place], names[place + 1], asker)
    return asker


def expect(model: ScriptedModel, depth: int, whom: str = "all") -> None:
    """Each agent's model asks for its tool once, then answers what it is told; all of it for `whom`."""
    names = [*NAMES[:depth], "end"]
    for name, asked in pairwise(names):
        call = calls((f"ask_{asked}", {"question": question(asked, whom)}), usage=SPENT)
        model.expect(question(name, whom), call, Turn(f"{name} says wet", usage=SPENT))
    model.expect(question("end", whom), Turn(f"wet for {whom}", usage=SPENT))


def question(name: str, whom: str = "all") -> str:
    """No question of one is a part of another's."""
    return f"Say to {name} for {whom}: is May wet?"
