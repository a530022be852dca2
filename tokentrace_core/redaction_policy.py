"""What becomes of a field before it is stored, and how a person is named without being named.

A field is redacted unless the user has decided otherwise: kept as it is, replaced by a keyed hash, or dropped with only
its length kept. Each decision is an object that looks like the redactor to whoever reads a payload, so the choke point
stays one.

A plain hash of a user's id or of a social security number is no protection, since all of them can be tried out. So
hashes are keyed (HMAC), with a key that never leaves the machine: equal ids are still equal, in every process.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from tokentrace_core.shield import warn_once

Field = Literal[
    "input",
    "output",
    "messages",
    "reasoning",
    "arguments",
    "result",
    "error",
    "tools",
    "tags",
    "metadata",
    "user_id",
]
Treatment = Literal["redact", "store", "hash", "drop"]

#: What a message is made of, whatever is done to what it says.
_SHAPE = frozenset({"role", "type", "id", "tool_call_id", "status"})


class Policy(Protocol):
    """What reads a payload's value: the redactor, or what stands in for it."""

    def redact(self, text: str) -> str: ...

    def redact_value(self, value: Any) -> Any: ...


class Stored:
    """Everything stays as it is."""

    def redact(self, text: str) -> str:
        return text

    def redact_value(self, value: Any) -> Any:
        return value


class Replaced:
    """Every text becomes a hash or a length; of messages the roles stay, so that a prompt is still one."""

    def __init__(self, treatments: Treatments, treatment: Literal["hash", "drop"]) -> None:
        self._treatments = treatments
        self._drops = treatment == "drop"

    def redact(self, text: str) -> str:
        return f"[DROPPED len={len(text)}]" if self._drops else f"[HASH_{self._treatments.digest(text)}]"

    def redact_value(self, value: Any) -> Any:
        try:
            if isinstance(value, dict) and isinstance(value.get("role"), str):
                return {
                    name: item if name in _SHAPE else self._replaced(item) for name, item in value.items()
                }
            if isinstance(value, list):
                return [self._replaced(item) for item in value]
            return self._replaced(value)
        except Exception:
            return "[REDACTION_FAILED len=0]"

    def _replaced(self, value: Any) -> Any:
        if value is None or value == [] or value == {}:
            return value
        return self.redact(
            value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=repr)
        )


class Treatments:
    """The user's decisions, and the key of the hashes. Raises ValueError for a field or a treatment that is none."""

    def __init__(self, redactor: Any, fields: Mapping[Field, Treatment], key: bytes | str | None) -> None:
        for field, treatment in fields.items():
            _check("field", field, get_args(Field))
            _check("treatment", treatment, get_args(Treatment))
        self._redactor = redactor
        self._fields = dict(fields)
        self._key = key.encode() if isinstance(key, str) else key
        self._lock = threading.Lock()
        self._policies: dict[Field, Policy] = {
            field: Stored() if treatment == "store" else Replaced(self, treatment)
            for field, treatment in fields.items()
            if treatment != "redact"
        }

    def of(self, field: Field) -> Policy:
        return self._policies.get(field, self._redactor)  # type: ignore[no-any-return]

    def person(self, user: str) -> str:
        treatment = self._fields.get("user_id")
        if treatment == "store" or is_pseudonym(user):
            return user
        if treatment == "drop":
            return f"[DROPPED len={len(user)}]"
        return self.pseudonym(user) if treatment == "hash" or self._is_private(user) else user

    def session(self, name: str) -> str:
        """Programs go on with a session by its id, so it is never dropped, and hashed only if it tells of a person."""
        if self._fields.get("user_id") == "store" or is_pseudonym(name) or not self._is_private(name):
            return name
        return self.pseudonym(name)

    def _is_private(self, text: str) -> bool:
        return bool(self._redactor.redact(text) != text)

    def pseudonym(self, text: str) -> str:
        return f"hmac-{self.digest(text)}"

    def digest(self, text: str) -> str:
        if self._key is None:
            with self._lock:
                self._key = self._key or local_key()
        return hmac.new(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]


def is_pseudonym(text: str) -> bool:
    return text.startswith("hmac-") and len(text) == 37


def _check(what: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise ValueError(f"{given!r} is no {what}; there are {', '.join(known)}")


def local_key() -> bytes:
    """TOKENTRACE_HASH_KEY, else the key of this machine's user, made when it is first asked for.

    Where no file can be kept, a key for this process only: its hashes are as safe, but no other process has them.
    """
    if given := os.environ.get("TOKENTRACE_HASH_KEY"):
        return given.encode()
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    path = Path(state).expanduser() / "tokentrace" / "key"
    try:
        return _kept(path)
    except OSError as error:
        warn_once(
            f"no key for hashes can be kept in {path} ({error.strerror}); ids are hashed differently by every process. "
            "Set TOKENTRACE_HASH_KEY"
        )
        return secrets.token_bytes(32)


def _kept(path: Path) -> bytes:
    """Two processes may come first: the one that links its file wins, and both read that."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = path.with_name(f"key.{os.getpid()}.{secrets.token_hex(4)}")
        own.touch(mode=0o600)
        try:
            own.write_bytes(secrets.token_hex(32).encode())
            os.link(own, path)
        except FileExistsError:
            pass
        finally:
            own.unlink()
    return path.read_bytes().strip()
