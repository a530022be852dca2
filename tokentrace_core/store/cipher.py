"""`sqlcipher3` in the manners of `sqlite3`: its errors are sqlite3's, so that whoever handles those handles these.

"Not a database" means here that the key does not fit; it must never be taken for damage, which moves a file aside.
Imported only when a key is given.
"""

from __future__ import annotations

import importlib
import sqlite3
from collections.abc import Callable
from typing import Any

from tokentrace_core.store.connection import WrongKey

dbapi2: Any = importlib.import_module("sqlcipher3.dbapi2")  # it has no types

_SAME_NAME = (
    "InterfaceError",
    "DataError",
    "OperationalError",
    "IntegrityError",
    "InternalError",
    "ProgrammingError",
)
_NOT_OURS = "the key does not fit (or the file is damaged, or no file of tokentrace's); it is left as it is"


def _translated(error: Exception) -> Exception:
    if any(sign in str(error) for sign in ("not a database", "malformed", "hmac")):
        return WrongKey(_NOT_OURS)
    name = next((name for name in _SAME_NAME if isinstance(error, getattr(dbapi2, name))), "DatabaseError")
    translated: Exception = getattr(sqlite3, name)(*error.args)
    if hasattr(error, "sqlite_errorcode"):
        translated.sqlite_errorcode = error.sqlite_errorcode  # type: ignore[attr-defined]
    return translated


def _in_sqlite3s_words(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        try:
            return method(*args, **options)
        except dbapi2.Error as error:
            raise _translated(error) from None

    return call


def _with_translations(base: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: _in_sqlite3s_words(getattr(base, name)) for name in names}


Cursor: Any = type(
    "Cursor",
    (dbapi2.Cursor,),
    _with_translations(
        dbapi2.Cursor,
        ("execute", "executemany", "executescript", "fetchone", "fetchall", "fetchmany", "__next__"),
    ),
)


class Connection(dbapi2.Connection):  # type: ignore[misc]
    """A connection to an encrypted file."""

    def cursor(self, factory: Any = Cursor) -> Any:
        return super().cursor(factory)

    def execute(self, *args: Any) -> Any:
        return self.cursor().execute(*args)

    def executemany(self, *args: Any) -> Any:
        return self.cursor().executemany(*args)

    def executescript(self, *args: Any) -> Any:
        return self.cursor().executescript(*args)

    commit = _in_sqlite3s_words(dbapi2.Connection.commit)
    rollback = _in_sqlite3s_words(dbapi2.Connection.rollback)
    backup = _in_sqlite3s_words(dbapi2.Connection.backup)
    close = _in_sqlite3s_words(dbapi2.Connection.close)


def connect(*args: Any, **options: Any) -> Any:
    return _in_sqlite3s_words(dbapi2.connect)(*args, factory=Connection, **options)
