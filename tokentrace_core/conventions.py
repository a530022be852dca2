"""Where each source of usage reports keeps its counters: one table of data.

A row is a shape on the wire, a source is the list of shapes it sends. Nothing here is code, so that a new provider
is a new row, and what a row says can be held against the provider's own page.

A path names keys from the outside in: `prompt_tokens_details.cached_tokens`. `details[modality=AUDIO].tokenCount`
is about a list: the `tokenCount` of those items whose `modality` is AUDIO, summed.
"""

from __future__ import annotations

from typing import NamedTuple

Paths = tuple[str, ...]


class Convention(NamedTuple):
    """Where one shape keeps each counter. Several paths: the first that is present, unless said otherwise."""

    input: Paths
    input_includes_cache: bool
    output: Paths
    input_beside: Paths = ()
    """More of the prompt, which `input` leaves out; summed."""
    reads: Paths = ()
    writes_5m: Paths = ()
    writes_1h: Paths = ()
    writes_total: Paths = ()
    """The sum of all writes, where the source gives it beside (or instead of) the parts."""
    writes_unsplit: Paths = ()
    """Writes whose lifetime the source does not tell, beside the others; summed."""
    reasoning: Paths = ()
    reasoning_beside_output: bool = False
    """Whether `output` leaves out the reasoning. A `total` that says otherwise is believed."""
    total: Paths = ()
    """Prompt and reply together, to check the reading against."""
    input_audio: Paths = ()
    output_audio: Paths = ()
    web_searches: Paths = ()
    tier: Paths = ()
    """How fast the provider served it, in words: priority, flex, batch. Keys of the report itself, not paths."""
    tier_counts: Paths = ()
    """Counters that are there for one tier only; their last name is the tier's."""
    marks: Paths = ()
    """Keys by which the shape is known, if `input` and `output` do not tell it from another."""

    @property
    def known_by(self) -> Paths:
        return self.marks or (*self.input, *self.output)


CONVENTIONS: dict[str, Convention] = {
    # `usage_metadata` of an AIMessage. A plain Anthropic answer has its writes under ephemeral_* and
    # cache_creation 0; a streamed one has only cache_creation: hence their sum. OpenAI's flex and priority
    # tiers change the names of the details.
    "langchain": Convention(
        input=("input_tokens",),
        input_includes_cache=True,
        output=("output_tokens",),
        reads=(
            "input_token_details.cache_read",
            "input_token_details.priority_cache_read",
            "input_token_details.flex_cache_read",
        ),
        writes_5m=("input_token_details.ephemeral_5m_input_tokens",),
        writes_1h=("input_token_details.ephemeral_1h_input_tokens",),
        writes_unsplit=(
            "input_token_details.cache_creation",
            "input_token_details.priority_cache_creation",
            "input_token_details.flex_cache_creation",
        ),
        reasoning=(
            "output_token_details.reasoning",
            "output_token_details.priority_reasoning",
            "output_token_details.flex_reasoning",
        ),
        total=("total_tokens",),
        input_audio=("input_token_details.audio",),
        output_audio=("output_token_details.audio",),
        tier_counts=("output_token_details.priority", "output_token_details.flex"),
    ),
    # Chat Completions: OpenAI, and nearly everybody who speaks like it. litellm and OpenRouter add Anthropic's
    # cache writes by lifetime, DeepSeek and Moonshot have a counter of their own for reads, and xAI leaves the
    # reasoning out of completion_tokens, which only its total tells.
    "openai chat": Convention(
        input=("prompt_tokens",),
        input_includes_cache=True,
        output=("completion_tokens",),
        reads=(
            "prompt_tokens_details.cached_tokens",
            "prompt_cache_hit_tokens",
            "cached_tokens",
            "cache_read_input_tokens",
        ),
        writes_5m=("prompt_tokens_details.cache_creation_token_details.ephemeral_5m_input_tokens",),
        writes_1h=("prompt_tokens_details.cache_creation_token_details.ephemeral_1h_input_tokens",),
        writes_total=(
            "prompt_tokens_details.cache_write_tokens",
            "prompt_tokens_details.cache_creation_tokens",
            "cache_creation_input_tokens",
        ),
        reasoning=("completion_tokens_details.reasoning_tokens",),
        total=("total_tokens",),
        input_audio=("prompt_tokens_details.audio_tokens",),
        output_audio=("completion_tokens_details.audio_tokens",),
        web_searches=("num_search_queries", "server_tool_use.web_search_requests"),
        tier=("speed", "service_tier"),
    ),
    "openai responses": Convention(
        input=("input_tokens",),
        input_includes_cache=True,
        output=("output_tokens",),
        reads=("input_tokens_details.cached_tokens",),
        writes_5m=("input_tokens_details.cache_write_tokens",),
        reasoning=("output_tokens_details.reasoning_tokens",),
        total=("total_tokens",),
        input_audio=("input_tokens_details.audio_tokens",),
        output_audio=("output_tokens_details.audio_tokens",),
        tier=("service_tier",),
    ),
    # The Messages API, alone in leaving the cache out of the input, and in charging for web searches here.
    "anthropic": Convention(
        input=("input_tokens",),
        input_includes_cache=False,
        output=("output_tokens",),
        reads=("cache_read_input_tokens",),
        writes_5m=("cache_creation.ephemeral_5m_input_tokens",),
        writes_1h=("cache_creation.ephemeral_1h_input_tokens",),
        writes_total=("cache_creation_input_tokens",),
        reasoning=("output_tokens_details.thinking_tokens",),
        web_searches=("server_tool_use.web_search_requests",),
        tier=("speed", "service_tier"),
        marks=("cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation", "server_tool_use"),
    ),
    # `usageMetadata` of generateContent. Its total is prompt + tool results + candidates + thoughts; but the
    # candidates of some Vertex models hold the thoughts already, which again only the total tells.
    "gemini": Convention(
        input=("promptTokenCount",),
        input_includes_cache=True,
        output=("candidatesTokenCount", "responseTokenCount"),
        input_beside=("toolUsePromptTokenCount",),
        reads=("cachedContentTokenCount",),
        reasoning=("thoughtsTokenCount",),
        reasoning_beside_output=True,
        total=("totalTokenCount",),
        input_audio=("promptTokensDetails[modality=AUDIO].tokenCount",),
        output_audio=(
            "candidatesTokensDetails[modality=AUDIO].tokenCount",
            "responseTokensDetails[modality=AUDIO].tokenCount",
        ),
        tier=("trafficType",),
    ),
    # The same as Google's Python client has it: `usage_metadata`.
    "gemini python": Convention(
        input=("prompt_token_count",),
        input_includes_cache=True,
        output=("candidates_token_count", "response_token_count"),
        input_beside=("tool_use_prompt_token_count",),
        reads=("cached_content_token_count",),
        reasoning=("thoughts_token_count",),
        reasoning_beside_output=True,
        total=("total_token_count",),
        input_audio=("prompt_tokens_details[modality=AUDIO].token_count",),
        output_audio=(
            "candidates_tokens_details[modality=AUDIO].token_count",
            "response_tokens_details[modality=AUDIO].token_count",
        ),
        tier=("traffic_type",),
    ),
    # Bedrock's Converse: like Anthropic's, whichever model answers.
    "converse": Convention(
        input=("inputTokens",),
        input_includes_cache=False,
        output=("outputTokens",),
        reads=("cacheReadInputTokens", "cacheReadInputTokenCount"),
        writes_5m=("cacheDetails[ttl=5m].inputTokens",),
        writes_1h=("cacheDetails[ttl=1h].inputTokens",),
        writes_total=("cacheWriteInputTokens", "cacheWriteInputTokenCount"),
        total=("totalTokens",),
    ),
    "ollama": Convention(input=("prompt_eval_count",), input_includes_cache=True, output=("eval_count",)),
    # What CrewAI makes of OpenAI's, Azure's, Anthropic's (whose input here includes the cache) and Gemini's report.
    # For its lifetimes it has no counters.
    "crewai native": Convention(
        input=("prompt_tokens", "input_tokens", "prompt_token_count"),
        input_includes_cache=True,
        output=("completion_tokens", "output_tokens"),
        reads=("cached_prompt_tokens",),
        writes_total=("cache_creation_tokens",),
        reasoning=("reasoning_tokens",),
        total=("total_tokens",),
        marks=("cached_prompt_tokens", "cache_creation_tokens", "reasoning_tokens"),
    ),
}

#: The shapes that a source sends, those first that are known by what no other has.
SOURCES: dict[str, Paths] = {
    "langchain": ("langchain",),
    "openai": ("openai chat", "openai responses"),
    "anthropic": ("anthropic",),
    "gemini": ("gemini", "gemini python"),
    "bedrock": ("converse",),
    "ollama": ("ollama",),
    "litellm": ("openai chat", "openai responses"),
    # `LLMCallCompletedEvent.usage`: what CrewAI makes itself, or what Bedrock or litellm gave it.
    "crewai": ("converse", "crewai native", "openai chat", "openai responses"),
    # Any provider's own report, as LlamaIndex hands it on.
    "any": ("converse", "gemini", "gemini python", "ollama", "openai chat", "anthropic", "openai responses"),
}
