"""What can be tried on recorded runs: each change is a plain value with a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tokentrace_core.analysis.audit.calls import Call


@dataclass(frozen=True)
class RetryCap:
    """At most so many retries of the same tool with the same arguments, or of the same prompt, after it failed.

    The model calls that asked for those beyond, and for nothing else, are not made; what they left in later prompts is not sent.
    """

    retries: int = 2
    assumes: ClassVar[str] = "what they left in later prompts is estimated by its bytes"

    @property
    def name(self) -> str:
        return f"at most {self.retries} retries"


@dataclass(frozen=True)
class TruncateResults:
    """No tool's result is longer than so many tokens, in any prompt that carries it."""

    tokens: int = 2_000
    assumes: ClassVar[str] = "a message's tokens are estimated by its bytes; the model answers as it did"

    @property
    def name(self) -> str:
        return f"tool results cut at {self.tokens:,} tokens"


@dataclass(frozen=True)
class NoPreamble:
    """No conversational filler before the answer, neither when it is generated nor when it is sent again."""

    assumes: ClassVar[str] = "filler's tokens are estimated by its bytes"

    @property
    def name(self) -> str:
        return "no filler before answers"


@dataclass(frozen=True)
class CachePrefix:
    """What an earlier prompt began with, sent within the cache's life, is read from the cache; whoever sent it first pays for writing it."""

    assumes: ClassVar[str] = "a message's tokens are estimated by its bytes; the cache misses nothing"

    @property
    def name(self) -> str:
        return "prefixes cached"


@dataclass(frozen=True)
class Model:
    """Another model for a step, an agent or a model."""

    of: str
    to: str
    assumes: ClassVar[str] = "the other model needs as many tokens and steps; it may not"

    @property
    def name(self) -> str:
        return f"{self.to} for {self.of}"

    def is_for(self, call: Call) -> bool:
        """Whether the call is one of those."""
        return self.of in (call.step.name, call.step.agent, call.run.name, call.model, call.answered)


Change = RetryCap | TruncateResults | NoPreamble | CachePrefix | Model

#: What is tried if nothing is named.
USUAL: tuple[Change, ...] = (RetryCap(), TruncateResults(), CachePrefix(), NoPreamble())
