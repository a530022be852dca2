"""`tokentrace prices`: what a model costs, which models the list knows, or which in the file have no price."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.text import Text

from tokentrace_core.cli import figures, main
from tokentrace_core.cli.options import Settings, common_options, pass_settings
from tokentrace_core.cli.output import console, write_json
from tokentrace_core.cli.price_probe import COUNTERS, Listed, look_up, per_million
from tokentrace_core.cli.table import Column, Group, print_groups, print_table
from tokentrace_core.cli.text import clean
from tokentrace_core.errors import TokentraceError
from tokentrace_core.price_list import known_models
from tokentrace_core.pricing import FILE_VARIABLE, PriceBook
from tokentrace_core.store.reader import Reader, Row
from tokentrace_core.usage import Usage

F = TypeVar("F", bound=Callable[..., Any])


def prices_option(command: F) -> F:
    """`--prices`, whose file `book_of` reads."""
    return click.option(
        "--prices",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Your own prices, TOML or JSON. Default: TOKENTRACE_PRICES.",
    )(command)


def book_of(path: Path | None) -> PriceBook:
    """The book of a file, of the environment, or the list alone. Raises `TokentraceError`."""
    path = path or (Path(named) if (named := os.environ.get(FILE_VARIABLE)) else None)
    return PriceBook() if path is None else PriceBook.from_file(path)


@main.command()
@click.argument("model", required=False)
@click.option("--provider", metavar="P", help="Whose price, where several sell the model.")
@click.option(
    "--list", "listing", is_flag=True, help="All models of the price list whose name has MODEL in it."
)
@prices_option
@common_options
@pass_settings
def prices(
    settings: Settings, model: str | None, provider: str | None, listing: bool, prices: Path | None
) -> None:
    """What a model costs per million tokens, or which models have no price.

    With MODEL: its price for each kind of token, as a call would be charged today. Without: the models in the file
    whose calls have no price, and how to give them one.

    Prices that your program gives its Tracer in code are not known here; those in a file are. Such a file has
    [models."NAME"] (input, output, cache_read, since, ... in dollars per million tokens), [aliases] (other name =
    model), [discounts] (provider or model = 0.15), free = [names], [tools] (name = dollars per call).
    """
    book = book_of(prices)
    if listing:
        _list_known(settings, book, model or "", provider)
        return
    if model is None:
        _list_unpriced(settings)
        return
    listed = look_up(book, model, provider)
    if listed is None:
        by = f" of {provider!r}" if provider else ""
        raise TokentraceError(f"{model!r}{by} has no price. {_how_to_price(model)}")
    if settings.json:
        write_json(_document(listed))
    else:
        _print(console(), listed)


def _list_known(settings: Settings, book: PriceBook, part: str, provider: str | None) -> None:
    """Models of the list, with what a call of each is charged before any longer prompt."""
    found = []
    for seller, model in known_models(part, provider):
        if book.price(model, Usage(), provider=seller).nano_usd is not None:
            found.append((model, seller, per_million(book, model, seller, 0)))
    if settings.json:
        write_json(
            [
                {"model": model, "provider": seller, "per_million_usd": _texts(prices)}
                for model, seller, prices in found
            ]
        )
    elif not found:
        raise TokentraceError(f"no model of the price list has {part!r} in its name.")
    else:
        print_groups(
            console(),
            Group(("model", "provider"), tuple(counter.replace("_", " ") for counter in COUNTERS)),
            [
                Group((model, seller), [_dollars(prices[counter]).plain for counter in COUNTERS])
                for model, seller, prices in found
            ],
        )


def _document(listed: Listed) -> dict[str, Any]:
    usual, *tiers = [{"per_million_usd": _texts(tier.per_million)} for tier in listed.tiers]
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
        "service_tiers": {
            service: {"per_million_usd": _texts(prices)} for service, prices in listed.services.items()
        },
    }


def _texts(prices: dict[str, Decimal]) -> dict[str, str]:
    return {counter: f"{price:f}" for counter, price in prices.items()}


def _print(screen: Console, listed: Listed) -> None:
    screen.print(Text(clean(listed.model), style="bold"))
    screen.print(Text(clean(listed.version or ""), style="dim"))
    prices_of = [f"prompts over {tier.above:,}" if tier.above else "price" for tier in listed.tiers]
    print_table(
        screen,
        [
            Column("$ per million tokens"),
            *(Column(header, numeric=True) for header in [*prices_of, *listed.services]),
        ],
        [
            [
                Text(counter.replace("_", " ")),
                *(_dollars(tier.per_million[counter]) for tier in listed.tiers),
                *(_dollars(prices[counter]) for prices in listed.services.values()),
            ]
            for counter in COUNTERS
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
    screen.print(Text("What is recorded is then priced with: tokentrace reprice --prices FILE"))


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
    name = json.dumps(clean(model))
    return (
        "Give its price in dollars per million tokens: "
        f"Tracer(prices=PriceBook({{{name}: ModelPrice(input=..., output=...)}})), "
        f"or [models.{name}] in a file that TOKENTRACE_PRICES names. "
        f"If it costs nothing: PriceBook(free=[{name}]); "
        f"if it is another name of a model: PriceBook(aliases={{{name}: ...}})."
    )
