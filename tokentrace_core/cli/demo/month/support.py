"""The support agent: looks orders up, gives refunds, answers from a handbook that is in its system prompt.

retry_storm       `order_lookup` answers 429; the turn is rolled back and the model asked again, up to seven times.
                  Well kept: at most two retries, and a pause before each.
preamble          an answer begins with 120 tokens that say nothing.
"""

from __future__ import annotations

import json

from tokentrace_core.cli.demo.month import texts
from tokentrace_core.cli.demo.month.stage import Answer, Scene, Stage, ToolFault, Visit, message, turn

MODEL = "gpt-4o"
_HANDBOOK_BYTES = 13_200
_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": what,
            "parameters": {"type": "object", "properties": {key: {"type": "string"}}, "required": [key]},
        },
    }
    for name, what, key in (
        ("order_lookup", "Find an order by its number: state, items, payments.", "order"),
        ("refund", "Give back the money of one order.", "order"),
        ("search_help", "Search the help pages.", "query"),
    )
]
_LIMIT = "429 Too Many Requests: order service rate limit"
#: Retries that a storm makes, and those that are enough.
_STORM = (5, 7, 7, 7)
_ENOUGH = 2
_INCIDENT_US = 25_000_000


def answer_ticket(stage: Stage, visit: Visit) -> None:
    """A customer asks; the agent looks the order up, acts, and answers."""
    chance = stage_chance = Scene(stage, visit, None).chance("ticket")
    asked_for = texts.question(chance)
    project = "support-eu" if stage_chance.random() < 0.6 else "support-us"
    facts = {"task_type": "support", "tags": [project, "refund" if chance.random() < 0.3 else "question"]}
    with stage.run(visit, f"ticket-{4000 + visit.number}", input=asked_for, **facts) as scene:
        _work(scene, asked_for, facts["tags"][1] == "refund")


def _work(scene: Scene, asked_for: str, wants_money: bool) -> None:
    order = f"A{scene.visit.number % 997:03d}-{scene.chance('order').randint(10, 99)}"
    conversation = [
        message("system", texts.rules("Support handbook", _HANDBOOK_BYTES)),
        message("user", f"Order {order}. {asked_for}"),
    ]
    _look_up(scene, conversation, order)
    if wants_money:
        _step(scene, conversation, "refund", {"order": order}, '{"refunded": true}')
    elif scene.chance("search").random() < 0.35:
        _step(
            scene,
            conversation,
            "search_help",
            {"query": asked_for},
            texts.chunk(scene.visit.number % 97)[:700],
        )
    if scene.chance("slow").random() < 0.03:
        scene.fail(MODEL, conversation, TimeoutError("no answer within 60 s"), 60.0, "answer")
    said = texts.answer(scene.chance("answer"), 520)
    if "preamble" in scene.visit.plant:
        said = texts.preamble(scene.chance("preamble")) + said
    scene.ask("answer", MODEL, conversation, Answer(said), tools=_TOOLS, temperature=0.2, kind="preamble")
    satisfied = scene.chance("satisfied")
    scene.finish(
        said, **({"csat": satisfied.choice((2, 3, 4, 4, 5, 5))} if satisfied.random() < 0.35 else {})
    )


def _look_up(scene: Scene, conversation: list[dict[str, object]], order: str) -> None:
    """The first turn; what the order service refuses is asked for again with the same prompt."""
    chance = scene.chance("look up")
    wish = Answer(tools=(("order_lookup", {"order": order}),))
    found = json.dumps(
        {
            "order": order,
            "state": chance.choice(("paid", "sent", "returned")),
            "items": texts.answer(chance, 420),
        }
    )
    began = scene.stage.time.at
    refusals = 0
    if scene.visit.incident:
        refusals = chance.choice(_STORM)
        if "retry_storm" not in scene.visit.plant:
            refusals = _ENOUGH
    elif chance.random() < 0.05:
        refusals = 1
    for attempt in range(1, refusals + 2):
        kind = "retry_storm" if attempt > _ENOUGH + 1 else None
        asked = scene.ask(
            f"look up {attempt}",
            MODEL,
            conversation,
            wish,
            tools=_TOOLS,
            step="look up",
            kind=kind,
            temperature=0.2,
        )
        if attempt <= refusals:
            scene.use(asked[0], None, 0.3, error=_LIMIT, status=429)
            scene.stage.time.later(0.2)
        else:
            if scene.visit.incident:  # until the limit is over: by waiting, or by asking again
                scene.stage.time.at = began + _INCIDENT_US
            scene.use(asked[0], found, 0.4, status=200)
    if chance.random() < 0.01:
        raise ToolFault("order service is down")
    conversation += turn(wish, asked, [found])


def _step(
    scene: Scene, conversation: list[dict[str, object]], tool: str, arguments: dict[str, str], result: str
) -> None:
    wish = Answer(tools=((tool, arguments),))
    asked = scene.ask(tool, MODEL, conversation, wish, tools=_TOOLS, temperature=0.2)
    scene.use(asked[0], result, 0.5, status=200)
    conversation += turn(wish, asked, [result])
