"""Which path speaks which wire format: the one table that joins the server to the pure functions."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.loopback import anthropic_wire, openai_wire, responses_wire
from tests.loopback.stream import Event
from tests.loopback.turns import Json, Turn, TurnUsage

OPENAI_MODELS = ("gpt-4o-mini", "gpt-4o")
ANTHROPIC_MODELS = ("claude-haiku-4-5", "claude-sonnet-4-5")


@dataclass(frozen=True)
class Endpoint:
    """How one path answers. An unscripted endpoint makes its own turn from the request."""

    body: Callable[[Turn, Json, int], Json]
    usage_sent: Callable[[Turn, Json], TurnUsage | None]
    error: Callable[[Turn, int], Json]
    request_id: Callable[[int], dict[str, str]]
    events: Callable[[Turn, Json, int], list[Event]] | None = None
    unscripted: Callable[[Json], Turn] | None = None


MODEL_ENDPOINTS = {
    "/v1/chat/completions": Endpoint(
        body=openai_wire.chat_completion,
        events=openai_wire.chat_completion_events,
        usage_sent=openai_wire.chat_usage_sent,
        error=openai_wire.error_body,
        request_id=openai_wire.request_id,
    ),
    "/v1/responses": Endpoint(
        body=responses_wire.response,
        events=responses_wire.response_events,
        usage_sent=responses_wire.response_usage_sent,
        error=openai_wire.error_body,
        request_id=openai_wire.request_id,
    ),
    "/v1/embeddings": Endpoint(
        body=openai_wire.embeddings,
        usage_sent=openai_wire.chat_usage_sent,
        error=openai_wire.error_body,
        request_id=openai_wire.request_id,
        unscripted=openai_wire.embedding_turn,
    ),
    "/v1/messages": Endpoint(
        body=anthropic_wire.message,
        events=anthropic_wire.message_events,
        usage_sent=anthropic_wire.message_usage_sent,
        error=anthropic_wire.error_body,
        request_id=anthropic_wire.request_id,
    ),
}

# No model runs for these: they are neither scripted nor counted.
FREE_ENDPOINTS: dict[str, Callable[[Json], Json]] = {"/v1/messages/count_tokens": anthropic_wire.token_count}


def models_body(asked_by_anthropic: bool) -> Json:
    """Both providers list their models under the same path, in different shapes."""
    if asked_by_anthropic:
        return anthropic_wire.models(ANTHROPIC_MODELS)
    return openai_wire.models(OPENAI_MODELS)
