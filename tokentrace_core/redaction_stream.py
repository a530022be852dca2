"""Redacting text that arrives in pieces, as a model's answer does: what cannot be judged yet is held back.

A piece may end in the middle of a secret, and a secret's name may stand in the piece before. So what is judged is the
new text together with some that has gone out already and some that has to wait: rules look no further than their
window. What lies between goes out, up to a place where a word begins, and never out of the middle of a find. A find
that still grows (a private key whose end has not come) is held back as a whole.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokentrace_core.redact import Redactor
    from tokentrace_core.redaction_search import Span

#: So many windows are awaited before a look: each look reads two windows again, or three.
_LOOK = 4
#: After so much text without a place to cut, it is cut where it must; of a find, so much is held back.
_HOLD = 4_096
_LONGEST = 65_536
_WORD_BEGINS = re.compile(r"(?<=[\s,;{}<>|])(?=\"?[^\W\d_])")


class RedactorStream:
    """Redacts text that arrives in pieces: a secret cut in two by a piece's end is still found.

    What `feed` and `close` return, put together, is what `redact` makes of the whole text, as long as a word begins at
    least every 4,096 characters, and apart from what only a whole JSON document's names give away. Holds back about two
    thousand characters, and more while a find grows. Not for use by two threads at once.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._window = redactor.window()
        self._held = ""
        self._gone = 0
        """How much at the beginning of what is held has gone out, and is kept for what it says of the rest."""
        self._next_look = _LOOK * self._window

    def feed(self, chunk: str) -> str:
        """Takes the next piece and returns what is certain by now, which may be nothing. Never raises."""
        if not isinstance(chunk, str):
            return self._redactor.redact(chunk)
        self._held += chunk
        if len(self._held) - self._gone < self._next_look:
            return ""
        return self._ready()

    def close(self) -> str:
        """The rest. Afterwards the stream is empty and may be used again."""
        held, gone = self._held, self._gone
        self._held, self._gone = "", 0
        self._next_look = _LOOK * self._window
        if not gone:
            return self._redactor.redact(held) if held else ""
        try:
            return self._redactor.render(held, self._redactor.spans(held), gone)
        except Exception:
            return self._redactor.failed(len(held) - gone)

    def _ready(self) -> str:
        held, gone = self._held, self._gone
        try:
            spans = self._redactor.spans(held)
            cut = self._cut(spans)
            ready = self._redactor.render(held, spans, gone, cut)
        except Exception:
            cut, ready = len(held), self._redactor.failed(len(held) - gone)
        if cut <= gone:
            # Looked at less and less often, so that one long find costs no more than its length.
            self._next_look = (len(held) - gone) * 2
            return ""
        self._next_look = _LOOK * self._window
        keep = max(0, cut - self._window)
        self._held, self._gone = held[keep:], cut - keep
        return ready

    def _cut(self, spans: list[Span]) -> int:
        held = self._held
        limit = len(held) - self._window
        cut = self._gone
        for found in _WORD_BEGINS.finditer(held, max(self._gone, limit - _HOLD)):
            if found.start() > limit:
                break
            cut = found.start()
        waiting = len(held) - self._gone
        if cut <= self._gone and waiting > _HOLD:
            cut = limit
        for start, end, _ in reversed(spans):
            if start < cut < end:
                # A find as long as that goes out as its placeholder; what follows of it is a find of its own.
                cut = end if waiting > _LONGEST else start
        return cut
