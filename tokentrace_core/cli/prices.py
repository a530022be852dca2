"""`tokentrace prices`: what a model costs, or which models in the file have no price.

The figures are asked of the price book with calls of a known size, so this page cannot disagree with what a
call is charged; that also finds the prompt size at which a dearer tier begins.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import click
from rich.console import Console
from rich.text import Text

from tokentrace_core.cli import figures, main
from tokentrace_core.cli.options import Settings, common_options, pass_settings
from tokentrace_core.cli.output import console, write_json
from tokentrace_core.cli.table import Column, Group, print_groups, print_table
from tokentrace_core.cli.text import clean
from tokentrace_core.errors import TokentraceError
from tokentrace_core.pricing import PriceBook, to_usd
from tokentrace_core.store.reader import Reader, Row
from tokentrace_core.usage import Usage

_COUNTERS = {
    "input": "input_uncached_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write_5m": "cache_write_5m_tokens",
    "cache_write_1h": "cache_write_1h_tokens",
    "output": "output_tokens",
}
#: A probe of this many tokens is far below every tier, and large enough for an exact price per million.
_PROBE = 1_000
_LONGEST_PROMPT = 10_000_000


class _Tier(NamedTuple):
    above: int
    """Prompt tokens above which these prices hold for the whole call; 0 for the usual ones."""
    per_million: dict[str, Decimal]


class _Listed(NamedTuple):
    model: str
    provider: str | None
    version: str | None
    context_window: int | None
    tiers: list[_Tier]


@main.command()
@click.argument("model", required=False)
@click.option("--provider", metavar="P", help="Whose price, where several sell the model.")
@common_options
@pass_settings
def prices(settings: Settings, model: str | None, provider: str | None) -> None:
    """What a model costs per million tokens, or which models have no price.

    With MODEL: its price for each kind of token, as a call would be charged today. Without: the models in
    the file whose calls have no price. Prices that your program gives its Tracer are not known here.
    """
    if model is None:
        _list_unpriced(settings)
        return
    listed = _look_up(PriceBook(), model, provider)
    if settings.json:
        write_json(_document(listed))
    else:
        _print(console(), listed)


def _look_up(book: PriceBook, model: str, provider: str | None) -> _Listed:
    usual = book.price(model, Usage(input_uncached_tokens=_PROBE), provider=provider)
    if usual.nano_usd is None:
        by = f" of {provider!r}" if provider else ""
        raise TokentraceError(f"{model!r}{by} has no price in the bundled list. {_how_to_price(model)}")
    tiers = [
        _Tier(above, _per_million(book, model, provider, above)) for above in _steps(book, model, provider)
    ]
    window = book.context_window(model, provider=provider)
    return _Listed(model, provider, usual.version, window, tiers)


def _steps(book: PriceBook, model: str, provider: str | None) -> Iterator[int]:
    """The prompt sizes above which another price holds, from 0 on."""
    above = 0
    while True:
        yield above
        price = _probe(book, model, provider, "input", above)
        if not _differs(book, model, provider, price, _LONGEST_PROMPT):
            return
        same, other = above + _PROBE, _LONGEST_PROMPT
        while other - same > 1:
            middle = (same + other) // 2
            if _differs(book, model, provider, price, middle):
                other = middle
            else:
                same = middle
        above = same


def _differs(book: PriceBook, model: str, provider: str | None, price: Decimal, prompt: int) -> bool:
    charged = _charged(book, model, provider, Usage(input_uncached_tokens=prompt))
    return abs(charged - price * prompt / 1_000_000) > Decimal("1e-8")


def _per_million(book: PriceBook, model: str, provider: str | None, above: int) -> dict[str, Decimal]:
    return {counter: _probe(book, model, provider, counter, above) for counter in _COUNTERS}


def _probe(book: PriceBook, model: str, provider: str | None, counter: str, above: int) -> Decimal:
    """The price of a million tokens of one counter, in a call whose prompt is longer than `above`."""
    # Rounded up to whole probes: so the part that is subtracted again is exact.
    prompt = -(-above // _PROBE) * _PROBE + (_PROBE if above else 0)
    with_it: dict[str, Any] = {"input_uncached_tokens": prompt}
    with_it[_COUNTERS[counter]] = with_it.get(_COUNTERS[counter], 0) + _PROBE
    charged = _charged(book, model, provider, Usage(**with_it))
    rest = _charged(book, model, provider, Usage(input_uncached_tokens=prompt))
    return ((charged - rest) * 1_000_000 / _PROBE).normalize()


def _charged(book: PriceBook, model: str, provider: str | None, usage: Usage) -> Decimal:
    return to_usd(book.price(model, usage, provider=provider).nano_usd or 0)


def _document(listed: _Listed) -> dict[str, Any]:
    usual, *tiers = [
        {"per_million_usd": {counter: f"{price:f}" for counter, price in tier.per_million.items()}}
        for tier in listed.tiers
    ]
    return {
        "model": listed.model,
        "provider": listed.provider,
        "price_version": listed.version,
        "context_window": listed.context_window,
        **usual,
        "tiers": [
            {"above_prompt_tokens": tier.above, **document}
            for tier, document in zip(listed.tiers[1:], tiers, strict=True)
        ],
    }


def _print(screen: Console, listed: _Listed) -> None:
    screen.print(Text(clean(listed.model), style="bold"))
    screen.print(Text(clean(listed.version or ""), style="dim"))
    prices_of = [f"prompts over {tier.above:,}" if tier.above else "price" for tier in listed.tiers]
    print_table(
        screen,
        [Column("$ per million tokens"), *(Column(header, numeric=True) for header in prices_of)],
        [
            [Text(counter.replace("_", " ")), *(_dollars(tier.per_million[counter]) for tier in listed.tiers)]
            for counter in _COUNTERS
        ],
    )
    if listed.context_window:
        screen.print(f"context window: {listed.context_window:,} tokens")
    if len(listed.tiers) > 1:
        screen.print("A prompt over the limit pays the dearer price for the whole call.")


def _dollars(amount: Decimal) -> Text:
    text = f"{amount:f}"
    return Text(f"${text if len(text.partition('.')[2]) >= 2 else f'{amount:.2f}'}")


def _list_unpriced(settings: Settings) -> None:
    with Reader(settings.path) as reader:
        rows = reader.unpriced_models()
    if settings.json:
        write_json({"unpriced": rows})
        return
    if not rows:
        click.echo(f"Every call in {clean(settings.path)} has a price.")
        return
    screen = console()
    _print_unpriced(screen, rows)
    screen.print(Text(_how_to_price(rows[0]["model"])))


def _print_unpriced(screen: Console, rows: list[Row]) -> None:
    counts = ("calls", "input_tokens", "output_tokens")
    print_groups(
        screen,
        Group(("model without a price", "provider"), ("calls", "tokens in", "out")),
        [
            Group(
                (clean(row["model"]), clean(row["provider"] or figures.UNKNOWN)),
                [figures.tokens(row[name]) for name in counts],
            )
            for row in rows
        ],
    )


def _how_to_price(model: str) -> str:
    return (
        "Give its price in dollars per million tokens: "
        f"Tracer(prices=PriceBook({{{json.dumps(clean(model))}: ModelPrice(input=..., output=...)}}))"
    )
