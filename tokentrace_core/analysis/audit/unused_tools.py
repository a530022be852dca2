"""Unused tool definitions: tools that are described in every prompt of an agent and never called.

An agent may carry a tool that it seldom needs; that is no waste. Reported is a bundle of them (such as all tools of a server) that takes 1,000 tokens or
more of each prompt and of which none was called by that agent in the time that is audited, over at least twenty calls. What would
have been paid: the prompt without them, at the price that the start of the prompt had, which is often that of the cache.
"""

from __future__ import annotations

from functools import partial
from itertools import groupby
from typing import Any

import msgspec

from tokentrace_core.analysis.audit.account import Account
from tokentrace_core.analysis.audit.calls import Trace
from tokentrace_core.analysis.audit.findings import Finding, Tally, plain
from tokentrace_core.analysis.audit.prompts import Prompts
from tokentrace_core.payload import canonical_json
from tokentrace_core.snapshot import utf8_size

#: What a bundle has to take of each prompt to be worth a word, in bytes: 1,000 tokens.
LEAST_BYTES = 4_000
LEAST_TOOLS = 5
#: Over fewer calls nobody can say that a tool is not needed.
LEAST_CALLS = 20


def find(trace: Trace, account: Account) -> list[Finding]:
    tally, prompts = Tally("unused_tools"), Prompts(trace)
    who = "coalesce(s.agent, r.name)"
    selection = trace.scope.calls()
    sent = trace.rows(
        f"select {who}, c.tools_id, count(*) {selection.sql} and c.tools_id is not null group by 1, 2 having count(*) >= {LEAST_CALLS}",
        selection.parameters,
    )
    for agent, tools_id, _ in list(sent):
        if prompts.tools_size(tools_id) < LEAST_BYTES:
            continue
        unused = _unused(trace, prompts, agent, tools_id)
        if len(unused) < LEAST_TOOLS or sum(unused.values()) < LEAST_BYTES:
            continue
        title = f"{plain(agent)}: {len(unused)} of the tools in each prompt are never called ({_named(unused)}; {{calls}} calls)"
        same = trace.calls(f"c.tools_id = :tools and {who} = :who", tools=tools_id, who=agent)
        for _, of_run in groupby(same, lambda call: call.run_id):
            calls = list(of_run)
            nodes = prompts.of(calls)
            for call in calls:
                if (leaf := nodes.get(call.prompt_id or "")) is not None:
                    size = prompts.tools_size(tools_id)
                    unneeded = call.prompt * sum(unused.values()) // (size + leaf.ends)
                    waste = account.prompt(call, 0, unneeded, cached=False)
                    tally.add(call, (agent, tools_id), partial(str, title), [waste])
    return tally.findings()


def _unused(trace: Trace, prompts: Prompts, agent: str, tools_id: str) -> dict[str, int]:
    """Names of the tools that this agent never called, with their size."""
    selection = trace.scope.tools()
    called = {
        name
        for (name,) in trace.rows(
            f"select distinct t.name {selection.sql} and coalesce(s.agent, r.name) = :who",
            selection.parameters | {"who": agent},
        )
    }
    try:
        defined = msgspec.json.decode(prompts.text(tools_id))
    except msgspec.DecodeError:
        return {}
    sizes = {_name(tool): utf8_size(canonical_json(tool)) for tool in defined if isinstance(tool, dict)}
    return {name: size for name, size in sizes.items() if name and name not in called}


def _named(unused: dict[str, int]) -> str:
    """The first few; a name may hold anything."""
    return plain(", ".join([*list(unused)[:3], "…"]))


def _name(tool: dict[str, Any]) -> str:
    """As the providers write it: at the top, or under "function"."""
    function = tool.get("function")
    name = function.get("name") if isinstance(function, dict) else tool.get("name")
    return name if isinstance(name, str) else ""
