"""Every error a user of tokentrace can meet, in one place.

    TokentraceError
    ├── StoreError          the file is missing, foreign, or of a newer version
    ├── LogError            a log file cannot be read
    ├── UnknownRun          no run has this id
    └── MissingExtra        a framework is not installed
    BudgetExceeded          (a RuntimeError: frameworks that retry on everything leave RuntimeErrors alone)

Inside an agent's callbacks only `BudgetExceeded` is ever raised; the others belong to set-up and reading.
"""

from __future__ import annotations

from decimal import Decimal


class TokentraceError(Exception):
    """Something is wrong that the user can mend; the text says what, with the figure, and how."""


class StoreError(TokentraceError):
    """The database file cannot be used; the text says why and what to do."""


class LogError(TokentraceError):
    """A log file cannot be read; the text says why."""


class UnknownRun(TokentraceError):
    """No run, or more than one, answers to the given id."""


class MissingExtra(TokentraceError, ImportError):
    """A framework that an integration needs is not installed; the text is the install line."""

    def __init__(self, integration: str, package: str, extra: str) -> None:
        super().__init__(
            f"{integration} needs {package}, which is not installed. Run: pip install 'tokentrace[{extra}]'"
        )


class BudgetExceeded(RuntimeError):
    """A call was refused because it would cross a limit. No request was sent.

    `scope` is the budget's name ("run_usd", "steps"), `spent` and `limit` are in the scope's own unit:
    US dollars as `Decimal` for money, a count for steps.
    """

    for_now = False
    """Only what calls in flight have set aside is in the way: the run is not stopped, and a later call may fit."""

    def __init__(self, message: str, *, scope: str, spent: Decimal | int, limit: Decimal | int) -> None:
        super().__init__(message)
        self.scope = scope
        self.spent = spent
        self.limit = limit

    def again(self) -> BudgetExceeded:
        """A fresh copy: one exception object raised in several threads would mix their tracebacks."""
        return type(self)(str(self), scope=self.scope, spent=self.spent, limit=self.limit)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), str(self), self.scope, self.spent, self.limit)


def _rebuild(
    cls: type[BudgetExceeded], message: str, scope: str, spent: Decimal | int, limit: Decimal | int
) -> BudgetExceeded:
    return cls(message, scope=scope, spent=spent, limit=limit)
