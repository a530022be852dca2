"""The code reviewer: a coordinator, three sub-agents side by side, and in one project a review file by file.

What can be planted, and what a well kept agent does instead:

fan_out       each sub-agent gets the whole diff behind a system prompt of its own. Instead: the diff comes first and is
              cached, the role after it.
refetch       in `payments`, CLAUDE.md and OWNERS.md are read and sent again in each of nine turns. Instead: they are cached.
broken_cache  in `payments`, the time of day stands at the top of the system prompt, so that nothing behind it is ever read
              from the cache. Instead: it stands in the last message.
"""

from __future__ import annotations

from datetime import UTC, datetime

from tokentrace_core.cli.demo.month import texts
from tokentrace_core.cli.demo.month.provider import Answer
from tokentrace_core.cli.demo.month.scene import ModelFault, Scene, entered, message, turn
from tokentrace_core.cli.demo.month.stage import Stage, Visit

MODEL = "claude-sonnet-4-5"
ROLES = ("security", "performance", "architecture")
#: Every third or fourth pull request is one of `payments`, whose sessions are long.
_PAYMENTS_EVERY = 40, 11
_RUNS_OF_SESSION, _TURNS_OF_RUN = 3, 3
_DIFF_BYTES = 12_200
_STATIC_FILES = {"CLAUDE.md": 19_900, "OWNERS.md": 7_400}
_READ_S = 0.02
#: From one run of a session to the next: short enough for a cache of five minutes.
_EVERY_US = 120_000_000
_SYSTEM = "You coordinate code reviews. Delegate to the reviewers, then write one comment."
_FILE_SYSTEM = "You review one file at a time by the rules of the repository."
_TOOLS = [
    {
        "name": "delegate",
        "description": "Give the change to one reviewer: security, performance or architecture.",
        "input_schema": {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]},
    }
]


def is_payments(number: int) -> bool:
    """Whether a pull request belongs to the project with the long sessions."""
    every, of_them = _PAYMENTS_EVERY
    return number * of_them % every < of_them


def review(stage: Stage, visit: Visit) -> None:
    """A pull request is opened: one run, and in `payments` three."""
    project = (
        "payments" if is_payments(visit.number) else ("storefront", "search", "billing-ui")[visit.number % 3]
    )
    session = f"{project}#{1200 + visit.number}"
    facts = {
        "task_type": "code_review",
        "tags": [project],
        "attributes": {"pull_request": 1200 + visit.number},
    }
    with entered(stage, visit, session, input=f"Review {session}", **facts) as scene:
        _fan_out(scene, session)
    if project != "payments":
        return
    for number in range(_RUNS_OF_SESSION):
        later = visit._replace(at=visit.at + _EVERY_US * (number + 1))
        with entered(stage, later, session, input=f"Review the files of {session}", **facts) as scene:
            _file_by_file(scene, number)


def _fan_out(scene: Scene, session: str) -> None:
    chance = scene.chance("change")
    asked_for = f"{session}: {texts.question(chance)}"
    conversation = [message("system", _SYSTEM), message("user", asked_for)]
    if chance.random() < 0.04:
        scene.fail("plan failed", MODEL, conversation, ModelFault("529 overloaded_error"), 2.0)
    change = message("user", texts.diff(chance, _DIFF_BYTES))
    plan = Answer("I hand this to the three reviewers.", tuple(("delegate", {"to": role}) for role in ROLES))
    asked = scene.ask("plan", MODEL, conversation, plan, tools=_TOOLS, max_tokens=1024)
    reports = [texts.findings(scene.chance(role), role, 430) for role in ROLES]
    for place, (call, role, report) in enumerate(zip(asked, ROLES, reports, strict=True)):
        with scene.delegate(call, role) as agent:
            scene.later(3.0 * place)  # the first has begun to answer, so its cache can be read
            _one_reviewer(agent, role, change, report)
    scene.join()
    conversation += turn(plan, asked, reports)
    comment = texts.findings(scene.chance("comment"), "summary", 560)
    polite = texts.preamble(scene.chance("preamble")) if scene.has("preamble") else ""
    scene.ask(
        "comment",
        MODEL,
        conversation,
        Answer(polite + comment),
        tools=_TOOLS,
        max_tokens=1024,
    )
    scene.finish(polite + comment)


def _one_reviewer(agent: Scene, role: str, change: dict[str, str], report: str) -> None:
    brief = f"You are the {role} reviewer. Look at the change for what matters to {role} only, and be brief."
    if agent.has("fan_out"):
        prompt, mark = [message("system", brief), change], 0
    else:
        prompt, mark = [change, message("user", brief)], 1
    agent.ask(role, MODEL, prompt, Answer(report), mark=mark, kind="fan_out", max_tokens=1024)


def _file_by_file(scene: Scene, number: int) -> None:
    """Turns of the author and the reviewer, each a prompt of its own: the rules of the repository, then one file."""
    files = [message("user", texts.rules(path, size)) for path, size in _STATIC_FILES.items()]
    careless = scene.has("refetch")
    said = ""
    for place in range(number * _TURNS_OF_RUN, (number + 1) * _TURNS_OF_RUN):
        _read_files(scene, again=careless or place == 0)
        now = datetime.fromtimestamp(scene.stage.time.at / 1e6, UTC).isoformat(" ", "milliseconds")
        chance = scene.chance(f"file {place}")
        change = texts.diff(chance, 900)
        if scene.has("broken_cache"):
            prompt = [message("system", f"Now: {now}. {_FILE_SYSTEM}"), *files, message("user", change)]
        else:
            prompt = [message("system", _FILE_SYSTEM), *files, message("user", f"Now: {now}. {change}")]
        said = texts.findings(chance, "file", 300)
        kind = "broken_cache" if scene.has("broken_cache") else "refetch"
        mark = 0 if careless else 1 + len(files)
        scene.ask(
            f"turn {place}", MODEL, prompt, Answer(said), mark=mark, step="file", kind=kind, max_tokens=1024
        )
        scene.later(chance.uniform(4, 25))
    scene.finish(said)


def _read_files(scene: Scene, *, again: bool) -> None:
    for path, size in _STATIC_FILES.items():
        if again:
            asked = {"name": "read_file", "arguments": {"path": path}}
            scene.use(asked, texts.rules(path, size), _READ_S)
        else:
            scene.later(_READ_S)
