"""The one choke point for privacy: text goes in, the same text without secrets comes out.

All rules read the same text, and what any of them found is replaced, so no rule can hide a secret from another by
rewriting half of it. Where finds overlap, the whole stretch goes, under the first rule's placeholder.
Placeholders are opaque from then on: the text between them is searched again, until nothing new is found. So redacting
twice equals redacting once, and a secret glued to another secret is found once the other one is gone.

It fails closed. Whatever goes wrong in a rule, the answer is `[REDACTION_FAILED len=N]` and never the text.

What is private stands in `redaction_rules.py`; nothing here knows a card from a phone.
"""

from __future__ import annotations

import datetime
import decimal
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from tokentrace_core.redaction_rules import DEFAULT_RULES, Rule, telling_key

__all__ = ["DEFAULT_RULES", "Redactor", "RedactorStream", "Rule"]

_MEMO_LENGTH = 256
_MEMO_ENTRIES = 4096
_PASSES = 8
_DEPTH = 128
_OWN_PATTERN_WINDOW = 256

_HOLD = 4096
_HARD_CUT = 512
# A place no built-in rule reaches over, see redaction_rules.
_SAFE_CUT = re.compile(r"(?<=[\s,;{}<>|])(?=\"?[^\W\d_])")

_Span = tuple[int, int, int]


class Redactor:
    """Replaces secrets in text and in JSON-like structures. Safe to share between threads.

    `extra_patterns` come after `rules`: either ready `Rule`s or `{"EMPLOYEE_ID": r"E[0-9]{6}"}`, which replaces with
    `[EMPLOYEE_ID_REDACTED]`. Raises ValueError for a pattern that does not compile. `failures` counts the texts that
    had to be dropped because a rule failed; it is worth an alert.
    """

    def __init__(
        self,
        extra_patterns: Mapping[str, str] | Sequence[Rule] = (),
        *,
        rules: Sequence[Rule] = DEFAULT_RULES,
    ) -> None:
        extra = _own_rules(extra_patterns) if isinstance(extra_patterns, Mapping) else extra_patterns
        self._rules = (*rules, *extra)
        self._scoped: dict[re.Pattern[str] | None, list[tuple[int, Rule]]] = {}
        for rank, rule in enumerate(self._rules):
            self._scoped.setdefault(rule.within, []).append((rank, rule))
        self._window = max((rule.window for rule in self._rules), default=0)
        known = "|".join(sorted({re.escape(rule.placeholder) for rule in self._rules}))
        self._opaque = re.compile(
            rf"({known}{'|' if known else ''}\[SECRET_REDACTED\]|\[REDACTION_FAILED len=[0-9]+\])"
        )
        # Only clean texts are remembered: a memo of secrets would be one more place to leak them.
        self._clean: set[str] = set()
        self._keys: dict[str, str | None] = {}
        self.failures = 0

    def redact(self, text: str) -> str:
        """`text` with every secret replaced by its placeholder. Never raises."""
        if type(text) is not str:
            if not isinstance(text, str):
                return self._failed(0)
            text = str.__str__(text)
        short = len(text) <= _MEMO_LENGTH
        if short and text in self._clean:
            return text
        try:
            redacted = self._settle(text)
        except Exception:
            return self._failed(len(text))
        if short and redacted == text:
            self._remember(text)
        return redacted

    def redact_value(self, value: Any) -> Any:
        """The same for dict, list, tuple, set, bytes and what they hold, keys included; types are kept, and of
        their subclasses the base type.

        What stands under a telling key (`password`, `api_key`, ...) goes as a whole. A number whose digits are a
        secret becomes the placeholder. Cycles, extreme depth and types nobody vouches for become
        `[REDACTION_FAILED len=0]`. Never raises.
        """
        try:
            return self._walk(value, {}, 0)
        except Exception:
            return self._failed(0)

    def stream(self) -> RedactorStream:
        """A redactor for text that arrives in pieces; see `RedactorStream`."""
        return RedactorStream(self)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where the rules match `text`, context included, as sorted (start, end); raises what a rule raises."""
        return sorted((start, end) for start, end, _ in self._find(text))

    @property
    def window(self) -> int:
        """How many characters a match may take beyond what a safe cut promises; 0 for the built-in rules."""
        return self._window

    def _failed(self, length: int) -> str:
        self.failures += 1
        return f"[REDACTION_FAILED len={length}]"

    def _remember(self, text: str) -> None:
        if len(self._clean) >= _MEMO_ENTRIES:
            self._clean.clear()
        self._clean.add(text)

    def _settle(self, text: str) -> str:
        for _ in range(_PASSES):
            redacted = self._pass(text)
            if redacted == text:
                return text
            text = redacted
        # Only text built for it uncovers a new secret in pass after pass.
        raise ValueError("redaction does not settle")

    def _pass(self, text: str) -> str:
        if "[" not in text or self._opaque.search(text) is None:
            return self._replace(text, self._find(text))
        masked = self._opaque.sub(_mask, text)
        return self._replace(text, _around_masks(masked, self._find(masked)))

    def _replace(self, text: str, spans: list[_Span]) -> str:
        if not spans:
            return text
        pieces: list[str] = []
        at = 0
        for start, end, rank in _merged(spans):
            pieces += text[at:start], self._rules[rank].placeholder
            at = end
        return "".join((*pieces, text[at:]))

    def _find(self, text: str) -> list[_Span]:
        if text.isascii() or _HIDING.search(text) is None:
            return self._find_plain(text)
        plain, origin = _unhide(text)
        return [(origin[start], origin[end - 1] + 1, rank) for start, end, rank in self._find_plain(plain)]

    def _find_plain(self, text: str) -> list[_Span]:
        spans: list[_Span] = []
        for scope, rules in self._scoped.items():
            regions = [(0, len(text))] if scope is None else [match.span() for match in scope.finditer(text)]
            if not regions:
                continue
            for rank, rule in rules:
                if rule.needs and not any(map(text.__contains__, rule.needs)):
                    continue
                for start, end in regions:
                    if end - start >= rule.least:
                        # Wider on both sides: signs in front of the first digit, and what look-aheads want to see.
                        _search(rule, rank, text, max(0, start - 3), min(end + 2, len(text)), spans)
        return spans

    def _walk(self, value: Any, seen: dict[int, Any], depth: int) -> Any:
        kind = type(value)
        if kind is str:
            return self.redact(value)
        if value is None or kind is bool:
            return value
        if kind is int or kind is float:
            return self._number(value)
        if issubclass(kind, _CONTAINERS):
            return self._container(value, seen, depth)
        return self._other(value)

    def _container(self, value: Any, seen: dict[int, Any], depth: int) -> Any:
        """Shared containers are walked once; one that is still being walked contains itself."""
        if id(value) in seen:
            done = seen[id(value)]
            return self._failed(0) if done is _OPEN else done
        if depth >= _DEPTH:
            return self._failed(0)
        seen[id(value)] = _OPEN
        base = next(known for known in _CONTAINERS if issubclass(type(value), known))
        if base is dict:
            result: Any = self._mapping(value, seen, depth + 1)
        else:
            result = base([self._walk(item, seen, depth + 1) for item in base.__iter__(value)])
        seen[id(value)] = result
        return result

    def _mapping(self, value: dict[Any, Any], seen: dict[int, Any], depth: int) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for key, item in dict.items(value):
            placeholder = self._telling(key) if type(key) is str else None
            if placeholder is not None and item is not None and item != "" and type(item) is not bool:
                item = placeholder
            else:
                item = self._walk(item, seen, depth)
            result[_free_key(result, self._walk(key, seen, depth))] = item
        return result

    def _telling(self, key: str) -> str | None:
        if key in self._keys:
            return self._keys[key]
        placeholder = telling_key(key)
        if len(self._keys) < _MEMO_ENTRIES and len(key) <= _MEMO_LENGTH and self.redact(key) == key:
            self._keys[key] = placeholder
        return placeholder

    def _number(self, value: float) -> Any:
        """Only the length of a card number is worth a look, and most figures are far from it."""
        if not 1e12 <= abs(value) < 1e19 or value != int(value):
            return value
        digits = str(abs(int(value)))
        redacted = self.redact(digits)
        return value if redacted == digits else redacted

    def _other(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.redact(value)
        if type(value) is bytes:
            text = value.decode("utf-8", "surrogateescape")
            return self.redact(text).encode("utf-8", "surrogateescape")
        if type(value) in _PRINTABLE:
            text = str(value)
            redacted = self.redact(text)
            return value if redacted == text else redacted
        return self._failed(0)


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


def _own_rules(patterns: Mapping[str, str]) -> list[Rule]:
    return [
        Rule(
            name,
            name if name.startswith("[") else f"[{name}_REDACTED]",
            _compiled(name, pattern),
            window=_OWN_PATTERN_WINDOW,
        )
        for name, pattern in patterns.items()
    ]


def _compiled(name: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"extra pattern {name!r} is not a regular expression: {error}") from error


def _search(rule: Rule, rank: int, text: str, start: int, end: int, spans: list[_Span]) -> None:
    """Adds the rule's matches. After a refused one the search goes on one character later, not behind it: a number
    may begin inside a look-alike."""
    while start < end and (match := rule.pattern.search(text, start, end)) is not None:
        start = match.start() + 1
        found = _grown(rule, text, match)
        if found is not None and (rule.accept is None or rule.accept(text, *found)):
            spans.append((*found, rank))
            start = max(start, match.end())


def _grown(rule: Rule, text: str, match: re.Match[str]) -> tuple[int, int] | None:
    start, end = match.span("secret") if "secret" in rule.pattern.groupindex else match.span()
    if rule.behind is not None:
        before = rule.behind.match(text[max(0, start - 160) : start][::-1])
        if before is None:
            return None
        start -= before.end()
    return (start, end) if start < end else None


def _mask(placeholder: re.Match[str]) -> str:
    """As long as the placeholder, so that positions stay, and of a character that no built-in rule crosses."""
    return "\0" * len(placeholder[0])


def _around_masks(masked: str, spans: list[_Span]) -> list[_Span]:
    """What is left of the matches outside the masks; only a user's own pattern reaches into one."""
    return [
        (start + piece.start(), start + piece.end(), rank)
        for start, end, rank in spans
        for piece in _UNMASKED.finditer(masked[start:end])
    ]


def _merged(spans: list[_Span]) -> list[_Span]:
    merged: list[_Span] = []
    for start, end, rank in sorted(spans):
        if merged and start < merged[-1][1]:
            before = merged[-1]
            merged[-1] = (before[0], max(before[1], end), min(before[2], rank))
        else:
            merged.append((start, end, rank))
    return merged


def _free_key(taken: dict[Any, Any], key: Any) -> Any:
    """Two keys may become the same placeholder; neither entry may be lost for it."""
    if key not in taken or not isinstance(key, str):
        return key
    number = 2
    while f"{key}#{number}" in taken:
        number += 1
    return f"{key}#{number}"


_UNMASKED = re.compile(r"[^\0]+")
_OPEN = object()
_CONTAINERS: tuple[Any, ...] = (dict, list, tuple, set, frozenset)
_PRINTABLE = frozenset(
    {decimal.Decimal, uuid.UUID, datetime.datetime, datetime.date, datetime.time, datetime.timedelta, complex}
)

# Characters that look like ASCII or like nothing, and would carry a number past the rules.
_INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff"
_DIGIT_ZEROS = (0x0660, 0x06F0, 0x0966, 0x09E6, 0x0E50, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6)
_LOOKALIKES = (
    {full: chr(full - 0xFEE0) for full in range(0xFF01, 0xFF5F)}
    | {zero + digit: str(digit) for zero in _DIGIT_ZEROS for digit in range(10)}
    | dict.fromkeys((0x2010, 0x2011, 0x2012, 0x2013, 0x2212, 0xFE58, 0xFE63), "-")
    | dict.fromkeys((0x00A0, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000), " ")
)
_HIDING = re.compile(f"[{_INVISIBLE}{''.join(map(chr, _LOOKALIKES))}]")
_HIDDEN = re.compile(f"[{_INVISIBLE}]")


def _unhide(text: str) -> tuple[str, Sequence[int]]:
    """The text as a reader sees it, and for each of its characters where that stands in the original."""
    plain = text.translate(_LOOKALIKES)
    if _HIDDEN.search(plain) is None:
        return plain, range(len(plain))
    origin = [at for at, character in enumerate(plain) if character not in _INVISIBLE]
    return _HIDDEN.sub("", plain), origin
