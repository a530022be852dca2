"""The headers by which a run travels: W3C Trace Context, and three that people can read.

    traceparent: 00-<run id, 32 hex>-<span id, 16 hex>-01      tracestate: as it came
    X-Agent-Run-Id, X-Agent-Step, X-Agent-Session-Id

Only `traceparent` decides which run it is; what is wrong in it makes it none, and never an error (W3C Trace Context,
§3.2.2 and §3.3). What goes out is visible ASCII, so nobody's session can begin a header of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

_VERSION_00 = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")
_KEY = r"(?:[a-z0-9][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
_MEMBER = re.compile(rf"({_KEY})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{{0,255}}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")
_MEMBERS = 32
#: The least that everybody passes on; entries over `_LONG` go first when there is more.
_STATE_CHARS = 512
_LONG = 128
#: A session whose name is longer does not travel; who writes to the same file knows it anyway.
_SESSION_CHARS = 1_024
#: What stays as it is in a session's name: visible ASCII, without the sign of what does not.
_AS_IT_IS = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '%",;\\')


class Place(NamedTuple):
    """Where in a run a request is made."""

    run_id: str
    span_id: str
    step: int
    session_id: str
    state: str = ""


class Origin(NamedTuple):
    """Where a request comes from. No `run_id`: from nobody that has said so in a form that can be read."""

    run_id: str | None = None
    span_id: str = ""
    state: str = ""
    session_id: str | None = None


def write_headers(place: Place) -> dict[str, str]:
    """The headers of a request that is made there."""
    headers = {"traceparent": f"00-{place.run_id}-{place.span_id}-01"}
    if place.state:
        headers["tracestate"] = place.state
    headers |= {"X-Agent-Run-Id": place.run_id, "X-Agent-Step": str(place.step)}
    session = quote(place.session_id, safe=_AS_IT_IS, errors="surrogatepass")
    if session and len(session) <= _SESSION_CHARS:
        headers["X-Agent-Session-Id"] = session
    return headers


def read_headers(headers: object) -> Origin:
    """Where a request with these headers comes from. Never raises.

    `headers`: a mapping, or name and value in pairs (ASGI), as text or bytes, in any case; or a WSGI environment.
    """
    try:
        found = _wanted(headers)
    except Exception:  # somebody else's object, which may do anything
        return Origin()
    session = _session(found.get("x-agent-session-id", []))
    parents = found.get("traceparent", [])
    parent = _parent(parents[0]) if len(parents) == 1 else None
    if parent is None:
        return Origin(session_id=session)
    return Origin(*parent, _state(",".join(found.get("tracestate", []))), session)


_WANTED = ("traceparent", "tracestate", "x-agent-session-id")


def _wanted(headers: object) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in _pairs(headers):
        plain = _text(name).lower().removeprefix("http_").replace("_", "-")
        if plain in _WANTED:
            found.setdefault(plain, []).append(_text(value).strip(" \t"))
    return found


def _pairs(headers: Any) -> Iterator[tuple[object, object]]:
    if isinstance(headers, Mapping) or hasattr(headers, "items"):
        headers = headers.items()
    if not isinstance(headers, Iterable):
        return
    for pair in headers:
        if isinstance(pair, (tuple, list)) and len(pair) == 2:
            yield pair[0], pair[1]


def _text(part: object) -> str:
    """HTTP's own reading of bytes, which every byte has."""
    if isinstance(part, (bytes, bytearray)):
        return bytes(part).decode("latin-1")
    return part if isinstance(part, str) else ""


def _parent(value: str) -> tuple[str, str] | None:
    found = _VERSION_00.match(value)
    if found is None:
        return None
    version, run_id, span_id = found.groups()
    # A later version may say more, behind a dash.
    rest = value[found.end() :]
    return (run_id, span_id) if not rest or (version != "00" and rest[0] == "-") else None


def _state(value: str) -> str:
    """The entries that others have written, as they came; nothing, if one of them is not in the form."""
    members = [member.strip(" \t") for member in value.split(",")]
    members = [member for member in members if member]
    read = [_MEMBER.fullmatch(member) for member in members]
    keys = {member[1] for member in read if member}
    if len(members) > _MEMBERS or len(keys) != len(members):
        return ""
    if len(",".join(members)) > _STATE_CHARS:
        members = [member for member in members if len(member) <= _LONG]
    while len(",".join(members)) > _STATE_CHARS:
        members.pop()
    return ",".join(members)


def _session(values: list[str]) -> str | None:
    if len(values) != 1 or not 0 < len(values[0]) <= _SESSION_CHARS:
        return None
    try:
        return unquote(values[0], errors="surrogatepass")
    except UnicodeDecodeError:
        return unquote(values[0])
