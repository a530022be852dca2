"""What `cost` and its questions print alike: sums, and what they leave out."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from tokentrace_core.analysis.scope import Scope
from tokentrace_core.analysis.spent import Spent
from tokentrace_core.cli import figures
from tokentrace_core.cli.document import money
from tokentrace_core.pricing import show_usd

COUNTS = ("runs", "calls", "input_tokens", "cached_tokens", "output_tokens")


def scope_document(scope: Scope) -> dict[str, Any]:
    """What was asked about, for JSON."""
    where = {name: list(values) for name, values in scope.where.items()}
    return {"since": figures.iso(scope.since), "until": figures.iso(scope.until), "where": where}


def document(row: Spent, total: Spent) -> dict[str, Any]:
    """Sums, for JSON."""
    whole = total.cost_nano_usd
    return {
        **{name: getattr(row, name) for name in COUNTS},
        **money(row.cost_nano_usd),
        "share": round(row.cost_nano_usd / whole, 6) if whole else None,
        "unpriced_calls": row.unpriced_calls,
        "unpriced_tokens": row.unpriced_tokens,
        "estimated_calls": row.estimated_calls,
        "estimated_usd": figures.exact_usd(row.estimated_nano_usd),
    }


def sum_of(row: Spent) -> str:
    """Dollars, and how sure they are."""
    return figures.spent(row.cost_nano_usd, unpriced=row.unpriced_calls, estimated=row.estimated_calls)


def notes(total: Spent) -> list[Text]:
    """What the dollars leave out, and how much of them is a guess."""
    said = []
    if total.unpriced_calls:
        said.append(
            Text(
                f"+? {figures.count(total.unpriced_calls, 'call')} without a price "
                f"({figures.count(total.unpriced_tokens, 'token')}), not in the cost: "
                "`tokentrace prices` lists the models.",
                style="yellow",
            )
        )
    if total.estimated_calls:
        part = figures.share(total.estimated_nano_usd, total.cost_nano_usd)
        said.append(
            Text(
                f"≈ {show_usd(total.estimated_nano_usd)} ({part}) of the cost is estimated: "
                f"{figures.count(total.estimated_calls, 'call')} without reported usage."
            )
        )
    return said
