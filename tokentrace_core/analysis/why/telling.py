"""What the record says of one effect: which verdict it is a sign of, who did it, and the figures that show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

from tokentrace_core.analysis.why import evidence, words
from tokentrace_core.analysis.why.cells import Cell
from tokentrace_core.analysis.why.facts import Both
from tokentrace_core.money import show_usd
from tokentrace_core.store.reader import Reader

#: Of a prompt's parts the ones that grew by less than this part of the whole are not named.
_PART_OF_PROMPT = Fraction(1, 10)


@dataclass(frozen=True)
class Comparison:
    """Two periods and their cells."""

    reader: Reader
    periods: Both
    cells: list[Cell]


@dataclass(frozen=True)
class Telling:
    """A verdict's name, what narrows its place, and its evidence."""

    verdict: str
    place: dict[str, str] = field(default_factory=dict)
    evidence: tuple[str, ...] = ()


def tell(effect: str, compared: Comparison, place: dict[str, str], *, raised: bool) -> Telling:
    """What there is to say of an effect at the place where most of it is. `raised`: it raised the cost."""
    return _TELLERS[effect](compared, place, raised)


def _turns(compared: Comparison, place: dict[str, str], raised: bool) -> Telling:
    figure = _figure(compared, "calls", "model calls per run")
    erring = evidence.erring_tool(compared.periods) if raised else None
    if erring is None:
        return Telling("more_turns", evidence=figure)
    tool, failures = erring
    return Telling(
        "tool_errors",
        {"tool": tool.name},
        (
            *figure,
            words.moved(f"failures of {tool.name} per run", failures.before, failures.after),
            f"{words.percent(tool.failures / tool.calls)} of its {tool.calls:,} calls fail",
        ),
    )


def _prompt(compared: Comparison, place: dict[str, str], raised: bool) -> Telling:
    figure = _figure(compared, "input", "input tokens per call")
    grown = evidence.larger_result(compared.periods) if raised else None
    parts = _parts_that_grew(compared, place) if raised else ()
    if grown is None:
        return Telling("larger_prompts", evidence=(*figure, *parts))
    tool, size = grown
    verdict = "more_retrieved" if tool.kind == "retrieval" else "larger_prompts"
    said = words.moved(f"bytes that {tool.name} returns per call", size.before, size.after)
    return Telling(verdict, {"tool": tool.name}, (*figure, said, *parts))


def _parts_that_grew(compared: Comparison, place: dict[str, str]) -> tuple[str, ...]:
    """Which messages: by role, in bytes per prompt."""
    before, after = (
        evidence.prompt_parts(compared.reader, period.scope, place) for period in compared.periods
    )
    least = _PART_OF_PROMPT * sum(after.values())
    return tuple(
        words.moved(f"bytes of {role} messages in a prompt", before.get(role, Fraction()), size)
        for role, size in sorted(after.items())
        if before and size - before.get(role, 0) > least
    )


def _cache(compared: Comparison, place: dict[str, str], raised: bool) -> Telling:
    before, after = (evidence.figures_of(period)["cache"] or 0 for period in compared.periods)
    said = f"read from the cache: {words.percent(before)} → {words.percent(after)} of all input tokens"
    return Telling("cache_misses", evidence=(said,))


def _output(compared: Comparison, place: dict[str, str], raised: bool) -> Telling:
    caps = [evidence.output_caps(compared.reader, period.scope, place) for period in compared.periods]
    told = [f"max_tokens: {' or '.join(caps[0]) or 'none'} → {' or '.join(caps[1]) or 'none'}"]
    thought = [evidence.reasoning_per_call(period) for period in compared.periods]
    grew = thought[1] > thought[0] * evidence.GREW
    return Telling(
        "verbose_output",
        evidence=(
            *_figure(compared, "output", "output tokens per call"),
            *(told if caps[0] != caps[1] else ()),
            *((words.moved("of these, reasoning", thought[0], thought[1]),) if grew else ()),
        ),
    )


def _models(compared: Comparison, place: dict[str, str], raised: bool) -> Telling:
    shift = evidence.model_shift(compared.periods)
    if shift is None:
        return Telling("dearer_models")
    come, gone, part = shift
    said = f"{come}: {words.percent(part.before)} → {words.percent(part.after)} of the tokens"
    return Telling("dearer_models", {"model": come}, (said + (f", in place of {gone}" if gone else ""),))


def _prices(compared: Comparison, place: dict[str, str], raised: bool) -> Telling:
    shift = evidence.price_shift(compared.cells)
    if shift is None:
        return Telling("price_increase")
    return Telling("price_increase", {"model": shift[0]}, (words.price_moved(*shift),))


def _tools(compared: Comparison, place: dict[str, str], raised: bool) -> Telling:
    tool = evidence.dearer_tool(compared.periods)
    said = f"{tool.name}: {show_usd(tool.before)} → {show_usd(tool.after)}"
    return Telling("tool_costs", {"tool": tool.name}, (said,))


def _runs(compared: Comparison, place: dict[str, str], raised: bool) -> Telling:
    before, after = (period.runs for period in compared.periods)
    return Telling("more_runs", evidence=(words.moved("runs", before, after),))


def _kinds(compared: Comparison, place: dict[str, str], raised: bool) -> Telling:
    """The kind of run whose part of all runs changed most."""
    before, after = (evidence.runs_by_kind(period) for period in compared.periods)
    change = {
        kind: Fraction(after.get(kind, 0), compared.periods[1].runs)
        - Fraction(before.get(kind, 0), compared.periods[0].runs)
        for kind in {*before, *after}
    }
    kind = max(change, key=lambda each: (abs(change[each]), each))
    said = words.moved(f"runs of {kind}", before.get(kind, 0), after.get(kind, 0))
    return Telling("dearer_runs", evidence=(said,))


def _priced(compared: Comparison, place: dict[str, str], raised: bool) -> Telling:
    before, after = (evidence.figures_of(period)["priced"] or 0 for period in compared.periods)
    return Telling(
        "newly_priced", evidence=(f"calls with a price: {words.percent(before)} → {words.percent(after)}",)
    )


def _figure(compared: Comparison, effect: str, name: str) -> tuple[str, ...]:
    before, after = (evidence.figures_of(period)[effect] or 0 for period in compared.periods)
    return (words.moved(name, before, after),)


_TELLERS: dict[str, Callable[[Comparison, dict[str, str], bool], Telling]] = {
    "runs": _runs,
    "kinds": _kinds,
    "calls": _turns,
    "priced": _priced,
    "input": _prompt,
    "cache": _cache,
    "output": _output,
    "models": _models,
    "prices": _prices,
    "tools": _tools,
}
