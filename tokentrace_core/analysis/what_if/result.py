"""The answer: what each change saves alone, what they save together, and which of them get in each other's way."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from tokentrace_core.analysis.audit.calls import Call
from tokentrace_core.analysis.audit.rates import CallRates
from tokentrace_core.analysis.audit.trace import Trace
from tokentrace_core.analysis.scope import Scope
from tokentrace_core.analysis.what_if.changes import Change, Model
from tokentrace_core.analysis.what_if.reading import reads_prompts, runs_of
from tokentrace_core.analysis.what_if.scenario import RecordedRun, Scenario
from tokentrace_core.errors import TokentraceError
from tokentrace_core.money import to_usd
from tokentrace_core.pricing import PriceBook
from tokentrace_core.store.pieces import Tell
from tokentrace_core.store.reader import Reader


@dataclass(frozen=True)
class Saving:
    """What a change, or several together, would have saved."""

    name: str
    saved_nano_usd: int
    """Below 0: it would have cost more."""
    calls: int
    """Model calls that would have cost something else, or not been made."""
    assumes: tuple[str, ...]


@dataclass(frozen=True)
class Overlap:
    """Two changes that save less (or more) together than each alone."""

    names: tuple[str, str]
    nano_usd: int
    """By how much less; below 0: more."""


@dataclass(frozen=True)
class WhatIf:
    """Recorded runs, repriced."""

    recorded_nano_usd: int
    """What the model calls cost."""
    calls: int
    savings: tuple[Saving, ...]
    """Each change alone, in the order in which they were asked for."""
    together: Saving
    overlaps: tuple[Overlap, ...]
    unpriced_calls: int
    """Without a price, or with one whose parts nobody knows: they stay as they are."""
    unreadable_calls: int
    """Their prompts are not in the file: nothing in them changes."""
    estimated_calls: int
    """Whose usage was not reported but estimated."""

    def document(self) -> dict[str, Any]:
        """As JSON: money as exact texts in dollars and as integers in nano-dollars."""
        return {
            **_money("recorded", self.recorded_nano_usd),
            "calls": self.calls,
            "savings": [_saving(each) for each in self.savings],
            "together": _saving(self.together),
            "overlaps": [
                {"names": list(each.names), **_money("overlap", each.nano_usd)} for each in self.overlaps
            ],
            "unpriced_calls": self.unpriced_calls,
            "unreadable_calls": self.unreadable_calls,
            "estimated_calls": self.estimated_calls,
        }


def what_if(
    source: Reader | Path | str,
    changes: Sequence[Change],
    scope: Scope | None = None,
    *,
    prices: PriceBook | None = None,
    tell: Tell = lambda _: None,
) -> WhatIf:
    """What the runs of a scope would have cost with these changes. Raises `TokentraceError` for a change of nothing."""
    if not changes:
        raise TokentraceError("there is nothing to try: name a change.")
    opened = nullcontext(source) if isinstance(source, Reader) else Reader(source)
    with opened as reader:
        return _Trial(
            Trace(reader, scope or Scope()), changes, CallRates(prices or PriceBook.default())
        ).result(tell)


class _Trial:
    """All scenarios of one question, told the runs once."""

    def __init__(self, trace: Trace, changes: Sequence[Change], rates: CallRates) -> None:
        self._trace, self._changes, self._rates = trace, list(dict.fromkeys(changes)), rates
        self._alone = [Scenario([change], rates) for change in self._changes]
        self._pairs = {pair: Scenario(pair, rates) for pair in combinations(self._changes, 2)}
        self._all = Scenario(self._changes, rates)
        self._recorded = self._calls = self._unpriced = self._unreadable = 0
        self._estimated = 0
        self._wanted = {change: False for change in self._changes if isinstance(change, Model)}

    def result(self, tell: Tell) -> WhatIf:
        for run in runs_of(self._trace, self._changes, tell):
            self._note(run)
            for scenario in (*self._alone, *self._pairs.values(), self._all):
                scenario.take(run)
        for model, met in self._wanted.items():
            if not met:
                raise TokentraceError(f"no step, agent or model is called {model.of!r} in these runs.")
        savings = [_saved(scenario, scenario.changes[0].name) for scenario in self._alone]
        return WhatIf(
            self._recorded,
            self._calls,
            tuple(savings),
            _saved(self._all, "together"),
            tuple(self._overlaps()),
            self._unpriced,
            self._unreadable,
            self._estimated,
        )

    def _note(self, run: RecordedRun) -> None:
        reads = reads_prompts(self._changes)
        for recorded in run.calls:
            call = recorded.call
            self._calls += 1
            self._recorded += call.cost or 0
            self._unpriced += self._has_no_rates(call)
            self._unreadable += reads and not recorded.pieces and call.prompt > 0
            for model, met in self._wanted.items():
                if model.is_for(call) and not met:
                    self._wanted[model] = True
                    self._check_price(model, call)

    def _has_no_rates(self, call: Call) -> bool:
        """Whether there is something to pay for and nobody knows by which parts."""
        return (call.cost is None or call.cost > 0) and self._rates.of(call) is None

    def _check_price(self, model: Model, call: Call) -> None:
        if not (self._rates.another(model.to, call) or self._rates.another(model.to, call, of_any=True)):
            raise TokentraceError(
                f"nobody knows what {model.to} costs. `tokentrace prices {model.to}` says which names are known; "
                "or give its price in a file with --prices."
            )

    def _overlaps(self) -> list[Overlap]:
        """Where two together are not the sum of both."""
        alone = {scenario.changes[0]: scenario.saved_nano_usd for scenario in self._alone}
        found = [
            Overlap((one.name, other.name), alone[one] + alone[other] - scenario.saved_nano_usd)
            for (one, other), scenario in self._pairs.items()
        ]
        least = max(1, self._recorded // 1_000)
        return sorted(
            (each for each in found if abs(each.nano_usd) >= least), key=lambda each: -abs(each.nano_usd)
        )


def _saved(scenario: Scenario, name: str) -> Saving:
    assumed = tuple(dict.fromkeys(change.assumes for change in scenario.changes))
    return Saving(name, scenario.saved_nano_usd, len(scenario.calls), assumed)


def _saving(saving: Saving) -> dict[str, Any]:
    return {
        "name": saving.name,
        **_money("saved", saving.saved_nano_usd),
        "calls": saving.calls,
        "estimated": True,
        "assumes": list(saving.assumes),
    }


def _money(name: str, nano_usd: int) -> dict[str, Any]:
    text = f"{to_usd(nano_usd):f}"
    exact = text.rstrip("0").rstrip(".") if "." in text else text
    return {f"{name}_usd": exact, f"{name}_nano_usd": nano_usd}
