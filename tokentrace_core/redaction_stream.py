"""Redacting text that arrives in pieces, as a model's answer does: what cannot be judged yet is held back.

A piece may end in the middle of a secret. So only text up to a safe cut goes out, a place no built-in rule reaches
over (see `redaction_rules.py`): there, redacting left and right apart equals redacting the whole. Own patterns promise
no such thing, so for them a cut also keeps away from the end and out of whatever the rules match.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokentrace_core.redact import Redactor

_HOLD = 4096
_HARD_CUT = 512
# A place no built-in rule reaches over, see redaction_rules.
_SAFE_CUT = re.compile(r"(?<=[\s,;{}<>|])(?=\"?[^\W\d_])")


class RedactorStream:
    """Redacts text that arrives in pieces: a secret cut in two by a piece's end is still found.

    What `feed` and `close` return, put together, is what `redact` makes of the whole text, as long as the text has a
    blank or comma followed by a letter at least every 4,096 characters. Holds back the unfinished word, and after
    4,096 characters without such a place all but the last 512. Not for use by two threads at once.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = ""

    def feed(self, chunk: str) -> str:
        """Takes the next piece and returns what is certain by now, which may be nothing. Never raises."""
        if not isinstance(chunk, str):
            return self._redactor.redact(chunk)
        self._held += chunk
        cut = self._cut()
        if not cut:
            return ""
        ready, self._held = self._held[:cut], self._held[cut:]
        return self._redactor.redact(ready)

    def close(self) -> str:
        """The rest. Afterwards the stream is empty and may be used again."""
        ready, self._held = self._held, ""
        return self._redactor.redact(ready) if ready else ""

    def _cut(self) -> int:
        limit = len(self._held) - self._redactor.window
        cut = 0
        for match in _SAFE_CUT.finditer(self._held, max(0, limit - _HOLD)):
            if match.start() > limit:
                break
            cut = match.start()
        if not cut and limit > _HOLD:
            cut = min(limit, len(self._held) - _HARD_CUT)
        elif not self._redactor.window:
            return cut
        return self._outside_matches(cut)

    def _outside_matches(self, cut: int) -> int:
        try:
            spans = self._redactor.spans(self._held)
        except Exception:
            return cut  # the redactor meets the same rule next, and answers for it
        for start, end in reversed(spans):
            if start < cut < end:
                cut = start
        return cut
