"""Three frameworks in one request: a crew, whose tool asks a LangChain model about what a LlamaIndex retriever found.

One tracer, one run, one budget. Keyless: the models are scripted.
"""

import os

os.environ |= {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false"}

from crewai import Agent, Crew, Task
from crewai.tools import tool
from llama_index.core import Document, SummaryIndex

import tokentrace_crewai
import tokentrace_langchain
import tokentrace_llama_index
from tokentrace_core import Budget, Tracer
from tokentrace_crewai.demo import ScriptedLLM
from tokentrace_langchain.demo import ScriptedChatModel

INTEGRATIONS = (tokentrace_crewai, tokentrace_langchain, tokentrace_llama_index)


def reader_script(conversation):
    return {"content": "Five years.", "usage": {"input": 400, "output": 4}}


def writer_script(conversation):
    if conversation[-1]["role"] == "tool":
        return {"content": "Replace your ropes every five years.", "usage": {"input": 350, "output": 11}}
    call = {"id": "call_1", "name": "manual", "args": {"question": "How long do ropes last?"}}
    return {"tool_calls": [call], "usage": {"input": 300, "output": 18}}


pages = SummaryIndex.from_documents([Document(text="Ropes: replace after 5 years.")])
reader = ScriptedChatModel(answer=reader_script)


@tool
def manual(question: str) -> str:
    """Ask the manual."""
    found = pages.as_retriever().retrieve(question)
    return str(reader.invoke(f"{question} Answer from: {found[0].text}").text)


llm = ScriptedLLM(model="gpt-4o-mini", answer=writer_script)
writer = Agent(role="writer", goal="Write the guide.", backstory="Careful.", llm=llm, tools=[manual])
guide = Task(name="guide", description="Write about ropes.", expected_output="a page", agent=writer)

with Tracer(budget=Budget(run_usd=0.05)) as tracer:
    for integration in INTEGRATIONS:
        integration.instrument(tracer)
    with tracer.session("guide-3", user="ada"):
        print(Crew(name="editors", agents=[writer], tasks=[guide]).kickoff().raw)
    for integration in INTEGRATIONS:
        integration.uninstrument()
