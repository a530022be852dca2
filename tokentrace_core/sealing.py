"""Where every text enters a span: payloads are sealed, names and facts redacted at once.

Long texts (messages, arguments, results, errors) become `Payload`s, redacted when they are read, off the
agent's thread. Short ones (names, tags, attributes) are plain values on the span, so they are redacted here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokentrace_core import redaction_logs
from tokentrace_core.errors import BudgetExceeded
from tokentrace_core.payload import Payload, canonical_json, snapshot
from tokentrace_core.prompts import Message
from tokentrace_core.redact import Redactor
from tokentrace_core.redaction_policy import Field, Policy
from tokentrace_core.shield import describe_error
from tokentrace_core.spans import Span


def identifier(value: Any) -> str:
    """A name or id as text, whatever was given as one; no code of an unknown type is run for it."""
    if isinstance(value, str):
        return value
    plain = snapshot(value)
    return plain if isinstance(plain, str) else canonical_json(plain)


#: Characters of a name. It is redacted on the agent's thread, repeated in every report, and nobody reads more of it.
_LONGEST_NAME = 2_000


class Sealer:
    """Brings texts into the form in which spans hold them. `result_chars`: how much of a result is kept.

    A field's texts are read through the redactor, or through what the user has decided for that field.
    """

    def __init__(self, redactor: Redactor, result_chars: int) -> None:
        self._redactor = redactor
        self._result_chars = result_chars
        redaction_logs.watch(redactor)

    def seal(self, value: Any, field: Field = "input") -> Payload | None:
        return None if value is None else Payload(value, self._redactor.policy(field))

    def message(self, message: Message) -> Payload:
        return Payload(message, self._redactor.policy("messages"))

    def result(self, value: Any, field: Field = "result") -> Payload | None:
        if value is None:
            return None
        return Payload(value, self._redactor.policy(field), max_text=self._result_chars)

    def name(self, text: Any) -> str | None:
        return None if text is None else self._named(text, self._redactor)

    def names(self, texts: Any) -> list[str]:
        many = texts if isinstance(texts, list | tuple | set | frozenset) else [texts]
        policy = self._redactor.policy("tags")
        return [self._named(text, policy) for text in many if text is not None]

    @staticmethod
    def _named(given: Any, policy: Policy) -> str:
        text = identifier(given)
        if len(text) <= _LONGEST_NAME:
            return policy.redact(text)
        return Payload(text, policy, max_text=_LONGEST_NAME).text

    def person(self, given: Any) -> str:
        """A user's id."""
        return self._redactor.person(identifier(given))

    def session(self, given: Any) -> str:
        """A session's id."""
        return self._redactor.session(identifier(given))

    def facts(self, facts: Mapping[str, Any] | None) -> dict[str, Any]:
        """Attributes, parameters, metadata: what is None is left out."""
        if not facts or not isinstance(facts, Mapping):
            return {}
        plain = snapshot({name: fact for name, fact in facts.items() if fact is not None})
        policy = self._redactor.policy("metadata")
        if policy is not self._redactor and isinstance(plain, dict):
            return {self._redactor.redact(name): policy.redact_value(fact) for name, fact in plain.items()}
        redacted = self._redactor.redact_value(plain)
        return redacted if isinstance(redacted, dict) else {}

    def blame(self, span: Span, error: BaseException) -> None:
        """Write on the span why it failed: the type, and the text with its causes."""
        stopped = isinstance(error, BudgetExceeded)
        span.error_type = "budget_exceeded" if stopped else self.name(type(error).__name__)
        span.error = self.result(describe_error(error), "error")
