"""Limits that outlive a run: what is asked of the place where their spending is kept.

A day's limit of one user is shared by all runs of that user, in this process and in others. So it is kept where all of
them can see it, and looked at and written in one transaction: whoever checks first and writes later overspends.
The place is the trace file (`store.ledger`); this module is what accounts know of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Share(NamedTuple):
    """One limit that a call counts against."""

    scope: str
    """The budget's argument: "user_day_usd"."""
    subject: str
    """Whose limit it is: the user, the session, the project."""
    period: str
    """The UTC day or month it is for; empty if it does not begin anew."""
    limit_nano: int


class Standing(NamedTuple):
    """Where a limit stands, in nano-dollars."""

    share: Share
    spent: int
    reserved: int
    """Set aside for calls in flight, in all processes."""

    @property
    def used(self) -> int:
        return self.spent + self.reserved


class Hold(NamedTuple):
    """Money set aside under several limits at once."""

    id: str
    shares: tuple[Share, ...]


class Unavailable(Exception):
    """The ledger cannot be asked now; the text says why."""


class Ledger(Protocol):
    """Where shared limits are kept. Safe to use from any thread."""

    def reserve(
        self, shares: Sequence[Share], sure: int, expected: int
    ) -> tuple[Hold | None, list[Standing]]:
        """Set `expected` aside under all shares, if `sure` still fits under each; else None, and nothing is set aside.

        With where each of them stood before. Raises `Unavailable`.
        """

    def settle(self, hold: Hold, nano_usd: int) -> None:
        """The call is over and cost this. Never fails: what cannot be written now is written later."""

    def spend(self, shares: Sequence[Share], nano_usd: int) -> None:
        """Count an amount that was not set aside. Never fails."""
