"""The one choke point for privacy: text goes in, the same text without secrets comes out.

All rules read the same text, and what any of them found is masked, so no rule can hide a secret from another by
rewriting half of it. Where finds overlap, the whole stretch goes, under the first rule's placeholder. What is masked is
opaque from then on: the text between is searched again, until nothing new is found. A placeholder that was in the text
before counts as masked too. So redacting twice equals redacting once, and a secret glued to another secret is found
once the other one is gone.

It fails closed. Whatever goes wrong in a rule, the answer is `[REDACTION_FAILED len=N]` and never the text.

What is private stands in `redaction_rules.py` and the tables behind it; nothing here knows a card from a phone. How
text is folded before the rules read it: `redaction_text.py`; how they are tried: `redaction_search.py`; structures:
`redaction_walk.py`; text in pieces: `redaction_stream.py`; what happens to which field: `redaction_policy.py`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from tokentrace_core.redaction_labels import telling_key
from tokentrace_core.redaction_own import own_rules
from tokentrace_core.redaction_policy import Field, Policy, Treatment, Treatments
from tokentrace_core.redaction_rules import DEFAULT_RULES, Rule
from tokentrace_core.redaction_scans import telling_words
from tokentrace_core.redaction_search import RuleSearch, Span
from tokentrace_core.redaction_sheet import Sheet
from tokentrace_core.redaction_stream import RedactorStream
from tokentrace_core.redaction_text import MASK, Folded
from tokentrace_core.redaction_walk import DOCUMENT_BEGINS, Walk, redacted_document

__all__ = ["DEFAULT_RULES", "Find", "Redactor", "RedactorStream", "Rule"]

_MEMO_LENGTH = 256
_MEMO_ENTRIES = 4096
_PASSES = 8
_DOCUMENT_PASSES = 4
#: Of JSON inside JSON; what is deeper is redacted as text.
_NESTING = 3
#: Marks in a list of finds what was masked before.
_BEFORE = -1


class Find(NamedTuple):
    """One secret: the rule that named it, its placeholder, and where it stands. Never the secret itself."""

    rule: str
    placeholder: str
    start: int
    end: int


class Redactor:
    """Replaces secrets in text and in JSON-like structures. Safe to share between threads.

    `extra_patterns` come after `rules`: either ready `Rule`s or `{"EMPLOYEE_ID": r"E[0-9]{6}"}`, which replaces with
    `[EMPLOYEE_ID_REDACTED]`. Raises ValueError for a pattern that does not compile. `allow`: texts, or patterns of
    texts, that are never masked: `["support@example.com", re.compile(r"10\\.0\\.\\d+\\.\\d+")]`.
    `fields`: what becomes of a field, `{"output": "drop", "user_id": "hash"}`: `redact` (usual), `store` (as it is),
    `hash` (keyed, see `key`) or `drop`. `key`: of the hashes; else TOKENTRACE_HASH_KEY, else a file of this machine.
    `failures` counts the texts that had to be dropped because a rule failed; it is worth an alert.
    """

    def __init__(
        self,
        extra_patterns: Mapping[str, str] | Sequence[Rule] = (),
        *,
        rules: Sequence[Rule] = DEFAULT_RULES,
        allow: Iterable[str | re.Pattern[str]] = (),
        fields: Mapping[Field, Treatment] | None = None,
        key: bytes | str | None = None,
    ) -> None:
        self._rules = (*rules, *own_rules(extra_patterns))
        self._search = RuleSearch(self._rules)
        self._allowed = [re.compile(re.escape(one)) if isinstance(one, str) else one for one in allow]
        self._treatments = Treatments(self, fields or {}, key)
        self._opaque, self._bracketed = _opaque({rule.placeholder for rule in self._rules})
        # Only clean texts are remembered: a memo of secrets would be one more place to leak them.
        self._clean: set[str] = set()
        self.failures = 0

    def redact(self, text: str) -> str:
        """`text` with every secret replaced by its placeholder. Never raises."""
        return self.redact_inside(text)

    def redact_value(self, value: Any) -> Any:
        """The same for dict, list, tuple, set, bytes and what they hold, keys included; types are kept, and of
        their subclasses the base type.

        What stands under a telling key (`password`, `api_key`, ...) goes as a whole. A number whose digits are a
        secret becomes the placeholder. Cycles, extreme depth and types nobody vouches for become
        `[REDACTION_FAILED len=0]`. Never raises.
        """
        try:
            return Walk(self).value(value)
        except Exception:
            return self.failed(0)

    def stream(self) -> RedactorStream:
        """A redactor for text that arrives in pieces; see `RedactorStream`."""
        return RedactorStream(self)

    def finds(self, text: str) -> list[Find]:
        """What `redact` would mask, in order, and why; a document's telling names aside. Raises what a rule raises."""
        return [
            Find(self._rules[rank].name, self._rules[rank].placeholder, start, end)
            for start, end, rank in self.spans(text)
            if rank != _BEFORE
        ]

    def policy(self, field: Field) -> Policy:
        """What stands in for this redactor in a field: itself, unless `fields` says otherwise."""
        return self._treatments.of(field)

    def pseudonym(self, text: str) -> str:
        """A keyed hash: equal for equal texts, and without the key nobody can try out whose it is."""
        return self._treatments.pseudonym(text)

    def person(self, user: str) -> str:
        """A user's id: its pseudonym if `fields` asks for that, or if the id itself is private."""
        return self._treatments.person(user)

    def session(self, name: str) -> str:
        """A session's id: its pseudonym if the id is private, unless users' ids are stored as they are."""
        return self._treatments.session(name)

    # --- for the modules around this one ---

    def redact_inside(self, text: str, name: str = "", nesting: int = 0) -> str:
        """`text` as what stands under `name`, which may say what its digits are, so deep in JSON inside JSON."""
        if type(text) is not str:
            if not isinstance(text, str):
                return self.failed(0)
            text = str.__str__(text)
        short = len(text) <= _MEMO_LENGTH and not name
        if short and text in self._clean:
            return text
        try:
            redacted = self._redacted(self._labelled(text, name) if name else text, nesting)
        except Exception:
            return self.failed(len(text))
        if short and not nesting and redacted == text:
            self._remember(text)
        return redacted

    def spans(self, text: str) -> list[Span]:
        """What is masked, sorted and apart, with the rank of the rule. Raises what a rule raises."""
        return self._settled(text)[0]

    def render(self, text: str, spans: Iterable[Span], start: int = 0, end: int | None = None) -> str:
        """`text[start:end]` with placeholders for the spans; one that began before is there up to its end."""
        pieces: list[str] = []
        at, stop = start, len(text) if end is None else end
        for first, last, rank in spans:
            if last <= start or first >= stop:
                continue
            pieces += (
                text[at : max(first, at)],
                text[first:last] if rank == _BEFORE else self._rules[rank].placeholder,
            )
            at = last
        return "".join((*pieces, text[at:stop]))

    def window(self) -> int:
        """How many characters around a place decide what is masked there; longer finds are held back as they grow."""
        return 512 if all(rule.window <= 512 or rule.window > 4096 for rule in self._rules) else 4096

    def failed(self, length: int) -> str:
        """What stands for a text that had to be dropped: its length; counted in `failures`."""
        self.failures += 1
        return f"[REDACTION_FAILED len={length}]"

    def _remember(self, text: str) -> None:
        if len(self._clean) >= _MEMO_ENTRIES:
            self._clean.clear()
        self._clean.add(text)

    def _labelled(self, text: str, name: str) -> str:
        label = f"{name}: "
        return self.render(
            text,
            [
                (max(start - len(label), 0), end - len(label), rank)
                for start, end, rank in self.spans(label + text)
                if end > len(label)
            ],
        )

    def _redacted(self, text: str, nesting: int) -> str:
        for _ in range(_DOCUMENT_PASSES):
            spans, sheet = self._settled(text)
            text = self.render(text, spans) if spans else text
            document = None
            if nesting < _NESTING and text[:1] in DOCUMENT_BEGINS and _has_telling_name(sheet):
                document = redacted_document(text, self, nesting)
            if document is None:
                return text
            text = document
        raise ValueError("redaction does not settle")

    def _settled(self, text: str) -> tuple[list[Span], Sheet]:
        """The spans, and the text in which nothing more is found."""
        masked: list[Span] = []
        if not self._bracketed or "[" in text:
            masked = [(*found.span(), _BEFORE) for found in self._opaque.finditer(text)]
        if MASK in text:
            masked = sorted(masked + [(at, at + 1, _BEFORE) for at, sign in enumerate(text) if sign == MASK])
        for _ in range(_PASSES):
            folded = Folded(text, [(start, end) for start, end, _ in masked])
            sheet = Sheet(folded.text)
            new = self._new_spans(text, folded, sheet)
            if not new:
                return masked, sheet
            masked = sorted(masked + new)
        # Only text built for it uncovers a new secret in pass after pass.
        raise ValueError("redaction does not settle")

    def _new_spans(self, text: str, folded: Folded, sheet: Sheet) -> list[Span]:
        found = self._search.look(sheet)
        new: list[Span] = []
        for start, end, rank in _merged(found):
            if folded.text.find(MASK, start, end) < 0:
                new.append((*folded.origin(start, end), rank))
            else:
                pieces = _UNMASKED.finditer(folded.text, start, end)
                new += [(*folded.origin(*piece.span()), rank) for piece in pieces]
        return self._not_allowed(text, new) if new and self._allowed else new

    def _not_allowed(self, text: str, spans: list[Span]) -> list[Span]:
        allowed = sorted(found.span() for pattern in self._allowed for found in pattern.finditer(text))
        begins = [first for first, _ in allowed]
        # Of those that begin so far, the one that ends last.
        ends = list(accumulate((last for _, last in allowed), max))
        return [
            (start, end, rank)
            for start, end, rank in spans
            if not (before := bisect_right(begins, start)) or ends[before - 1] < end
        ]


def _opaque(placeholders: set[str]) -> tuple[re.Pattern[str], bool]:
    """What finds placeholders, and whether all of them begin with a bracket, so that this one letter need be found."""
    inner = sorted(re.escape(one[1:]) for one in placeholders if one.startswith("["))
    ours = r"SECRET_REDACTED\]|REDACTION_FAILED len=[0-9]+\]|DROPPED len=[0-9]+\]|HASH_[0-9a-f]{32}\]"
    pattern = rf"\[(?:{'|'.join([*inner, ours])})"
    bare = sorted(re.escape(one) for one in placeholders if not one.startswith("["))
    return re.compile("|".join([*bare, pattern])), not bare


def _has_telling_name(sheet: Sheet) -> bool:
    return any(telling_key(sheet.text[start:end]) for start, end in sheet.regions(telling_words))


def _merged(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end, rank in sorted(spans):
        if merged and start < merged[-1][1]:
            before = merged[-1]
            merged[-1] = (before[0], max(before[1], end), min(before[2], rank))
        else:
            merged.append((start, end, rank))
    return merged


#: What is left of a find outside the masks; only a user's own pattern reaches into one.
_UNMASKED = re.compile(r"[^\0]+")
