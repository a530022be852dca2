"""The support agent: looks orders up, gives refunds, answers from a handbook that is in its system prompt.

What can be planted, and what a well kept agent does instead:

retry_storm       `order_lookup` answers 429; the turn is rolled back and the model asked again with the same prompt, up to seven
                  times. Instead: two retries at most, and a pause before each.
loop              asks six times or more where a parcel is, and hears the same. Instead: twice.
oversized_result  `order_lookup` returns the customer's whole history. Instead: its first 1,000 tokens.
tool_errors       (weeks) `order_lookup` answers 500, and is asked for again and again.
one_user          (weeks) one user pastes a log of 7,500 tokens, and the agent searches the help for each part of it.
"""

from __future__ import annotations

import json
from typing import Any

from tokentrace_core.cli.demo.month import texts
from tokentrace_core.cli.demo.month.provider import Answer
from tokentrace_core.cli.demo.month.scene import Scene, ToolFault, entered, luck, message, turn
from tokentrace_core.cli.demo.month.stage import Stage, Visit

MODEL = "gpt-4o"
#: The user whose input is pathological in `one_user`.
PATHOLOGICAL = "amelia-1"
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
        ("shipment_status", "Where the parcel of an order is now.", "order"),
        ("refund", "Give back the money of one order.", "order"),
        ("search_help", "Search the help pages.", "query"),
    )
]
_SENT: dict[str, Any] = {"tools": _TOOLS, "temperature": 0.2}
_LIMIT = "429 Too Many Requests: order service rate limit"
_BROKEN = "500 Internal Server Error: order service"
#: Retries that a storm makes, those that are enough, and those of a tool that is broken.
_STORM, _ENOUGH, _BROKEN_TRIES = (5, 7, 7, 7), 2, (5, 8)
#: How long the order service stays at its limit.
_INCIDENT_US = 30_000_000
_POLLS, _ENOUGH_POLLS = (6, 9), 2
_HISTORY_BYTES, _CUT_BYTES = 22_000, 4_000
_LOG_BYTES, _LOG_PARTS = 30_000, 5

Conversation = list[dict[str, Any]]


def answer_ticket(stage: Stage, visit: Visit) -> None:
    """A customer asks; the agent looks the order up, acts, and answers."""
    chance = luck(stage, visit, "ticket")
    asked_for = texts.question(chance)
    region = "support-eu" if chance.random() < 0.6 else "support-us"
    wish = "refund" if chance.random() < 0.3 else "question"
    with entered(
        stage,
        visit,
        f"ticket-{4000 + visit.number}",
        input=asked_for,
        task_type="support",
        tags=[region, wish],
    ) as scene:
        _work(scene, asked_for, wish)


def _work(scene: Scene, asked_for: str, wish: str) -> None:
    order = f"A{scene.visit.number % 997:03d}-{scene.chance('order').randint(10, 99)}"
    log = texts.diff(scene.chance("log"), _LOG_BYTES) if _is_pathological(scene) else ""
    conversation = [
        message("system", texts.rules("Support handbook", _HANDBOOK_BYTES)),
        message("user", f"Order {order}. {asked_for}{log}"),
    ]
    _look_up(scene, conversation, order)
    if log:
        for part in range(_LOG_PARTS):
            _search(scene, conversation, f"{asked_for} part {part}", str(part))
    elif wish == "refund":
        _turn(scene, conversation, "refund", ("refund", {"order": order}), '{"refunded": true}')
    elif scene.visit.number % 9 == 4:
        _poll(scene, conversation, order)
    elif scene.chance("search").random() < 0.3:
        _search(scene, conversation, asked_for, "")
    _answer(scene, conversation)


def _is_pathological(scene: Scene) -> bool:
    return scene.has("one_user") and scene.visit.user == PATHOLOGICAL


def _look_up(scene: Scene, conversation: Conversation, order: str) -> None:
    """The first turn; what the order service refuses is asked for again with the same prompt."""
    wish = Answer(tools=(("order_lookup", {"order": order}),))
    found, began = _order(scene, order), scene.stage.time.at
    refusals, error, status = _refusals(scene)
    for attempt in range(1, refusals + 2):
        kind = "retry_storm" if attempt > _ENOUGH + 1 else None
        asked = scene.ask(f"look up {attempt}", MODEL, conversation, wish, step="look up", kind=kind, **_SENT)
        if attempt <= refusals:
            scene.use(asked[0], None, 0.3, error=error, status=status)
            scene.later(0.2)
    if scene.visit.incident:  # waited for, or asked for again all the while
        scene.stage.time.at = began + _INCIDENT_US
    if scene.chance("down").random() < 0.01:
        scene.use(asked[0], None, 5.0, error="order service is down", status=503)
        raise ToolFault("order service is down")
    scene.use(asked[0], found, 0.4, status=200)
    conversation += turn(wish, asked, [found])


def _refusals(scene: Scene) -> tuple[int, str, int]:
    """How often the order service refuses, and how it says so."""
    chance = scene.chance("look up")
    if scene.has("tool_errors") and not _is_pathological(scene):
        return chance.randint(*_BROKEN_TRIES), _BROKEN, 500
    if scene.visit.incident:
        storm = chance.choice(_STORM)
        return storm if scene.has("retry_storm") else _ENOUGH, _LIMIT, 429
    return int(chance.random() < 0.05), _LIMIT, 429


def _order(scene: Scene, order: str) -> str:
    """What `order_lookup` finds."""
    chance = scene.chance("order")
    facts = {"order": order, "state": chance.choice(("paid", "sent", "returned"))}
    if scene.visit.number % 4 != 1 or scene.visit.incident:
        return json.dumps(facts | {"items": texts.answer(chance, 420)})
    history = json.dumps(facts | {"history": texts.answer(chance, _HISTORY_BYTES)})
    return history if scene.has("oversized_result") else history[:_CUT_BYTES]


def _poll(scene: Scene, conversation: Conversation, order: str) -> None:
    polls = scene.chance("polls").randint(*_POLLS) if scene.has("loop") else _ENOUGH_POLLS
    for poll in range(polls):
        kind = "loop" if poll >= _ENOUGH_POLLS else None
        wish = ("shipment_status", {"order": order})
        _turn(
            scene,
            conversation,
            f"shipment_status {poll}",
            wish,
            '{"at": "depot"}',
            kind=kind,
            step="shipment_status",
        )


def _search(scene: Scene, conversation: Conversation, query: str, part: str) -> None:
    page = texts.chunk(scene.visit.number % 97)[:700]
    _turn(
        scene,
        conversation,
        f"search_help {part}",
        ("search_help", {"query": query}),
        page,
        step="search_help",
    )


def _turn(
    scene: Scene,
    conversation: Conversation,
    place: str,
    wish: tuple[str, dict[str, str]],
    result: str,
    *,
    kind: str | None = None,
    step: str | None = None,
) -> None:
    said = Answer(tools=(wish,))
    asked = scene.ask(
        place, MODEL, conversation, said, kind=kind or _carried(scene), step=step or place, **_SENT
    )
    scene.use(asked[0], result, 0.5, status=200)
    conversation += turn(said, asked, [result])


def _answer(scene: Scene, conversation: Conversation) -> None:
    if scene.chance("slow").random() < 0.03:
        scene.fail("answer failed", MODEL, conversation, TimeoutError("no answer within 60 s"), 60.0)
    said = texts.answer(scene.chance("answer"), 520)
    if scene.has("preamble"):
        said = texts.preamble(scene.chance("preamble")) + said
    scene.ask("answer", MODEL, conversation, Answer(said), kind=_carried(scene), **_SENT)
    mood = scene.chance("satisfied")
    scores = {"csat": float(mood.choice((2, 3, 4, 4, 5, 5)))} if mood.random() < 0.35 else {}
    scene.finish(said, **scores)


def _carried(scene: Scene) -> str | None:
    """What an earlier turn of the run has put into the conversation, and every later one resends."""
    return next((kind for kind in ("oversized_result", "loop") if scene.has(kind)), None)
