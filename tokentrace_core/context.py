"""Where the program is: the session and span of the user's own `with` blocks, in a context variable.

Only tokentrace's own blocks set it. A frame left behind in some other task's context is harmless: it is
believed only while its span is open. Frameworks keep their own note of where they are; an integration hands
the recorder a locator for that, instead of setting anything here.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextvars import ContextVar, Token
from typing import Any

from msgspec import Struct


class SessionInfo(Struct, frozen=True, kw_only=True):
    """What a `session()` block says of all runs inside it."""

    id: str
    user: str | None = None
    metadata: dict[str, Any] = {}


class Frame(Struct, frozen=True, eq=False):
    """One open block: the recorder's key of its span, the block, and the frame around it."""

    recorder: object
    key: Hashable
    block: object
    outer: Frame | None


_frame: ContextVar[Frame | None] = ContextVar("tokentrace_frame", default=None)
_session: ContextVar[SessionInfo | None] = ContextVar("tokentrace_session", default=None)


def current_session() -> SessionInfo | None:
    """The session block this code runs in."""
    return _session.get()


def enter_session(session: SessionInfo) -> Token[SessionInfo | None]:
    return _session.set(session)


def leave_session(token: Token[SessionInfo | None]) -> None:
    _reset(_session, token)


def enter(recorder: object, key: Hashable, block: object = None) -> Token[Frame | None]:
    return _frame.set(Frame(recorder, key, block, _frame.get()))


def leave(token: Token[Frame | None]) -> None:
    _reset(_frame, token)


def frames_of(recorder: object) -> Iterator[Frame]:
    """This recorder's blocks round here, innermost first."""
    frame = _frame.get()
    while frame is not None:
        if frame.recorder is recorder:
            yield frame
        frame = frame.outer


def _reset(variable: ContextVar[Any], token: Token[Any]) -> None:
    try:
        variable.reset(token)
    except ValueError:
        # A generator may be closed in another context than it was opened in; there is nothing to undo there.
        variable.set(token.old_value if token.old_value is not Token.MISSING else None)
