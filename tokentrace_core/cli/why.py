"""`tokentrace why`: why a period, a version or a tag cost more than another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from tokentrace_core.analysis.scope import Scope
from tokentrace_core.analysis.why import Explanation, why
from tokentrace_core.cli import figures, main
from tokentrace_core.cli.options import Settings, common_options, microseconds_of, pass_settings
from tokentrace_core.cli.output import console, write_json
from tokentrace_core.cli.prices import book_of, prices_option
from tokentrace_core.cli.scope_options import scope_options
from tokentrace_core.cli.text import clean
from tokentrace_core.cli.why_page import print_explanation
from tokentrace_core.store.reader import Reader

Named = tuple[str, Scope]


@main.command(name="why")
@click.option(
    "--before",
    metavar="DURATION",
    help="The last such time against the one before it: 24h, 7d, 4w. Default: 7d.",
)
@click.option(
    "--from", "earlier", metavar="A..B", help="The earlier period: two times; B is not in it any more."
)
@click.option("--to", "later", metavar="C..D", help="The later period, compared with --from.")
@click.option(
    "--versions", nargs=2, metavar="V1 V2", help="Runs of one agent version against those of another."
)
@click.option("--tags", nargs=2, metavar="T1 T2", help="Runs with one tag against those with another.")
@scope_options
@prices_option
@common_options
@pass_settings
def why_command(
    settings: Settings,
    scope: Scope,
    before: str | None,
    earlier: str | None,
    later: str | None,
    versions: tuple[str, str] | None,
    tags: tuple[str, str] | None,
    prices: Path | None,
) -> None:
    """Why it costs more, or less: week over week, or between two periods, versions or tags.

    The difference is split, to the nano-dollar, into the number and kinds of runs, calls per run, input tokens per call, the
    share of the cache, output tokens, the mix of models, their prices, and what tools charge; each with its place, its likely
    cause, what to do about it, and runs that show it. A run belongs to the time in which it began.
    """
    one, other = _periods(scope, before, earlier, later, versions, tags)
    with Reader(settings.path) as reader:
        found = why(reader, one[1], other[1], names=(one[0], other[0]), book=book_of(prices))
        hint = _hint(reader, found)
    if settings.json:
        write_json(found.document())
        return
    print_explanation(console(), found)
    if hint:
        click.echo(hint)


def _periods(
    scope: Scope,
    before: str | None,
    earlier: str | None,
    later: str | None,
    versions: tuple[str, str] | None,
    tags: tuple[str, str] | None,
) -> tuple[Named, Named]:
    """What is compared, by which of the options says it."""
    ways = [before, earlier or later, versions, tags]
    if sum(way is not None for way in ways) > 1:
        raise click.UsageError(
            "say what to compare in one way: --before, --from with --to, --versions or --tags."
        )
    for dimension, values in (("version", versions), ("tag", tags)):
        if values is not None:
            return _of(scope, dimension, values[0]), _of(scope, dimension, values[1])
    if (earlier is None) != (later is None):
        raise click.UsageError("--from and --to name two periods: give both.")
    if scope.since is not None:
        raise click.UsageError(
            "--since is for --versions and --tags; a period ends at --until, or is named by --from and --to."
        )
    if earlier is not None and later is not None:
        return _named(scope, earlier), _named(scope, later)
    return _last(scope, before or "7d")


def _of(scope: Scope, dimension: str, value: str) -> Named:
    return f"{dimension} {value}", replace(scope, where={**scope.where, dimension: (value,)})


def _named(scope: Scope, text: str) -> Named:
    """`A..B`; either may be left out."""
    since, dots, until = text.partition("..")
    if not dots:
        raise click.BadParameter(f"{text!r} is no period. Write two times, such as 2026-11-01..2026-11-08.")
    ends = [microseconds_of(end) if end else None for end in (since, until)]
    if None not in ends and ends[0] >= ends[1]:  # type: ignore[operator]
        raise click.BadParameter(f"{text!r} ends before it begins.")
    return text, replace(scope, since=ends[0], until=ends[1])


def _last(scope: Scope, duration: str) -> tuple[Named, Named]:
    """The time up to now, or `--until`, and the same before it."""
    now = microseconds_of("0s")
    length = now - microseconds_of(duration)
    if length <= 0:
        raise click.BadParameter(f"{duration!r} is no duration. Write 24h, 7d or 4w.")
    end = now if scope.until is None else scope.until
    last = "the last" if scope.until is None else "the"
    until = "" if scope.until is None else f" up to {figures.moment(scope.until, '%Y-%m-%d %H:%M')}"
    after = (f"{last} {duration}{until}", replace(scope, since=end - length, until=end))
    return (f"the {duration} before", replace(scope, since=end - 2 * length, until=end - length)), after


def _hint(reader: Reader, found: Explanation) -> str | None:
    """Where the runs are, if there are none in the periods."""
    if found.before.runs and found.after.runs:
        return None
    ends = next(reader.query("select min(started_at) as first, max(started_at) as last from runs"))
    if ends["last"] is None:
        return f"There is no run in {clean(reader.path)} at all."
    first, last = (figures.moment(ends[name], "%Y-%m-%d %H:%M") for name in ("first", "last"))
    return (
        f"The file's runs are from {first} to {last} (UTC). Name two periods in it with --from and --to, "
        "or the end of the later one with --until."
    )
