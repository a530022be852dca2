"""The firewall between tokentrace and the agent: our own faults are logged and never passed on."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from tokentrace_core.errors import BudgetExceeded

log = logging.getLogger("tokentrace")

P = ParamSpec("P")
R = TypeVar("R")

_MOST_CAUSES = 4
_logged: set[tuple[str, type[BaseException]]] = set()


def shielded(method: Callable[P, R]) -> Callable[P, R | None]:
    """Let `BudgetExceeded` through and nothing else: for every method that a framework calls."""

    @functools.wraps(method)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return method(*args, **kwargs)
        except BudgetExceeded:
            raise
        except Exception as error:
            log_once(f"{method.__qualname__} failed", error)
            return None

    return inside


def log_once(what: str, error: BaseException) -> None:
    """Log a fault of ours the first time it happens, with its traceback: a loop must not fill the log."""
    kind = (what, type(error))
    if kind not in _logged:
        _logged.add(kind)
        log.error(
            "tokentrace: %s; this part is not recorded, the agent goes on (said once)", what, exc_info=error
        )


def warn_once(what: str) -> None:
    """Warn of something the user should know, the first time it happens."""
    if (what, Warning) not in _logged:
        _logged.add((what, Warning))
        log.warning("tokentrace: %s (said once)", what)


def describe_error(error: BaseException) -> str:
    """The text of an error and its causes; an error that cannot say what it is gives its type."""
    parts: list[str] = []
    current: Any = error
    while current is not None and len(parts) < _MOST_CAUSES:
        parts.append(_text_of(current))
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\ncaused by ".join(parts)


def _text_of(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:
        text = ""
    if isinstance(error, BudgetExceeded):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
