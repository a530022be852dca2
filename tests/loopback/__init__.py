"""A model provider on 127.0.0.1: tests drive the real OpenAI and Anthropic clients against it.

What a test scripts is a `Turn`, in provider-neutral words (`turns`). The wire modules turn it into what each
provider would send (`openai_wire`, `responses_wire`, `anthropic_wire`), `endpoints` says which path speaks which
wire format, `handler` moves the bytes, and `LoopbackServer` holds the script and the count of requests.
"""

from tests.loopback.server import LoopbackServer, Request
from tests.loopback.turns import NO_USAGE, ToolCall, Turn, TurnUsage

__all__ = ["NO_USAGE", "LoopbackServer", "Request", "ToolCall", "Turn", "TurnUsage"]
