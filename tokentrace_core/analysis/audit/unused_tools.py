"""Unused tool definitions: tools that are described in every prompt of an agent and never called.

An agent may carry a tool that it seldom needs; that is no waste. Reported is a bundle of them (such as all tools of a server) that takes 1,000 tokens or
more of each prompt and of which none was called by that agent in the time that is audited, over at least twenty calls. What would
have been paid: the prompt without them, at the price that the start of the prompt had, which is often that of the cache.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from tokentrace_core.analysis.audit.calls import Page, TracedRun
from tokentrace_core.analysis.audit.findings import Title, plain
from tokentrace_core.analysis.audit.looks import Case, Look
from tokentrace_core.payload import canonical_json
from tokentrace_core.snapshot import utf8_size

KIND = "unused_tools"
#: What a bundle has to take of each prompt to be worth a word, in bytes: 1,000 tokens.
LEAST_BYTES = 4_000
LEAST_TOOLS = 5
#: Over fewer calls nobody can say that a tool is not needed.
LEAST_CALLS = 20

Carried = tuple[str, str]
"""An agent, and the definitions that its prompts carry."""


class _Bundle(NamedTuple):
    """Definitions that an agent does not need."""

    title: str
    size: int
    """Of all that it sends."""
    unneeded: int


class Toolboxes(Struct):
    """What tools agents carry, and which they use."""

    sent: dict[Carried, int] = {}
    """Calls that carry them."""
    called: dict[str, set[str]] = {}
    """Agent -> the names of tools that it called."""


class UnusedTools(Look[Toolboxes]):
    tells = Toolboxes

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._toolboxes = Toolboxes()
        self._unused: dict[Carried, _Bundle] = {}

    def see(self, page: Page) -> None:
        sent, called = self._toolboxes.sent, self._toolboxes.called
        for call in page.calls:
            if call.tools_id is not None:
                carried = call.who, call.tools_id
                sent[carried] = sent.get(carried, 0) + 1
        for who, name in {(tool.who, tool.name) for tool in page.tools}:
            called.setdefault(who, set()).add(name)

    def told(self) -> Toolboxes:
        return self._toolboxes

    def hear(self, told: Toolboxes) -> None:
        sent, called = self._toolboxes.sent, self._toolboxes.called
        for carried, calls in told.sent.items():
            sent[carried] = sent.get(carried, 0) + calls
        for who, names in told.called.items():
            called.setdefault(who, set()).update(names)

    def again(self) -> Iterable[str]:
        for carried, calls in self._toolboxes.sent.items():
            if calls >= LEAST_CALLS and (bundle := self._bundle(*carried)) is not None:
                self._unused[carried] = bundle
        return self.case.runs_of({who for who, _ in self._unused})

    def _bundle(self, who: str, tools_id: str) -> _Bundle | None:
        size = self.prompts.tools_size(tools_id)
        if size < LEAST_BYTES:
            return None
        sizes = _sizes(self.prompts.text(tools_id))
        called = self._toolboxes.called.get(who, ())
        unused = {name: size for name, size in sizes.items() if name and name not in called}
        if len(unused) < LEAST_TOOLS or sum(unused.values()) < LEAST_BYTES:
            return None
        title = f"{plain(who)}: {len(unused)} of the tools in each prompt are never called ({_named(unused)}; {{calls}} calls)"
        return _Bundle(title, size, sum(unused.values()))

    def see_again(self, run: TracedRun) -> None:
        for call in run.calls:
            carried = call.who, call.tools_id or ""
            bundle = self._unused.get(carried)
            if bundle is not None and call.leaf is not None:
                unneeded = call.prompt * bundle.unneeded // (bundle.size + call.leaf.ends)
                waste = self.account.prompt(call, 0, unneeded, cached=False)
                self.tally.add(KIND, call, carried, partial(Title, bundle.title), [waste])


def _sizes(definitions: str) -> dict[str, int]:
    """Names of tools with their size."""
    try:
        defined = msgspec.json.decode(definitions)
    except msgspec.DecodeError:
        return {}
    return {_name(tool): utf8_size(canonical_json(tool)) for tool in defined if isinstance(tool, dict)}


def _named(unused: dict[str, int]) -> str:
    """The first few; a name may hold anything."""
    return plain(", ".join([*list(unused)[:3], "…"]))


def _name(tool: dict[str, Any]) -> str:
    """As the providers write it: at the top, or under "function"."""
    function = tool.get("function")
    name = function.get("name") if isinstance(function, dict) else tool.get("name")
    return name if isinstance(name, str) else ""
