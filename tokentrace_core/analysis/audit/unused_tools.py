"""Unused tool definitions: tools that are described in every prompt of an agent and never called.

An agent may carry a tool that it seldom needs; that is no waste. Reported is a bundle of them (such as all tools of a server) that takes 1,000 tokens or
more of each prompt and of which none was called by that agent in the time that is audited, over at least twenty calls. What would
have been paid: the prompt without them, at the price that the start of the prompt had, which is often that of the cache.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

import msgspec

from tokentrace_core.analysis.audit.calls import Page, TracedRun
from tokentrace_core.analysis.audit.findings import Finding, Tally, plain
from tokentrace_core.analysis.audit.looks import Case, Look
from tokentrace_core.payload import canonical_json
from tokentrace_core.snapshot import utf8_size

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


class UnusedTools(Look):
    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._sent: dict[Carried, int] = defaultdict(int)
        self._called: dict[str, set[str]] = defaultdict(set)
        self._unused: dict[Carried, _Bundle] = {}
        self._tally = Tally("unused_tools")

    def see(self, page: Page) -> None:
        for call in page.calls:
            if call.tools_id is not None:
                self._sent[call.who, call.tools_id] += 1
        for tool in page.tools:
            self._called[tool.who].add(tool.name)

    def again(self) -> Iterable[str]:
        for carried, calls in self._sent.items():
            if calls >= LEAST_CALLS and (bundle := self._bundle(*carried)) is not None:
                self._unused[carried] = bundle
        return self.case.runs_of({who for who, _ in self._unused})

    def _bundle(self, who: str, tools_id: str) -> _Bundle | None:
        size = self.prompts.tools_size(tools_id)
        if size < LEAST_BYTES:
            return None
        sizes = _sizes(self.prompts.text(tools_id))
        unused = {name: size for name, size in sizes.items() if name and name not in self._called[who]}
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
                self._tally.add(call, carried, partial(str, bundle.title), [waste])

    def findings(self) -> list[Finding]:
        return self._tally.findings()


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
