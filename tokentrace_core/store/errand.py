"""Something for the writer to do in its next transaction, beside spans."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3


class Errand(ABC):
    """Runs on the writer's thread. May be done again, if the transaction is."""

    __slots__ = ()

    @abstractmethod
    def write(self, connection: sqlite3.Connection) -> None:
        """Do it, inside the transaction."""

    def written(self) -> None:
        """The transaction is in the file."""
