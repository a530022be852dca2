"""What is measured of runs, and what each figure means. None: there is nothing to reckon it from."""

from __future__ import annotations

from msgspec import Struct, field

from tokentrace_core.analysis.distribution import Distribution

#: The same tool with the same arguments so often in one run is a loop (requirements.md T10).
LOOP = 3
#: From this step on a step is a late one (requirements.md S51).
LATE = 5


class ToolMetrics(Struct):
    """One tool."""

    name: str
    calls: int = 0
    runs: int = 0
    """Runs that called it."""
    calls_per_run: float = 0.0
    """Over all runs of the group, also those that did not call it."""
    error_rate: float = 0.0
    """Calls that failed or timed out, of all."""
    retry_rate: float | None = None
    """Retries for each first attempt. A retry repeats arguments that had failed in the same run."""
    loop_rate: float = 0.0
    """Runs in which it was called three times or more with the same arguments, of all runs of the group."""
    latency_ms: Distribution = field(default_factory=Distribution)


class StepMetrics(Struct):
    """All steps with one number."""

    step: int
    runs: int
    """Runs that came so far."""
    mean_nano_usd: float
    mean_input_tokens: float
    multiplier: float | None
    """What the runs that came so far had cost when this step ended, in first steps of theirs: its number, if no prompt grew."""


class Metrics(Struct, kw_only=True):
    """One group of runs."""

    key: tuple[str, ...] = ()
    runs: int = 0
    """Those that are over."""
    unfinished: int = 0
    """Those that run or wait; in none of the figures."""
    success_rate: float = 0.0
    """Of the runs that are over; 0 if there are none."""
    steps: Distribution
    cost_nano_usd: Distribution
    latency_ms: Distribution
    """From start to end, without waiting for a human."""
    token_efficiency: float | None = None
    """Tokens out for each token in. More is not better as such: it rises as prompts shrink (requirements.md T22)."""
    cache_hit_rate: float | None = None
    """The part of the tokens in that came from the provider's cache."""
    context_utilization: Distribution
    """Prompt of the last model call, as a part of its model's window. Not of models whose window nobody says."""
    fallback_rate: float | None = None
    """Runs in which an agent asked another model after a call had failed, or in which another model answered than was asked."""
    loop_rate: float | None = None
    """Runs in which a tool was called three times or more with the same arguments."""
    self_correction_rate: float | None = None
    """Steps in which an agent tried a tool that had failed in an earlier one with other arguments, of all steps."""
    late_step_nano_usd: float | None = None
    """Mean cost of a step from the fifth on."""
    steps_by_number: list[StepMetrics] = []
    tools: list[ToolMetrics] = []
    """Most called first."""
    unpriced_calls: int = 0
    """Calls that no cost here contains."""
    estimated_calls: int = 0
    """Calls whose cost rests on estimated usage."""
