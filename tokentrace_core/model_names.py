"""One model under many names: what gateways, clients and frameworks put before and behind it.

Each name is a list of questions to the price list, the most particular first. What is stripped here never changes
the price; a suffix that does (`:free`, a fine-tuned `ft:`) is left, so that the answer is "unknown" and not wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

#: Providers whose name says which client was used, not whose model answered.
_SPEAKS_FOR_OTHERS = frozenset({"azure_openai", "litellm", "openai", "openai_compatible", "unknown"})
#: What OpenRouter and others append for a way of asking; the tokens cost the same.
_ASKED_SO = re.compile(r":(thinking|nitro|floor|exacto|extended|beta|online|latest)$")
#: What changes the price to one that no list has: a gift, or a subscription.
_NOT_FOR_SALE = re.compile(r"(:free|[:-]cloud)$")
#: Bedrock's ids, of which the list wants to be told that they are: [region.]maker.model.
_BEDROCK = re.compile(
    r"^(arn:aws|(?:us|eu|apac|jp|au|ca|global|us-gov)\.|(?:anthropic|amazon|meta|mistral|cohere|ai21|deepseek|qwen)\.)"
)
_EMBEDDING = re.compile(r"^text-embedding-(3|ada)")
_IN_FRONT = re.compile(r"^(models|converse|invoke|publishers/[^/]+/models|projects/.*/models)/")
#: pydantic-ai's and LangChain's "provider:model".
_PROVIDER_COLON = re.compile(r"^([a-z][a-z0-9_-]*):(?=[a-z])")

Way = tuple[str, str | None]


def spellings(model: str, provider: str | None) -> list[Way]:
    """The ways to ask for a model, as (name, provider); best first."""
    return list(dict.fromkeys(_ways(model.strip(), provider)))


def _ways(model: str, provider: str | None) -> Iterator[Way]:
    if _NOT_FOR_SALE.search(model):
        yield model.removeprefix("openrouter/"), "openrouter"
        return
    yield from _as_it_is(model, provider)
    plain = _IN_FRONT.sub("", _ASKED_SO.sub("", model))
    if plain != model:
        yield from _as_it_is(plain, provider)
    if (named := _PROVIDER_COLON.match(plain)) and not plain.startswith("ft:"):
        yield from _as_it_is(plain[named.end() :], _GATEWAYS.get(named[1], named[1]))


def _as_it_is(model: str, provider: str | None) -> Iterator[Way]:
    if provider:
        yield model, provider
    if _BEDROCK.match(model):
        yield model, "aws"
    if _EMBEDDING.match(model):
        yield model, "openai"
    if "/" in model:
        yield model, "litellm"
        prefix, _, bare = model.partition("/")
        yield bare, prefix
        yield bare, provider
        yield bare, None
    elif not provider or provider in _SPEAKS_FOR_OTHERS:
        yield model, None


#: Of "provider:model", the names that the list does not know.
_GATEWAYS = {
    "google-gla": "google",
    "google-vertex": "google",
    "google_genai": "google",
    "bedrock_converse": "aws",
    "openai-responses": "openai",
    "openai-chat": "openai",
}
