"""From effects to verdicts: the four symptoms of a cost regression (requirement S120), and what else changes a bill.

Each effect above a twentieth of all that changed becomes a cause, with the place where most of it is. What one heavy user
spent beyond what all the others did is that user's, and is taken out of the other causes, so that no dollar is in two.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from tokentrace_core.analysis.why.cells import Cell
from tokentrace_core.analysis.why.effects import OF_CELL

#: What is less than this part of all that changed in either direction is not said, nor what is less than this part of the cost.
_OF_CHANGES, _OF_COST = 20, 100


class Verdict(NamedTuple):
    """What is said of an effect that raised the cost."""

    symptom: str
    cause: str
    fix: str
    lowered: str
    """The symptom when it lowered the cost."""


VERDICTS: dict[str, Verdict] = {
    "cache_misses": Verdict(
        "Input tokens that were read from the cache are billed in full",
        "cache misses: the prefix of the prompt was reordered or edited, or the cache expired between calls",
        "Restore a stable cache prefix: what changes (a time, an id, the question) goes behind what stays. "
        "`tokentrace audit` names the message.",
        "More of the prompts was read from the cache",
    ),
    "larger_prompts": Verdict(
        "Input tokens per generation jumped",
        "longer prompts: more retrieved context, larger tool results, or longer instructions",
        "Cap what is put into the prompt: retrieved chunks, tool results, memory.",
        "Prompts got shorter",
    ),
    "more_retrieved": Verdict(
        "Input tokens per generation jumped",
        "retrieval returns more chunks, or larger ones",
        "Cap retrieved context: fewer chunks, reranked, each cut to what answers the question.",
        "Retrieval returns less",
    ),
    "tool_errors": Verdict(
        "More turns per trace than before",
        "a tool started erroring, and the agent retries in a loop",
        "Fix the tool; give the loop a max-iteration guard and error-aware backoff.",
        "Fewer turns per trace",
    ),
    "more_turns": Verdict(
        "More turns per trace than before",
        "the agent takes more steps for the same task",
        "Read a run that shows it (`tokentrace show RUN`); give the loop a max-iteration guard.",
        "Fewer turns per trace",
    ),
    "verbose_output": Verdict(
        "Output tokens ballooned",
        "a prompt change encouraged verbosity, or max_tokens was raised",
        "Constrain the prompt; lower the cap.",
        "Answers got shorter",
    ),
    "one_user": Verdict(
        "One user's traces dominate the change",
        "abuse, or a pathological input that hits a slow path",
        "Set a per-user budget or rate limit (`Budget(user_day_usd=…)`); investigate the input.",
        "One user's traces dominate the change",
    ),
    "dearer_models": Verdict(
        "More of the tokens go to dearer models",
        "another model is asked for the same step, or a fallback became the rule",
        "Route steps that need no strong model to a cheap one: `tokentrace what-if --model STEP=MODEL` says what that saves.",
        "More of the tokens go to cheaper models",
    ),
    "price_increase": Verdict(
        "The same tokens cost more",
        "a model's price changed, or the terms did: service tier, long-prompt price, discount",
        "Compare with `tokentrace prices MODEL` and with what you negotiated.",
        "The same tokens cost less",
    ),
    "more_runs": Verdict(
        "More runs",
        "traffic grew; a run costs what it did",
        "Nothing is broken. Set a budget if this is more than planned.",
        "Fewer runs",
    ),
    "dearer_runs": Verdict(
        "More of the runs are of a dearer kind",
        "what is asked of the agents changed, not how they answer",
        "See which kinds grew, under `run` below.",
        "More of the runs are of a cheaper kind",
    ),
    "tool_costs": Verdict(
        "Tools charge more",
        "a tool that costs money is called more often, or its price rose",
        "Cache its results, or cap its calls per run.",
        "Tools charge less",
    ),
    "newly_priced": Verdict(
        "Calls have a price that had none",
        "a model that was not priced before is priced now; it may have cost the same",
        "Price what is recorded: `tokentrace prices`, then `tokentrace reprice --apply`.",
        "Calls have no price that had one",
    ),
}


def parts_of(cells: Iterable[Cell], own: int) -> dict[str, int]:
    """Each effect's part of the difference when `own` of it is the heavy user's."""
    every = list(cells)
    of_heavy = {name: sum(cell.effects[name] for cell in every if cell.place.heavy) for name in OF_CELL}
    of_rest = {name: sum(cell.effects[name] for cell in every if not cell.place.heavy) for name in OF_CELL}
    theirs = sum(of_heavy.values())
    # Of what the heavy user's runs made, each effect keeps the part that all users' runs had.
    left = {name: part * (theirs - own) // theirs if theirs else 0 for name, part in of_heavy.items()}
    return {name: of_rest[name] + left[name] for name in OF_CELL}


def worth_saying(parts: Iterable[int], cost: int) -> int:
    """From how many nano-dollars on a part is said. `cost`: of the dearer period."""
    return max(1, sum(map(abs, parts)) // _OF_CHANGES, cost // _OF_COST)


def where(cells: Iterable[Cell], effect: str | None, difference: int) -> dict[str, str]:
    """The place where most of an effect is (None: of the whole difference): as closely as half of it is in one."""
    direction = 1 if difference >= 0 else -1
    weights = [
        (cell, direction * (cell.difference if effect is None else cell.effects[effect])) for cell in cells
    ]
    place: dict[str, str] = {}
    for name in ("kind", "agent", "step"):
        sums: dict[str, int] = defaultdict(int)
        for cell, weight in weights:
            value = getattr(cell.place, name)
            if value is not None:
                sums[value] += weight
        found = max(sums, key=lambda value: (sums[value], value), default=None)
        if found is None or 2 * sums[found] < sum(weight for _, weight in weights):
            continue
        place["run" if name == "kind" else name] = found
        weights = [(cell, weight) for cell, weight in weights if getattr(cell.place, name) == found]
    return place
