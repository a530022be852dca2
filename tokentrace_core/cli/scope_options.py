"""The options that say which runs and calls a question is about: one decorator, one `Scope`.

@scope_options
def cost(scope: Scope, …): …
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import click

from tokentrace_core.analysis.scope import Scope
from tokentrace_core.cli.options import since_option, until_option

#: Option, which is also the dimension -> whose values it takes.
_NAMED = {
    "user": "users",
    "project": "projects",
    "agent": "agents",
    "version": "agent versions",
    "task-type": "task types",
    "environment": "environments",
    "model": "models",
    "tag": "tags",
}


def scope_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--since`, `--until`, and what to narrow to. They reach the command as its `scope`."""
    return scope_options_but()(command)


def scope_options_but(*taken: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The same, for a command that means something else by some of the names; there is always `--where`."""
    names = [name for name in _NAMED if name not in taken]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def scoped(*args: Any, **kwargs: Any) -> Any:
            where: dict[str, list[str]] = defaultdict(list)
            for name in names:
                where[name] += kwargs.pop(_parameter(name))
            for key, value in kwargs.pop("of_attr"):
                where[f"attr.{key}"].append(value)
            for name, value in kwargs.pop("of_where"):
                where[name].append(value)
            narrowed = {name: _as_recorded(name, values) for name, values in where.items() if values}
            try:
                scope = Scope(kwargs.pop("since"), kwargs.pop("until"), narrowed)
            except ValueError as error:
                raise click.UsageError(str(error)) from error
            return command(*args, scope=scope, **kwargs)

        return functools.reduce(lambda made, option: option(made), reversed(_options(names)), scoped)

    return decorate


def _as_recorded(dimension: str, values: list[str]) -> tuple[str, ...]:
    """Ids of people that are private, such as addresses, stand in the file as keyed hashes."""
    if dimension not in ("user", "session"):
        return tuple(values)
    # Imported here: few questions name a person.
    from tokentrace_core.redact import Redactor

    redactor = Redactor()
    recorded = redactor.person if dimension == "user" else redactor.session
    return tuple(dict.fromkeys(form for value in values for form in (value, recorded(value))))


def _options(names: list[str]) -> list[Callable[[Any], Any]]:
    """In the order of `--help`."""
    named = [
        click.option(
            f"--{name}", _parameter(name), multiple=True, help=f"Only these {_NAMED[name]}; may be repeated."
        )
        for name in names
    ]
    attribute = click.option(
        "--attr",
        "of_attr",
        metavar="KEY=VALUE",
        multiple=True,
        callback=_pairs,
        help="Only what has this attribute.",
    )
    anything = click.option(
        "--where",
        "of_where",
        metavar="DIMENSION=VALUE",
        multiple=True,
        callback=_pairs,
        help="Only what has this value in any other dimension.",
    )
    return [since_option, until_option, *named, attribute, anything]


def _parameter(name: str) -> str:
    return f"of_{name.replace('-', '_')}"


def _pairs(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> list[tuple[str, str]]:
    pairs = [text.partition("=") for text in given]
    if wrong := [text for text, (key, sign, _) in zip(given, pairs, strict=True) if not (key and sign)]:
        raise click.BadParameter(f"{wrong[0]!r} is not KEY=VALUE.")
    return [(key, value) for key, _, value in pairs]
