"""A run's calls and tools on half a page: what reports add up, so that none of them reads a million rows.

`runs.synopsis` holds it as JSON; `summary` makes it. It says nothing that the rows of the run do not say. The columns of
the lists are positions: a synopsis has some hundred bytes, and a file may have a million of them. What there is most of are
tuples, which a reader adds up a column at a time (a named tuple cannot be made of another, so `ToolShare` says the same
names again). A reader decodes as much as it needs: `Costs`, `Synopsis`, `FullSynopsis`, each longer than the one before.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct, field

#: As a model and a provider: what tools themselves cost.
OWN_COST = "(tool)"

#: Agent and step name.
Part = tuple[str | None, str | None]
#: Provider, model, and the model that answered if it has another name.
Model = tuple[str | None, str | None, str | None]


class CallSums(NamedTuple):
    """What the model calls of one agent, step name, model, hour and status add up to."""

    part: int
    model: int
    hour: int
    """Since the epoch; of the calls' start."""
    status: str
    calls: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    nano: int = 0
    estimated_nano: int = 0
    unpriced_calls: int = 0
    unpriced_tokens: int = 0
    estimated_calls: int = 0


class ToolShare(NamedTuple):
    """The same for one tool: an equal share of each call that asked for it, and what it cost itself."""

    part: int
    model: int
    hour: int
    status: str
    calls: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    nano: int = 0
    estimated_nano: int = 0
    unpriced_calls: int = 0
    unpriced_tokens: int = 0
    estimated_calls: int = 0
    tool: str = ""


class ToolSums(Struct, array_like=True, gc=False):
    """What the calls of one tool in one agent, step name and model add up to."""

    part: int
    model: int
    """Of the step's call; -1 if there is none."""
    name: str
    calls: int = 0
    failures: int = 0
    retries: int = 0
    """The same arguments again, after they had failed."""
    most: int = 0
    """How often the same arguments were tried in the run, at most."""
    led_steps: int = 0
    """Steps that came after one in which it was called: the agent's next, which reads the result."""
    led_nano: int = 0
    """What these steps cost, shared among the tools that led to them."""
    durations: list[int] = field(default_factory=list)
    """Microseconds, of the calls that ended."""


class StepSums(Struct, array_like=True, gc=False):
    """The steps in the order of their numbers, a list for each fact; there are too many for a row each."""

    part: list[int] = field(default_factory=list)
    model: list[int] = field(default_factory=list)
    """Of the last call; -1 if there is none."""
    nano: list[int] = field(default_factory=list)
    input_tokens: list[int] = field(default_factory=list)
    corrects: list[int] = field(default_factory=list)
    """Places (from 0) of the steps in which a tool that had failed was tried with other arguments."""


class Costs(Struct, array_like=True, kw_only=True, gc=False):
    """What of a run was spent on what."""

    parts: tuple[Part, ...]
    models: tuple[Model, ...]
    first: int | None = None
    """When the first and the last of what cost something began, in microseconds."""
    last: int | None = None
    calls: list[CallSums]


class Synopsis(Costs, array_like=True, kw_only=True, gc=False):
    """And how it went."""

    tools: list[ToolSums]
    steps: StepSums
    final: tuple[int, int] | None = None
    """Model and prompt tokens of the last call whose usage is known."""
    falls_back: int = 0
    """1 if an agent asked another model after a call had failed."""


class FullSynopsis(Synopsis, array_like=True, kw_only=True, gc=False):
    """And which tools the money went to."""

    shares: list[ToolShare]
