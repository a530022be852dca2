"""Every connection to a trace file is made here, so that a key need be known in one place only.

A file has a key if it was given one: `use_key(path, key)`, which `Tracer(key=...)` calls, else `TOKENTRACE_KEY`. A
key is a passphrase, or 64 hex digits that are taken as they are, or a callable that gives one of these. Without
a key nothing of this costs anything: `sqlcipher3` is not even imported.

What SQLCipher makes of a passphrase takes a tenth of a second, so it is made once per process and file, in the way in
which SQLCipher itself makes it: `sqlcipher traces.db` and the passphrase open the same file.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

from tokentrace_core.errors import MissingExtra

KEY_VARIABLE = "TOKENTRACE_KEY"
Key = str | Callable[[], str]

_PLAIN_HEADER = b"SQLite format 3\0"
_SALT_BYTES = 16
_RAW_KEY = re.compile("[0-9a-fA-F]{64}")
#: SQLCipher's own figures since its version 4.
_ROUNDS, _KEY_BYTES = 256_000, 32
#: A page of an encrypted file holds nearly all 256 bytes; no text does.
_PAGE_BYTES, _NOISE = 4_096, 240

_keys: dict[Path, Key] = {}
_known: dict[Path, _Known] = {}
_derived: dict[tuple[str, bytes], bytes] = {}


class _Known(NamedTuple):
    """An encrypted file that was opened here, and its salt. `handle` stays open while the path leads to that file.

    For whoever closes a file that he has opened beside SQLite takes SQLite's locks away; and as long as it is open,
    no other file gets its inode, and is taken for it.
    """

    identity: tuple[int, int]
    handle: int
    salt: bytes


class WrongKey(sqlite3.OperationalError):
    """The key does not fit the file. The file is left as it is; an operational error, so nobody takes it for damage."""


def use_key(path: Path, key: Key | None) -> None:
    """Open this file with this key from now on; None: with that of the environment, if there is one.

    Raises MissingExtra without `sqlcipher3`.
    """
    if key is None:
        _keys.pop(_name(path), None)
    else:
        _cipher()
        _keys[_name(path)] = key


def key_of(path: Path) -> str | None:
    """The key for a file, asked anew each time; None: it has none."""
    key = _keys.get(_name(path)) or os.environ.get(KEY_VARIABLE) or None
    if not callable(key):
        return key
    try:
        given = key()
    except Exception as error:
        raise WrongKey(f"the key of {path} could not be had: {type(error).__name__}") from error
    if not given or not isinstance(given, str):
        raise WrongKey(f"the key of {path} could not be had: what was to give it gave no text")
    return given


def connect(path: Path, *, mode: str = "rwc", key: str | None = None, **options: Any) -> sqlite3.Connection:
    """A connection, ready for use. `mode`: rwc, rw, ro, or "ro&immutable=1"; the rest goes to `sqlite3.connect`.

    Raises `WrongKey` with a sentence for a user.
    """
    path = Path(path)
    key = key_of(path) if key is None else key  # "": none, whatever the environment says
    uri = f"{path.resolve().as_uri()}?mode={mode}"
    if not key:
        return cast(sqlite3.Connection, sqlite3.connect(uri, uri=True, **options))
    salt = _salt(path)
    if salt is None:
        if _bytes_of(path):
            raise WrongKey(
                f"{path} is not encrypted, but a key is set: unset {KEY_VARIABLE}, or run: tokentrace rekey"
            )
        try:
            return _keyed(path, uri, key, os.urandom(_SALT_BYTES), options)
        except WrongKey:
            salt = _salt(path)  # another process has begun the file at this moment
            if salt is None:
                raise
    return _keyed(path, uri, key, salt, options)


def for_new_key(path: Path, **options: Any) -> sqlite3.Connection:
    """A connection to a file with a key or without one, from which `copy_with_key` can copy to one with a key."""
    if key_of(path):
        return connect(path, mode="rw", **options)
    uri = f"{path.resolve().as_uri()}?mode=rw"
    return cast(sqlite3.Connection, _cipher().connect(uri, uri=True, **options))


def copy_with_key(connection: sqlite3.Connection, to: Path, key: str | None) -> None:
    """Copy all of an open file into an empty one; None: without a key."""
    literal = key_pragma(key, os.urandom(_SALT_BYTES)) if key else "''"
    connection.execute(f"attach ? as copy key {literal}", [str(to)])
    connection.execute("select sqlcipher_export('copy')").fetchall()
    connection.execute("detach copy")


def looks_encrypted(path: Path) -> bool:
    """Whether a file that is no SQLite file might be one with a key. Opens it, so ask only if SQLite cannot read it."""
    try:
        with Path(path).open("rb") as file:
            page = file.read(_PAGE_BYTES)
    except OSError:
        return False
    return len(page) == _PAGE_BYTES and not page.startswith(_PLAIN_HEADER) and len(set(page)) > _NOISE


def key_pragma(key: str, salt: bytes) -> str:
    """The key with its salt as SQLCipher takes them: in a quoted literal."""
    if _RAW_KEY.fullmatch(key):
        raw = bytes.fromhex(key)
    else:
        raw = _derived.get((key, salt), b"")
        if not raw:
            raw = hashlib.pbkdf2_hmac("sha512", key.encode(), salt, _ROUNDS, _KEY_BYTES)
            _derived[key, salt] = raw
    return f"\"x'{raw.hex()}{salt.hex()}'\""


def _keyed(path: Path, uri: str, key: str, salt: bytes, options: dict[str, Any]) -> sqlite3.Connection:
    try:
        connection = cast(sqlite3.Connection, _cipher().connect(uri, uri=True, **options))
    except MissingExtra as error:
        raise WrongKey(str(error)) from None
    try:
        connection.execute("pragma cipher_log_level = none")
        connection.execute(f"pragma key = {key_pragma(key, salt)}")
        if not connection.execute("select count(*) from sqlite_master").fetchone()[0] and "=ro" not in uri:
            _lay_down(connection)
    except WrongKey as error:
        connection.close()
        raise WrongKey(f"{path} cannot be opened: {error}") from None
    except BaseException:
        connection.close()
        raise
    return connection


def _lay_down(connection: sqlite3.Connection) -> None:
    """Have the salt in the file before anybody else thinks of one."""
    connection.execute("begin immediate")
    connection.execute("create table begun (at)")
    connection.execute("drop table begun")
    connection.execute("commit")


def _cipher() -> Any:
    try:
        return importlib.import_module("tokentrace_core.store.cipher")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("sqlcipher3"):
            raise
        raise MissingExtra("an encrypted trace file", "sqlcipher3", "encryption") from None


def _name(path: Path) -> Path:
    try:
        return Path(path).expanduser().resolve()
    except (OSError, RuntimeError, ValueError):
        return Path(path)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _salt(path: Path) -> bytes | None:
    """The first bytes of an encrypted file; None of a plain one, an empty one, or none."""
    name, identity = _name(path), _identity(path)
    known = _known.get(name)
    if known is not None and known.identity == identity:
        return known.salt
    if known is not None and _known.pop(name, None) is known:
        os.close(known.handle)
    if identity is None or not _bytes_of(path):
        return None
    handle = os.open(path, os.O_RDONLY)
    head, found = os.read(handle, _SALT_BYTES), os.fstat(handle)
    if head == _PLAIN_HEADER:
        os.close(handle)
        return None
    # If another thread came first, ours stays open, too: it is the same file.
    return _known.setdefault(name, _Known((found.st_dev, found.st_ino), handle, head)).salt


def _bytes_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
