"""The real clients, pointed at a loopback server, and one question to ask each of them."""

from typing import Any

import anthropic
import openai
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI

from tests.loopback.server import LoopbackServer

QUESTION = "Will it rain?"
WIRES = ("chat", "responses", "anthropic")


def openai_client(server: LoopbackServer, **settings: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.openai_url, api_key="test", **settings)


def anthropic_client(server: LoopbackServer, **settings: Any) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=server.anthropic_url, api_key="test", **settings)


def chat_openai(server: LoopbackServer, **settings: Any) -> ChatOpenAI:
    return ChatOpenAI(model="gpt-4o-mini", base_url=server.openai_url, api_key="test", **settings)


def chat_anthropic(server: LoopbackServer, **settings: Any) -> ChatAnthropic:
    return ChatAnthropic(model="claude-haiku-4-5", base_url=server.anthropic_url, api_key="test", **settings)


def langchain_model(server: LoopbackServer, wire: str) -> BaseChatModel:
    if wire == "anthropic":
        return chat_anthropic(server)
    return chat_openai(server, use_responses_api=wire == "responses", stream_usage=True)


def ask_openai(client: openai.OpenAI, **more: Any) -> Any:
    return client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": QUESTION}], **more
    )


def ask_anthropic(client: anthropic.Anthropic, **more: Any) -> Any:
    return client.messages.create(
        model="claude-haiku-4-5", max_tokens=100, messages=[{"role": "user", "content": QUESTION}], **more
    )
