"""The one choke point for privacy: text goes in, the same text without secrets comes out.

All rules read the same text, and what any of them found is replaced, so no rule can hide a secret from another by
rewriting half of it. Where finds overlap, the whole stretch goes, under the first rule's placeholder.
Placeholders are opaque from then on: the text between them is searched again, until nothing new is found. So redacting
twice equals redacting once, and a secret glued to another secret is found once the other one is gone.

It fails closed. Whatever goes wrong in a rule, the answer is `[REDACTION_FAILED len=N]` and never the text.

What is private stands in `redaction_rules.py`; nothing here knows a card from a phone. How the rules are tried on a
text stands in `redaction_search.py`, and what to do about text that arrives in pieces in `redaction_stream.py`.
"""

from __future__ import annotations

import datetime
import decimal
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from tokentrace_core.redaction_rules import DEFAULT_RULES, Rule, telling_key
from tokentrace_core.redaction_search import RuleSearch, Span
from tokentrace_core.redaction_stream import RedactorStream

__all__ = ["DEFAULT_RULES", "Redactor", "RedactorStream", "Rule"]

_MEMO_LENGTH = 256
_MEMO_ENTRIES = 4096
_PASSES = 8
_DEPTH = 128
_OWN_PATTERN_WINDOW = 256


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
        self._search = RuleSearch(self._rules)
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
        return sorted((start, end) for start, end, _ in self._search.find(text))

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
            return self._replace(text, self._search.find(text))
        masked = self._opaque.sub(_mask, text)
        return self._replace(text, _around_masks(masked, self._search.find(masked)))

    def _replace(self, text: str, spans: list[Span]) -> str:
        if not spans:
            return text
        pieces: list[str] = []
        at = 0
        for start, end, rank in _merged(spans):
            pieces += text[at:start], self._rules[rank].placeholder
            at = end
        return "".join((*pieces, text[at:]))

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


def _mask(placeholder: re.Match[str]) -> str:
    """As long as the placeholder, so that positions stay, and of a character that no built-in rule crosses."""
    return "\0" * len(placeholder[0])


def _around_masks(masked: str, spans: list[Span]) -> list[Span]:
    """What is left of the matches outside the masks; only a user's own pattern reaches into one."""
    return [
        (start + piece.start(), start + piece.end(), rank)
        for start, end, rank in spans
        for piece in _UNMASKED.finditer(masked[start:end])
    ]


def _merged(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
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
