"""What the demo agent is asked, and the scripted mind that answers without a key.

A mind is a function from the conversation so far to what a model would say next. It is no canned text: it
reads what the tools really found and decides by that, so the agent's report is true of the folder. Usage is
what such a model would report: sizes by the four-bytes rule, and a repeated prefix served from the cache in
blocks of 128 tokens from 1,024 on, as OpenAI does. Only what a model reads has a size (texts, and the tools it
asked for), so the same conversation costs the same in every framework. Where frameworks still differ, they have told
their model different things: CrewAI adds the agent's role and goal to the system prompt, and words to a tool's failure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tokentrace_core.budget import Budget
from tokentrace_core.payload import canonical_json
from tokentrace_core.pricing import estimate_tokens

Conversation = Sequence[Mapping[str, Any]]

SYSTEM_PROMPT = (
    "You are a librarian of source code. Use the tools to look at the files of the folder, then answer the "
    "question in two or three sentences. Name the files that your answer rests on."
)
_CACHE_FROM, _CACHE_BLOCK = 1_024, 128


class ToolRequest(NamedTuple):
    name: str
    arguments: dict[str, Any]


class Turn(NamedTuple):
    """What the model says next: tools to call, or the answer."""

    text: str = ""
    tools: tuple[ToolRequest, ...] = ()


Mind = Callable[[Conversation], Turn]


class Scenario(NamedTuple):
    title: str
    question: str
    mind: Mind
    budget: Budget


def usage_of(conversation: Conversation, turn: Turn) -> dict[str, int]:
    """{"input", "cached", "output"} tokens that a provider would report for this turn."""
    sizes = [len(canonical_json(_read_by_model(message)).encode()) for message in conversation]
    total = estimate_tokens(sum(sizes))
    before = estimate_tokens(sum(sizes[: _end_of_previous_prompt(conversation)]))
    cached = before // _CACHE_BLOCK * _CACHE_BLOCK if before >= _CACHE_FROM else 0
    said = turn.text + "".join(canonical_json(request._asdict()) for request in turn.tools)
    return {"input": total, "cached": cached, "output": estimate_tokens(len(said.encode()))}


def _read_by_model(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message without ids and names, which frameworks add as they like."""
    asked = [[call["name"], call["arguments"]] for call in message.get("tool_calls") or ()]
    return {"role": message["role"], "content": message.get("content") or "", "tools": asked}


def _end_of_previous_prompt(conversation: Conversation) -> int:
    replies = [place for place, message in enumerate(conversation) if message["role"] == "assistant"]
    return replies[-1] if replies else 0


def _largest_module(conversation: Conversation) -> Turn:
    """List, search and read the two largest at once, then report."""
    found = _results(conversation)
    if not found:
        return Turn(tools=(ToolRequest("list_files", {}),))
    largest = _paths(found[0])[:2]
    if len(found) == 1:
        return Turn(tools=(ToolRequest("search", {"text": "class "}),))
    if len(found) == 2:
        return Turn(tools=tuple(ToolRequest("read_file", {"path": path}) for path in largest))
    ideas = [_first_sentence(text) for text in found[2:]]
    facts = " ".join(f"{path}: {idea}" for path, idea in zip(largest, ideas, strict=False))
    classes = sum(line.count("class ") > 0 for line in found[1].splitlines())
    return Turn(
        f"The folder has {len(_paths(found[0]))} text files; the largest are {' and '.join(largest)}. {facts} "
        f"Lines that mention a class: {classes} (as far as the search shows)."
    )


def _missing_file(conversation: Conversation) -> Turn:
    """Ask for a file that is not there, recover from the failure, and report."""
    found = _results(conversation)
    if not found:
        return Turn(tools=(ToolRequest("read_file", {"path": "CHANGES.md"}),))
    if len(found) == 1:
        return Turn(tools=(ToolRequest("list_files", {}),))
    return Turn(f"There is no CHANGES.md. The largest of the files that are there is {_paths(found[1])[0]}.")


def _reads_everything(conversation: Conversation) -> Turn:
    """The loop nobody watches: every file, one by one, the whole history resent each time."""
    found = _results(conversation)
    if not found:
        return Turn(tools=(ToolRequest("list_files", {}),))
    paths = _paths(found[0])
    return Turn(tools=(ToolRequest("read_file", {"path": paths[(len(found) - 1) % len(paths)]}),))


SCENARIOS = (
    Scenario(
        "a normal run",
        "Which are the two largest files here, and what are they for?",
        _largest_module,
        Budget(run_usd="0.05"),
    ),
    Scenario("a tool that fails", "What does CHANGES.md say?", _missing_file, Budget(run_usd="0.05")),
    Scenario(
        "a loop with a budget of $0.01",
        "Read every file of the folder and summarise each.",
        _reads_everything,
        Budget(run_usd="0.01"),
    ),
)


def _results(conversation: Conversation) -> list[str]:
    """What tools gave, in the order in which they were asked for: those that ran together may end in any order."""
    given = {m.get("tool_call_id"): str(m["content"]) for m in conversation if m["role"] == "tool"}
    asked = [call["id"] for message in conversation for call in message.get("tool_calls") or ()]
    return [given[call_id] for call_id in asked if call_id in given]


def _paths(listing: str) -> list[str]:
    """The paths of `list_files`, largest first."""
    return [line.split(maxsplit=1)[1] for line in listing.splitlines() if line[:6].strip().isdigit()] or ["."]


def _first_sentence(source: str) -> str:
    text = source.lstrip("#\"' \n").split("\n\n")[0].replace("\n", " ").strip("\"' ")
    return text.split(". ")[0].rstrip(".") + "."
