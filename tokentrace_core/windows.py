"""How many tokens a model takes, prompt and reply: the price list's word, and ours where it has none or a round one."""

from __future__ import annotations

from tokentrace_core.price_list import Listed

#: By the list's own id of the model, whoever sells it. The providers' model pages, read in November 2026.
_WINDOWS: dict[str, int] = {
    # openai: the list rounds the first three
    "gpt-4.1": 1_047_576,
    "gpt-4.1-mini": 1_047_576,
    "gpt-4.1-nano": 1_047_576,
    "gpt-4.5-preview": 128_000,
    "text-embedding-3-small": 8_191,
    "text-embedding-3-large": 8_191,
    # google: the list has none for the first four
    "gemini-2.5-pro": 1_048_576,
    "gemini-3-pro-preview": 1_048_576,
    "gemini-3.1-pro-preview": 1_048_576,
    "gemini-embedding-001": 2_048,
    "gemini-2.0-flash": 1_048_576,
    "gemini-2.5-flash-lite": 1_048_576,
    "gemma-3": 131_072,
    # mistral
    "mistral-large": 131_072,
    "mistral-medium-latest": 131_072,
    "mistral-medium-3-1": 131_072,
    "mistral-small-latest": 131_072,
    "mistral-nemo": 131_072,
    "pixtral-large": 131_072,
    "magistral-medium": 131_072,
    # llama, as groq serves it
    "llama-3.3-70b-versatile": 131_072,
    "llama-3.1-8b-instant": 131_072,
    "meta-llama/llama-4-scout-17b-16e-instruct": 131_072,
    # cohere, deepseek (the list has the window of the models that had these names before)
    "command-a": 256_000,
    "command-r": 128_000,
    "command-r-plus": 128_000,
    "command-r7b": 128_000,
    "deepseek-chat": 131_072,
    "deepseek-reasoner": 131_072,
    # zai
    "GLM-4.5": 131_072,
    "GLM-4.6": 200_000,
}


def window_of(listed: Listed | None) -> int | None:
    """The context window of a model of the list; None where nobody says."""
    return None if listed is None else _WINDOWS.get(listed.id, listed.context_window)
