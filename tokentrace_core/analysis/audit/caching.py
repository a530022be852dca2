"""What providers' prompt caches do, as far as an audit has to know: a table.

From the providers' pages: OpenAI caches by itself prompts of 1,024 tokens and more, in steps of 128, and keeps them for 5 to 10
minutes after the last use; Anthropic caches what is marked with cache_control, from 1,024 tokens on (its smaller models from 2,048 or
4,096), for 5 minutes after the last use. Others are taken to be no more generous than that.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

#: Five minutes after its last use a cached prefix may be gone. Some keep it longer; who relies on that is disappointed.
LIFETIME_US = 5 * 60 * 1_000_000


class CacheRule(NamedTuple):
    """What a provider's cache takes."""

    minimum: int = 1_024
    """Tokens from which on a prefix is cached at all."""
    step: int = 1
    """It is cached in multiples of so many tokens."""
    automatic: bool = False
    """Whether nobody has to ask for it."""

    def cacheable(self, tokens: int) -> int:
        """How much of a prefix of so many tokens the cache would have."""
        return 0 if tokens < self.minimum else tokens - tokens % self.step


_OPENAI = CacheRule(step=128, automatic=True)
#: A part of the model's name -> what its cache takes; the first that is in it.
_RULES = {
    "haiku-4": CacheRule(minimum=4_096),
    "opus-4-5": CacheRule(minimum=4_096),
    "opus-4-6": CacheRule(minimum=4_096),
    "haiku": CacheRule(minimum=2_048),
    "claude": CacheRule(),
    "gpt-": _OPENAI,
    "chatgpt": _OPENAI,
    "o1": _OPENAI,
    "o3": _OPENAI,
    "o4": _OPENAI,
}


@lru_cache(1_000)
def rule_of(model: str | None) -> CacheRule:
    """The rule for a model, by its name."""
    name = (model or "").lower()
    return next((rule for part, rule in _RULES.items() if part in name), CacheRule())
