"""`tokentrace what-if`: what recorded runs would have cost with other models, caching, caps."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from tokentrace_core.analysis.scope import Scope
from tokentrace_core.analysis.what_if import (
    USUAL,
    CachePrefix,
    Change,
    Model,
    NoPreamble,
    RetryCap,
    Saving,
    TruncateResults,
    WhatIf,
    what_if,
)
from tokentrace_core.cli import figures, main
from tokentrace_core.cli.options import Settings, common_options, pass_settings
from tokentrace_core.cli.output import console, write_json
from tokentrace_core.cli.prices import book_of, prices_option
from tokentrace_core.cli.progress import progress
from tokentrace_core.cli.scope_options import scope_options_but
from tokentrace_core.cli.table import Column, print_table
from tokentrace_core.cli.text import clean
from tokentrace_core.pricing import show_usd

_BAR = 20


def _models(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> list[Model]:
    models = [Model(*(part.strip() for part in text.partition("=")[::2])) for text in given]
    if wrong := [text for text, model in zip(given, models, strict=True) if not (model.of and model.to)]:
        raise click.BadParameter(f"{wrong[0]!r} is not STEP=MODEL or OLD=NEW.")
    return models


@main.command(name="what-if")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="WHAT=MODEL",
    callback=_models,
    help="Another model for a step, an agent, or a model: plan=gpt-4o-mini, gpt-4o=gpt-4o-mini; may be repeated.",
)
@click.option(
    "--cache-prefix",
    is_flag=True,
    help="What prompts begin with in common is read from the provider's cache.",
)
@click.option(
    "--retry-cap", type=click.IntRange(min=0), metavar="N", help="Nothing is retried more than so often."
)
@click.option(
    "--truncate-results",
    type=click.IntRange(min=1),
    metavar="N",
    help="Tool results are cut at so many tokens.",
)
@click.option("--no-preamble", is_flag=True, help="No conversational filler before the answer.")
@scope_options_but("model")
@prices_option
@common_options
@pass_settings
def what_if_command(
    settings: Settings,
    scope: Scope,
    models: list[Model],
    cache_prefix: bool,
    retry_cap: int | None,
    truncate_results: int | None,
    no_preamble: bool,
    prices: Path | None,
) -> None:
    """What recorded runs would have cost otherwise: each change alone, and all together. Nothing is run.

    Without a change named, four usual ones are tried: --retry-cap 2, --truncate-results 2000, --cache-prefix, --no-preamble.
    Savings carry ≈: what was paid is recorded, but how many tokens a single message has is an estimate.
    """
    changes: list[Change] = [
        *([RetryCap(retry_cap)] if retry_cap is not None else []),
        *([TruncateResults(truncate_results)] if truncate_results is not None else []),
        *([CachePrefix()] if cache_prefix else []),
        *([NoPreamble()] if no_preamble else []),
        *models,
    ]
    with progress(settings) as tell:
        found = what_if(settings.path, changes or USUAL, scope, prices=book_of(prices), tell=tell)
    if settings.json:
        write_json(found.document())
    elif not found.calls:
        click.echo(f"No model call in {clean(settings.path)} is asked about.")
    else:
        _print(console(), found)


def _print(screen: Console, found: WhatIf) -> None:
    sentence = f"{figures.count(found.calls, 'model call')} cost {show_usd(found.recorded_nano_usd)}. "
    left = found.recorded_nano_usd - found.together.saved_nano_usd
    screen.print(Text(sentence + f"With all of this it would have been ≈ {show_usd(left)}.", style="bold"))
    screen.print()
    widest = max((abs(saving.saved_nano_usd) for saving in (*found.savings, found.together)), default=0)
    print_table(
        screen,
        [Column("change"), *(Column(name, numeric=True) for name in ("calls", "saves", "share")), Column("")],
        [_row(saving, found, widest) for saving in found.savings],
        _row(found.together, found, widest),
    )
    for note in _notes(found):
        screen.print(Text(clean(note), style="dim"))


def _row(saving: Saving, found: WhatIf, widest: int) -> list[Text]:
    length = round(_BAR * abs(saving.saved_nano_usd) / widest) if widest else 0
    return [
        Text(clean(saving.name)),
        Text(f"{saving.calls:,}"),
        Text(f"≈ {show_usd(saving.saved_nano_usd)}"),
        Text(figures.share(saving.saved_nano_usd, found.recorded_nano_usd)),
        Text("█" * length, style="green" if saving.saved_nano_usd >= 0 else "red"),
    ]


def _notes(found: WhatIf) -> list[str]:
    notes = []
    for overlap in found.overlaps:
        more = "less" if overlap.nano_usd > 0 else "more"
        notes.append(
            f"{overlap.names[0]} and {overlap.names[1]} save {show_usd(abs(overlap.nano_usd))} {more} together than apart."
        )
    notes += [f"≈ {assumed}." for assumed in found.together.assumes]
    if found.unpriced_calls:
        notes.append(
            f"{figures.count(found.unpriced_calls, 'call')} without a price, or with one that is not known here, stay as "
            "they are: `tokentrace prices`, --prices FILE."
        )
    if found.unreadable_calls:
        notes.append(
            f"The prompts of {figures.count(found.unreadable_calls, 'call')} are not in the file: they stay as they are."
        )
    if found.estimated_calls:
        notes.append(
            f"The usage of {figures.count(found.estimated_calls, 'call')} was estimated when it was recorded."
        )
    return notes
