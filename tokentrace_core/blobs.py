"""Bytes are not worth their place in a trace: a size and a hash say which bytes they were.

That goes for `bytes` and for text that is bytes in disguise, a data URL or a long base64 string.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

#: From how many bytes to how many there is a hash: a few could be guessed from it, very many take too long.
HASHED = range(64, 8_000_001)

_SAMPLES, _SAMPLE = 8, 64
_BASE64 = re.compile(r"[A-Za-z0-9+/_\-=\r\n]+")
_DATA_URL = re.compile(r"data:([\w.+\-]{1,60}/[\w.+\-]{1,80})?[^,]{0,80};base64,")
_DISTINCT = 12


def base64_mime(text: str) -> str | None:
    """The media type if the string is encoded bytes, judged by samples: reading all of 50 MB takes too long."""
    url = _DATA_URL.match(text)
    if url is not None:
        return url[1] or "text/plain"
    step = (len(text) - _SAMPLE) // (_SAMPLES - 1)
    samples = [text[at : at + _SAMPLE] for at in range(0, step * _SAMPLES, step)]
    encoded = all(map(_BASE64.fullmatch, samples)) and len(set("".join(samples))) >= _DISTINCT
    return "application/octet-stream" if encoded else None


def blob(mime: str, size: int, data: bytes | None) -> dict[str, Any]:
    """What stands in the place of the bytes: `size` is theirs as met; without `data`, there is no hash."""
    shown: dict[str, Any] = {"mime": mime, "size": size}
    if data is not None and len(data) in HASHED:
        shown["sha256"] = hashlib.sha256(data).hexdigest()
    return {"$blob": shown}
