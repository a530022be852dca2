"""The smaller agents: answers from the documentation, the nightly report, the ticket classifier.

What can be planted, and what a well kept agent does instead:

unused_tools     the docs agent sends the tools of a whole MCP server with every request, and never calls one. Instead: none.
context_rot      the nightly report is given the notes of all nights before. Instead: of the last two.
expensive_model  the classifier asks gpt-4o for one word. Instead: its small sister.
more_retrieved   (weeks) the retriever returns fourteen passages instead of three.
verbose_output   (weeks) answers of the docs agent are six times as long.
dearer_models    (weeks) three of five questions to the docs agent go to gpt-4o.
"""

from __future__ import annotations

import json
from typing import Any

from tokentrace_core.cli.demo.month import texts
from tokentrace_core.cli.demo.month.provider import Answer
from tokentrace_core.cli.demo.month.scene import entered, luck, message, turn
from tokentrace_core.cli.demo.month.stage import Stage, Visit

DOCS_MODEL, DEARER_MODEL = "gpt-4.1-mini", "gpt-4o"
_DOCS_SYSTEM = "Answer from the passages below, and only from them. Say which one you used."
_PASSAGES, _MORE_PASSAGES = 3, 14
_ANSWER, _LONG_ANSWER = 800, 5_000
_REPORT_MODEL = "gpt-5-mini"
_REPORT_TABLES = ("orders", "refunds", "sign_ups")
_NOTE_BYTES = 900
_NIGHTS_REMEMBERED = 2
_LABELS = ("billing", "shipping", "account", "bug", "praise")
_CLASSIFIER, _GREAT_CLASSIFIER = "gpt-4o-mini", "gpt-4o"
_CLASSIFY_SYSTEM = f"Sort the ticket. Answer with one word: {', '.join(_LABELS)}."


def _tool(name: str, what: str, key: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {key: {"type": "string"}}, "required": [key]}
    return {"type": "function", "function": {"name": name, "description": what, "parameters": parameters}}


_REPORT_TOOLS = [_tool("run_sql", "Run a query on the warehouse.", "sql")]
_MCP_TOOLS = [_tool(f"wiki_{name}", what, "page") for name, what in texts.tool_list(24)]


def answer_question(stage: Stage, visit: Visit) -> None:
    """Retrieve passages, answer from them."""
    chance = luck(stage, visit, "question")
    asked_for = texts.question(chance)
    facts = {"task_type": "docs_qa", "attributes": {"channel": chance.choice(("web", "slack", "ide"))}}
    with entered(stage, visit, f"docs-{visit.user}-{visit.day}", input=asked_for, **facts) as scene:
        top = _MORE_PASSAGES if scene.has("more_retrieved") else _PASSAGES
        found = [texts.chunk(min(int(chance.expovariate(0.02)), 400)) for _ in range(top)]
        search = {"name": "search_docs", "arguments": {"query": asked_for}}
        scene.use(search, found, 0.18, kind="retrieval")
        prompt = [
            message("system", _DOCS_SYSTEM),
            message("user", "\n\n".join([*found, f"Question: {asked_for}"])),
        ]
        said = texts.answer(scene.chance("answer"), _LONG_ANSWER if scene.has("verbose_output") else _ANSWER)
        if scene.has("preamble"):
            said = texts.preamble(scene.chance("preamble")) + said
        dearer = scene.has("dearer_models") and visit.number % 5 < 3
        model = DEARER_MODEL if dearer else DOCS_MODEL
        tools = _MCP_TOOLS if scene.has("unused_tools") else ()
        scene.ask("answer", model, prompt, Answer(said), tools=tools, kind="unused_tools", temperature=0)
        scene.finish(said, groundedness=round(scene.chance("grounds").uniform(0.6, 1), 2))


def write_report(stage: Stage, visit: Visit) -> None:
    """Every night: three queries, one report."""
    with entered(
        stage, visit, "nightly-report", input="Write the report of yesterday.", task_type="report"
    ) as scene:
        remembered = visit.day if scene.has("context_rot") else min(visit.day, _NIGHTS_REMEMBERED)
        notes = [
            message("user", texts.notes(night, _NOTE_BYTES))
            for night in range(visit.day - remembered, visit.day)
        ]
        conversation = [
            message("system", texts.rules("Warehouse tables", 13_000)),
            *notes,
            message("user", f"Write the report of day {visit.day}."),
        ]
        queries = [("run_sql", {"sql": f"select * from {table}_by_day limit 20"}) for table in _REPORT_TABLES]
        wish = Answer(tools=tuple(queries))
        asked = scene.ask("plan", _REPORT_MODEL, conversation, wish, tools=_REPORT_TOOLS, kind="context_rot")
        results = [json.dumps({"rows": texts.answer(scene.chance(table), 1_100)}) for table in _REPORT_TABLES]
        for call, result in zip(asked, results, strict=True):
            scene.use(call, result, scene.chance(result).uniform(0.5, 4))
        conversation += turn(wish, asked, results)
        said = texts.answer(scene.chance("report"), 1_600)
        scene.ask("write", _REPORT_MODEL, conversation, Answer(said), tools=_REPORT_TOOLS, kind="context_rot")
        scene.finish(said)


def classify(stage: Stage, visit: Visit) -> None:
    """One ticket, one word."""
    chance = luck(stage, visit, "ticket")
    ticket = f"{texts.question(chance)} {texts.answer(chance, chance.randint(150, 700))}"
    with entered(stage, visit, f"inbox-{visit.day}", input=ticket, task_type="classification") as scene:
        said = chance.choice(_LABELS)
        model = _GREAT_CLASSIFIER if scene.has("expensive_model") else _CLASSIFIER
        prompt = [message("system", _CLASSIFY_SYSTEM), message("user", ticket)]
        scene.ask(
            "classify", model, prompt, Answer(said), kind="expensive_model", temperature=0, max_tokens=5
        )
        scene.finish(said, correct=float(chance.random() < 0.93))
