"""The recorder: a dozen verbs, and the only state that changes while agents run.

Handlers say what their framework reports (`open_llm`, `close_tool`, `fail` …) under the framework's own ids.
The recorder places every call in session → run → step, once for all frameworks:

- parents are found by id; a part whose parent is unknown belongs to the run this code is in, if any;
- a call outside any run gets a run of its own, so nothing is dropped;
- an end that overtakes its start is kept until the start arrives;
- the same id reported twice (two handlers attached) is recorded once;
- a run inside a run is a nested agent of it;
- a run's end closes what it left open, and frees its state.

Before a model call the budget is asked; only there `BudgetExceeded` is raised, before anything is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from tokentrace_core.call_verbs import CallVerbs
from tokentrace_core.joined_runs import LookUp, whereabouts
from tokentrace_core.ledger import Ledger
from tokentrace_core.open_spans import Loop
from tokentrace_core.run_verbs import RunVerbs
from tokentrace_core.runs import Locator, Recall
from tokentrace_core.spans import Score
from tokentrace_core.trace_headers import Place


class Recorder(RunVerbs, CallVerbs):
    """Turns what frameworks report into spans, and announces them on `signals`.

    `result_chars`: tool results are kept up to this many characters (the full size is always kept).
    `idle_s`, `open_runs`: a run that has been silent this long, or is the oldest of too many, is given up
    as `interrupted`, so that runs that never end cannot fill the memory. `timeline`: where times and ids come from.
    """

    # ── facts about what is open ─────────────────────────────────────────────────────────────────────

    def note(self, key: Hashable | None, attributes: Mapping[str, Any]) -> None:
        """Add attributes to an open span (a run, a step or a call); without a key, to the one the code runs in."""
        with self._lock:
            node = self._find(key)
            if node is not None:
                (node.span or node.run.root).attributes.update(self._sealer.facts(attributes))

    def describe_run(
        self, key: Hashable | None, *, user: str | None = None, tags: Sequence[str] = ()
    ) -> None:
        """Say whose run this is, or tag it, once that is known; without a key, the one the code runs in."""
        with self._lock:
            node = self._find(key)
            if node is not None:
                run = node.run.root
                run.user_id = self._sealer.person(user) if user else run.user_id
                run.tags += [tag for tag in self._sealer.names(tags) if tag not in run.tags]

    def make_score(self, key: Hashable, name: str, value: float, comment: str | None) -> Score | None:
        """An evaluation of the open span behind a key; None if nothing is open there."""
        with self._lock:
            node = self._runs.nodes.get(key)
            if node is None:
                return None
            return Score(
                id=self._runs.timeline.span_id(),
                run_id=node.run.root.id,
                span_id=(node.span or node.run.root).id,
                name=self._sealer.name(name) or "score",
                value=float(value),
                comment=self._sealer.name(comment),
                created_at=node.run.clock.now(),
            )

    def loop_of(self, key: Hashable) -> Loop | None:
        """The agent loop of an open part: its steps and cost so far."""
        with self._lock:
            node = self._runs.nodes.get(key)
            return node.own_loop() if node else None

    def knows(self, key: Hashable) -> bool:
        """Whether anything was opened under this key that is still remembered."""
        return key in self._runs.nodes

    def add_locator(self, locator: Locator) -> None:
        """Teach the recorder to ask a framework which of its ids the calling code runs under."""
        with self._lock:
            if locator not in self._runs.locators:
                self._runs.locators.append(locator)

    def forget_locator(self, locator: Locator) -> None:
        """Ask it no more."""
        with self._lock:
            if locator in self._runs.locators:
                self._runs.locators.remove(locator)

    def use_ledger(self, ledger: Ledger) -> None:
        """Where limits are kept that outlive a run."""
        self._runs.ledger = ledger

    def budget_pressure(self, key: Hashable | None) -> float:
        """The part used of the nearest limit of a run; without a key, of the one the code runs in. 0 without limits."""
        with self._lock:
            node = self._find(key)
            if node is None or node.run.account is None:
                return 0.0
            return node.run.account.pressure(node.run.root.steps)

    def reserve(self, nano_usd: int, key: Hashable | None, user: str | None) -> Callable[[int], None]:
        """Set an amount aside; gives back what settles it. Raises `BudgetExceeded` if it does not fit.

        It counts for the run of this key, else for the one the code runs in, else for a user on its own.
        """
        with self._lock:
            node = self._find(key)
            run = node.run.root if node else self._runs.nobodys(user)
            account = node.run.account if node else self._runs.account()
            if account is None:
                return lambda _: None
            reservation = account.reserve_amount(nano_usd)
        refusal = account.claim(run, reservation) if account.is_shared else None
        if refusal is not None:
            with self._lock:
                account.release(reservation)
                raise account.stop(refusal)

        def settle(spent_nano: int) -> None:
            with self._lock:
                account.settle_amount(reservation, spent_nano)

        return settle

    def whereabouts(self, key: Hashable | None) -> Place | None:
        """Where in its run an open part is; without a key, where the code runs. None outside of any."""
        with self._lock:
            node = self._find(key)
            return None if node is None else whereabouts(node)

    def use_look_up(self, look_up: LookUp) -> None:
        """Where to learn of a run that another process began."""
        self._runs.look_up = look_up

    def use_recall(self, recall: Recall) -> None:
        """Where to look for a waiting run of a session that this process does not know."""
        self._runs.recall = recall

    @property
    def open_parts(self) -> int:
        """How many ids are held; 0 when nothing runs."""
        return len(self._runs.nodes)

    def close_all(self) -> None:
        """Give up every open run as interrupted: the process is about to end."""
        with self._lock:
            events = [event for run in self._runs.open_ones() for event in self._ends.abandon(run)]
        self._tell(events)
