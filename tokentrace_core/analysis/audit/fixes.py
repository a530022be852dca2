"""What to do about each kind of waste, for each framework: a table.

The recommendations are those of the decision matrix (requirements.md S137) and of the four categories (S127).
"""

from __future__ import annotations

ANY = ""

#: Kind -> framework, or ANY -> what to change.
FIXES: dict[str, dict[str, str]] = {
    "retry_storm": {
        ANY: "Cap retries at 2 (3 attempts), with exponential backoff from 1 s to 5 s and jitter; retry only 429 and 503, and tell "
        "the model that the tool is unavailable instead of asking it again.",
        "langchain": "Cap it in the agent: ToolRetryMiddleware(max_retries=2, initial_delay=1.0, max_delay=5.0, jitter=True) retries the tool "
        "without asking the model again; with ToolCallLimitMiddleware(tool_name=…, run_limit=3) as a guard.",
        "llama-index": "Retry inside the tool function, at most twice (tenacity: stop_after_attempt(3), wait_exponential_jitter(1, 5)), and return "
        "“unavailable” to the agent afterwards.",
        "crewai": "Set max_retry_limit=2 on the Agent, retry inside the tool (at most twice, backoff 1-5 s), and set max_iter as a guard.",
    },
    "loop": {
        ANY: "Keep a set of (tool, arguments) per run and answer a repeated call from it; stop the run at the third.",
        "langchain": "Add ToolCallLimitMiddleware(run_limit=…) and a low recursion_limit; answer repeated calls from a cache in the tool.",
        "llama-index": "Pass a low max_iterations to run(), and answer repeated calls from a cache in the tool.",
        "crewai": "Leave Agent(cache=True) on so that a repeated call is answered from the cache, and lower max_iter.",
    },
    "fan_out": {
        ANY: "Put the shared payload first and the role after it, so that all sub-agents have one prefix; let one write it to the cache "
        "(cache_control) before the others start. Saves linearly with each sub-agent.",
        "langchain": "Send the payload as the first content block with cache_control (Anthropic: AnthropicPromptCachingMiddleware), the role after it; "
        "start one branch first, then fan out.",
        "llama-index": "Put the payload into the first ChatMessage with CachePoint (or cache_control in additional_kwargs), the role after it.",
        "crewai": "Put the payload into the first task's context once and let the other agents work on its summary; or give all agents "
        "one prefix and turn the provider's caching on.",
    },
    "refetch": {
        ANY: "Keep what does not change at the front of the prompt, behind cache_control (Anthropic) or simply first (OpenAI): read once, about "
        "90 % less for each further sending.",
        "langchain": "Read the file once into the system prompt and mark it: AnthropicPromptCachingMiddleware, or a content block with "
        "cache_control={'type': 'ephemeral'}.",
        "llama-index": "Read it once into the system prompt and set a CachePoint behind it.",
        "crewai": "Give the file as Knowledge or in the agent's backstory, so that it stands first and is the same in every call.",
    },
    "broken_cache": {
        ANY: "Restore a stable prefix: move what changes (time, ids, counters) from the start of the prompt to its end, and keep the order of "
        "tools and messages.",
    },
    "uncached_prefix": {
        ANY: "Turn the provider's prompt cache on for what is sent again: cache_control on the last stable message (Anthropic, 1,024 tokens and "
        "more); OpenAI caches by itself if the prefix is the same within minutes.",
        "langchain": "Add AnthropicPromptCachingMiddleware(ttl='5m') to the agent, or cache_control to the last stable message.",
        "llama-index": "Set a CachePoint behind the last stable message (Anthropic).",
        "crewai": "Use a model client that caches by itself, or pass cache_control in the LLM's additional parameters.",
    },
    "oversized_result": {
        ANY: "Return what the model needs: cut or summarise the result in the tool, page it, or store it and return a reference.",
        "langchain": "Cut the result in the tool (response_format='content_and_artifact' keeps the whole as an artifact), and clear old ones with "
        "ContextEditingMiddleware(edits=[ClearToolUsesEdit()]).",
        "llama-index": "Return a summary from the tool, and keep the whole in the workflow's Context.",
        "crewai": "Return a summary from the tool; Agent(respect_context_window=True) only helps when it is too late.",
    },
    "unused_tools": {
        ANY: "Take the tools out that are never called, or choose the few that a task needs before the call.",
        "langchain": "Pass fewer tools, or let LLMToolSelectorMiddleware(max_tools=…) choose.",
        "llama-index": "Pass fewer tools, or a tool_retriever that chooses per question.",
        "crewai": "Give each Agent or Task only the tools that it uses.",
    },
    "preamble": {
        ANY: "Say in the system prompt: “Answer directly. No greeting, no praise, no restating of the question.” Usually 10-15 % fewer output tokens.",
    },
    "context_rot": {
        ANY: "Trim or summarise what is carried from run to run, and begin each run with what it needs.",
        "langchain": "Add SummarizationMiddleware or trim_messages to what the checkpointer carries over.",
        "llama-index": "Give the Memory a token_limit, so that it is flushed or summarised.",
        "crewai": "Limit memory (short_term / entity) for this crew, or reset it: crewai reset-memories.",
    },
    "expensive_model": {
        ANY: "Give this step to the smaller model of the same provider; it asks for a few words.",
    },
}


def fix(kind: str, framework: str | None) -> str:
    """The advice for a framework, by the name that runs carry (langgraph counts as langchain)."""
    texts = FIXES[kind]
    name = (framework or "").lower().replace("_", "-").replace("langgraph", "langchain")
    return texts.get(name, texts[ANY])
