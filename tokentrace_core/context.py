"""Where the program is: the session and span of the user's own `with` blocks, in a context variable.

Only tokentrace's own blocks set it. To leave a block is to step outside its frame where it is found, with all
that is inside it; where it is not (a generator may be closed in another context than it was opened in), there is
nothing to undo. A frame left behind in some other task's context is harmless: it is believed only while its span
is open. Frameworks keep their own note of where they are; an integration hands the recorder a locator for that,
instead of setting anything here.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextvars import ContextVar
from typing import Any

from msgspec import Struct


class SessionInfo(Struct, frozen=True, kw_only=True):
    """What a `session()` block says of all runs inside it."""

    id: str
    user: str | None = None
    metadata: dict[str, Any] = {}


class Frame(Struct, frozen=True, eq=False):
    """One open block: the recorder's key of its span, the block, its entry, and the frame around it."""

    recorder: object
    key: Hashable
    block: object
    entry: object
    outer: Frame | None


class _Session(Struct, frozen=True, eq=False):
    """One open session block, and the one around it."""

    info: SessionInfo
    outer: _Session | None


_frame: ContextVar[Frame | None] = ContextVar("tokentrace_frame", default=None)
_session: ContextVar[_Session | None] = ContextVar("tokentrace_session", default=None)


def current_session() -> SessionInfo | None:
    """The session block this code runs in."""
    session = _session.get()
    return session.info if session else None


def enter_session(info: SessionInfo) -> None:
    _session.set(_Session(info, _session.get()))


def leave_session(info: SessionInfo) -> None:
    """Leave the innermost block of this session."""
    session = _session.get()
    while session is not None:
        if session.info is info:
            _session.set(session.outer)
            return
        session = session.outer


def enter(recorder: object, key: Hashable, block: object = None, entry: object = None) -> None:
    _frame.set(Frame(recorder, key, block, entry, _frame.get()))


def leave(entry: object) -> None:
    """Leave the innermost frame of this entry of a block."""
    frame = _frame.get()
    while frame is not None:
        if frame.entry is entry:
            _frame.set(frame.outer)
            return
        frame = frame.outer


def frames_of(recorder: object) -> Iterator[Frame]:
    """This recorder's blocks round here, innermost first."""
    frame = _frame.get()
    while frame is not None:
        if frame.recorder is recorder:
            yield frame
        frame = frame.outer
