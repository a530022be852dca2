"""The smaller agents: answers from the documentation, the nightly report, the ticket classifier."""

from __future__ import annotations

import json

from tokentrace_core.cli.demo.month import texts
from tokentrace_core.cli.demo.month.stage import Answer, Scene, Stage, Visit, message, turn

_DOCS_SYSTEM = "Answer from the passages below, and only from them. Say which one you used."
_DOCS_MODEL = "gpt-4.1-mini"
_PASSAGES = 3
_REPORT_MODEL = "gpt-5-mini"
_REPORT_TABLES = ("orders", "refunds", "sign_ups")
_REPORT_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "run_sql",
            "description": "Run a query on the warehouse.",
            "parameters": {"type": "object", "properties": {"sql": {"type": "string"}}, "required": ["sql"]},
        },
    }
]
_LABELS = ("billing", "shipping", "account", "bug", "praise")
_CLASSIFY_MODEL = "claude-haiku-4-5"
_CLASSIFY_SYSTEM = f"Sort the ticket. Answer with one word: {', '.join(_LABELS)}."


def answer_question(stage: Stage, visit: Visit) -> None:
    """Retrieve passages, answer from them."""
    chance = Scene(stage, visit, None).chance("question")
    asked_for = texts.question(chance)
    facts = {"task_type": "docs_qa", "attributes": {"channel": chance.choice(("web", "slack", "ide"))}}
    with stage.run(visit, f"docs-{visit.user}-{visit.day}", input=asked_for, **facts) as scene:
        found = [texts.chunk(min(int(chance.expovariate(0.02)), 400)) for _ in range(_PASSAGES)]
        scene.use(
            {"name": "search_docs", "arguments": {"query": asked_for, "top": _PASSAGES}},
            found,
            0.18,
            retrieval=True,
        )
        prompt = [
            message("system", _DOCS_SYSTEM),
            message("user", "\n\n".join([*found, f"Question: {asked_for}"])),
        ]
        said = texts.answer(scene.chance("answer"), 800)
        if "preamble" in visit.plant:
            said = texts.preamble(scene.chance("preamble")) + said
        scene.ask("answer", _DOCS_MODEL, prompt, Answer(said), temperature=0, kind="preamble")
        scene.finish(said, groundedness=round(chance.uniform(0.6, 1), 2))


def write_report(stage: Stage, visit: Visit) -> None:
    """Every night: three queries, one report."""
    with stage.run(
        visit, "nightly-report", input="Write the report of yesterday.", task_type="report"
    ) as scene:
        conversation = [
            message("system", texts.rules("Warehouse tables", 13_000)),
            message("user", f"Write the report of day {visit.day}."),
        ]
        wish = Answer(
            tools=tuple(
                ("run_sql", {"sql": f"select * from {table}_by_day limit 20"}) for table in _REPORT_TABLES
            )
        )
        asked = scene.ask("plan", _REPORT_MODEL, conversation, wish, tools=_REPORT_TOOLS)
        results = [json.dumps({"rows": texts.answer(scene.chance(table), 1_100)}) for table in _REPORT_TABLES]
        for call, result in zip(asked, results, strict=True):
            scene.use(call, result, scene.chance(result).uniform(0.5, 4))
        conversation += turn(wish, asked, results)
        said = texts.answer(scene.chance("report"), 1_600)
        scene.ask("write", _REPORT_MODEL, conversation, Answer(said), tools=_REPORT_TOOLS)
        scene.finish(said)


def classify(stage: Stage, visit: Visit) -> None:
    """One ticket, one word."""
    chance = Scene(stage, visit, None).chance("ticket")
    ticket = f"{texts.question(chance)} {texts.answer(chance, chance.randint(150, 700))}"
    with stage.run(visit, f"inbox-{visit.day}", input=ticket, task_type="classification") as scene:
        said = chance.choice(_LABELS)
        scene.ask(
            "classify",
            _CLASSIFY_MODEL,
            [message("system", _CLASSIFY_SYSTEM), message("user", ticket)],
            Answer(said),
            temperature=0,
            max_tokens=5,
        )
        scene.finish(said, correct=float(chance.random() < 0.93))
