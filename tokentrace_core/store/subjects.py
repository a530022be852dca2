"""Whose something is, in a form from which nobody can tell: a hash with a key that only this file has.

What outlives a deletion (that it was done, what of it must not come back, who had read what) names its subjects in
this form. Who knows a name can ask whether it is meant; a name cannot be had from it.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

KEY = "select value from settings where name = 'subject_key'"


class Subjects:
    """The hashes of one file, by its key."""

    def __init__(self, key: str) -> None:
        self._key = bytes.fromhex(key)

    @classmethod
    def of(cls, connection: sqlite3.Connection) -> Subjects:
        return cls(connection.execute(KEY).fetchone()[0])

    def hash(self, kind: str, name: str) -> str:
        """`kind`: user, run or session."""
        said = f"{kind}\n{name}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(said, key=self._key, digest_size=16).hexdigest()


def read_key(query: Callable[[str], Iterator[dict[str, Any]]]) -> str:
    """The key, for who reads rows as dicts."""
    return str(next(query(KEY))["value"])
