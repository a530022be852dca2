"""Before a call there is only its text: an estimate that is half of the truth lets a budget be exceeded by as much."""

from __future__ import annotations

import hashlib
import importlib
import json
import random
import sys
import timeit
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_socket import disable_socket, enable_socket

from tokentrace_core import PriceBook, Usage, estimates
from tokentrace_core.estimates import count_tokens, estimate_tokens, estimate_tokens_of

BOOK = PriceBook()
PROSE = (
    "An agent resends its whole history at every step, so the tenth step of a run costs ten times what the first did. "
    "Nobody notices until the bill comes. A recorder that counts each call by itself, and says which of them could "
    "have been read from the cache, turns that bill into a list of causes; the rest is patience. "
) * 5
CHINESE = (
    "人工智能代理在执行任务时会反复调用语言模型,每次调用都会重新发送完整的对话历史,因此成本会随着步骤数量迅速增长。"
    "我们需要记录每次调用使用了多少令牌,以及它们的确切价格。如果预算用完,代理必须在下一次请求之前停止。"
) * 5
GERMAN = (
    "Ein Agent ruft bei der Ausführung einer Aufgabe das Sprachmodell immer wieder auf und sendet jedes Mal den "
    "gesamten Gesprächsverlauf erneut, weshalb die Kosten mit der Zahl der Schritte rasch wachsen. "
) * 5
numbers = random.Random(3)
RECORDS = json.dumps(
    [
        {
            "id": number,
            "order": f"A-{numbers.randrange(1_000, 99_999)}",
            "customer": {"name": "Ada Lovelace", "email": f"u{number}@example.com"},
            "items": [{"sku": f"SKU{numbers.randrange(999)}", "price": numbers.randrange(9_999) / 100}],
            "at": f"2026-11-{number % 28 + 1:02}T12:15:00Z",
        }
        for number in range(100)
    ],
    separators=(",", ":"),
)
FIGURES = json.dumps([[numbers.random() for _ in range(8)] for _ in range(100)], separators=(",", ":"))
TABLE = "\n".join(",".join(str(numbers.randrange(99_999)) for _ in range(10)) for _ in range(100))
CODE = Path(estimates.__file__).read_text()


def test_an_estimate_from_a_size_counts_four_bytes_as_a_token() -> None:
    assert [estimate_tokens(size) for size in (0, 1, 4, 5, 4_000)] == [0, 1, 1, 2, 1_000]


@pytest.fixture
def vocabularies(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """tiktoken with the vocabularies that LlamaIndex ships."""
    core = importlib.import_module("llama_index.core")
    cache = Path(core.__file__).parent / "_static" / "tiktoken_cache"
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(cache))
    estimates._tiktoken.cache_clear()
    yield
    estimates._tiktoken.cache_clear()


@pytest.fixture
def no_tiktoken(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    estimates._tiktoken.cache_clear()
    yield
    estimates._tiktoken.cache_clear()


@pytest.fixture
def offline() -> Iterator[None]:
    disable_socket()
    yield
    enable_socket()


TEXTS = {
    "prose": PROSE,
    "german": GERMAN,
    "records": RECORDS,
    "figures": FIGURES,
    "table": TABLE,
    "chinese": CHINESE,
    "code": CODE,
}


@pytest.mark.parametrize("kind", TEXTS)
def test_an_estimate_is_within_a_quarter_of_what_is_counted(kind: str, vocabularies: None) -> None:
    counted = count_tokens(TEXTS[kind], "gpt-4o", "openai")
    assert 0.8 < estimate_tokens_of(TEXTS[kind]) / counted < 1.25


def test_dense_json_is_not_taken_for_prose(vocabularies: None) -> None:
    """By four bytes a token it is half of what it is, and so is the budget's reservation."""
    counted = count_tokens(FIGURES, "gpt-4o", "openai")
    assert estimate_tokens(len(FIGURES)) < 0.6 * counted


def test_the_older_models_count_with_their_own_vocabulary(vocabularies: None) -> None:
    old, new = (count_tokens(CHINESE, model, "openai") for model in ("gpt-4-turbo", "gpt-4.1"))
    assert old > 1.3 * new


def test_an_estimate_asks_nobody_though_tiktoken_would_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: None
) -> None:
    """The agent never notices: no network on its thread, and none at all."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    estimates._tiktoken.cache_clear()
    assert count_tokens(PROSE, "gpt-4o", "openai") == estimate_tokens_of(PROSE)
    # a vocabulary that is damaged would be deleted and loaded anew
    name, _ = estimates._FILES["o200k_base"]
    (tmp_path / name).write_bytes(b"not it")
    estimates._tiktoken.cache_clear()
    assert count_tokens(PROSE, "gpt-4o", "openai") == estimate_tokens_of(PROSE)
    assert (tmp_path / name).read_bytes() == b"not it"
    estimates._tiktoken.cache_clear()


@pytest.mark.parametrize("folder", ["", "/nowhere"])
def test_without_a_cache_there_is_nothing_to_count_with(
    folder: str, monkeypatch: pytest.MonkeyPatch, offline: None
) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", folder)
    estimates._tiktoken.cache_clear()
    assert count_tokens(PROSE, "gpt-4o", "openai") == estimate_tokens_of(PROSE)
    estimates._tiktoken.cache_clear()


def test_the_vocabularies_are_the_ones_that_tiktoken_loads(vocabularies: None) -> None:
    """If it knew others, ours would be found wanting and it would download them."""
    constructors: Any = importlib.import_module("tiktoken_ext.openai_public").ENCODING_CONSTRUCTORS
    for name, (file, content) in estimates._FILES.items():
        assert constructors[name]()["name"] == name
        path = estimates._tiktoken_cache() / file
        assert hashlib.sha256(path.read_bytes()).hexdigest() == content


def test_what_a_call_will_cost_is_known_before_it_is_sent(no_tiktoken: None) -> None:
    assert BOOK.estimate_cost("gpt-4o", 1_000, 100) == Decimal("0.0035")
    tokens = estimate_tokens_of(PROSE)
    assert BOOK.estimate_cost("gpt-4o", PROSE, 100) == BOOK.estimate_cost("gpt-4o", tokens, 100)
    assert BOOK.estimate_cost("gpt-4o", 1_000) == Decimal("0.0025") + Decimal("0.00256")
    assert BOOK.estimate_cost("foo-9", "hello") is None
    assert BOOK.estimate_cost("gpt-4o", "\ud800", 0) == Decimal("0.0000025")
    assert BOOK.estimate_cost("claude-sonnet-4-5", "word " * 200_000, 0) == BOOK.cost(
        "claude-sonnet-4-5", Usage(input_uncached_tokens=estimate_tokens_of("word " * 200_000))
    )


@given(st.text(max_size=300), st.text(max_size=300))
def test_more_text_is_never_fewer_tokens(text: str, more: str) -> None:
    assert (
        estimate_tokens_of(text)
        <= estimate_tokens_of(text + more)
        <= len((text + more).encode(errors="replace"))
    )


def test_a_hundred_kilobytes_are_estimated_in_a_millisecond() -> None:
    text = RECORDS * (100_000 // len(RECORDS))
    assert min(timeit.repeat(lambda: estimate_tokens_of(text), number=1, repeat=5)) < 2e-3


# ── context windows ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("model", "window"),
    [
        ("gpt-4o", 128_000),
        ("gpt-4.1", 1_047_576),
        ("openai/gpt-4.1-mini-2025-04-14", 1_047_576),
        ("gpt-5", 400_000),
        ("claude-sonnet-4-5", 200_000),
        ("gemini-2.5-pro", 1_048_576),
        ("groq/llama-3.3-70b-versatile", 131_072),
        ("command-a-03-2025", 256_000),
        ("foo-9", None),
        ("ollama/llama3.2", None),
    ],
)
def test_the_context_window_is_known_where_somebody_says_so(model: str, window: int | None) -> None:
    assert BOOK.context_window(model) == window


def test_a_deployment_has_the_window_of_its_model() -> None:
    assert PriceBook(aliases={"ours": "gpt-4.1"}).context_window("ours", provider="azure") == 1_047_576
