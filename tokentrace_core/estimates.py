"""How many tokens a text will be, before anybody has counted it.

A tokenizer's vocabulary is made of words; digits, punctuation and other scripts fall into small pieces. So four bytes
to a token is right for prose and half of the truth for dense JSON. Counting each kind of byte with a ratio of its own
is within a quarter for prose, code, JSON, tables and Chinese, and costs a few microseconds. What no such ratio
covers, and is too low for: random characters (keys, base64) at about half.

tiktoken counts exactly what OpenAI's models do, if it is installed and its vocabulary is on the disk already. It
would download one that is not; so it is only asked after the file was found where it will look, with the right content.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from string import ascii_letters, digits

#: Tokens a reply is expected to have when nothing is known of it (requirement S15).
EXPECTED_REPLY_TOKENS = 256
#: When only the size is known (requirement S16).
_BYTES_PER_TOKEN = 4

#: UTF-8 bytes to a token by kind, in tenths. Measured in November 2026 with tiktoken 0.14 (o200k and cl100k) over
#: licences, documentation, Python, JSON (records, indented, numbers, tool schemas), CSV, and seven languages.
_LETTERS_AND_SPACES = 45
_DIGITS = 19
_PUNCTUATION = 23
#: Chinese, Japanese, Korean: 3.9 to 4.9 with o200k, 2.8 to 3.1 with the older cl100k. Cyrillic, Arabic and Hindi need
#: fewer tokens than this with o200k, and more with cl100k.
_OTHER_SCRIPTS = 39

_WORDS = (ascii_letters + " \n\t\r").encode()
_NUMBERS = digits.encode()
_BEYOND_ASCII = bytes(range(128, 256))

#: Longer texts are only measured: counting them would take tiktoken more than a tenth of a second.
_LONGEST_COUNTED = 500_000
#: Each vocabulary's file, as tiktoken names it in its cache, and its SHA-256.
_FILES = {
    "o200k_base": (
        "fb374d419588a4632f3f557e76b4b70aebbca790",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    ),
    "cl100k_base": (
        "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    ),
}
#: Models of the time before o200k.
_OLDER = ("gpt-4-", "gpt-3.5", "gpt-35", "text-embedding")


def estimate_tokens(utf8_bytes: int) -> int:
    """Tokens in this many bytes of text, rounded up: four bytes each, where nothing but the size is known."""
    return -(-utf8_bytes // _BYTES_PER_TOKEN)


def estimate_tokens_of(text: str) -> int:
    """Tokens in a text, by what it is made of; rounded up."""
    data = text.encode(errors="replace")
    words, numbers, others = (_count(data, kind) for kind in (_WORDS, _NUMBERS, _BEYOND_ASCII))
    marks = len(data) - words - numbers - others
    tokens = words / _LETTERS_AND_SPACES + numbers / _DIGITS + marks / _PUNCTUATION + others / _OTHER_SCRIPTS
    return -int(-(10 * tokens) // 1)


def count_tokens(text: str, model: str, maker: str | None) -> int:
    """Tokens in a text for a model: counted if that can be done offline, else estimated."""
    if maker in ("openai", "azure") and len(text) <= _LONGEST_COUNTED:
        older = model == "gpt-4" or model.startswith(_OLDER)
        counter = _tiktoken("cl100k_base" if older else "o200k_base")
        if counter is not None:
            return len(counter(text))
    return estimate_tokens_of(text)


@cache
def _tiktoken(vocabulary: str) -> Callable[[str], list[int]] | None:
    """tiktoken's own counting; None if it is not installed, or would have to download the vocabulary."""
    name, content = _FILES[vocabulary]
    try:
        data = (_tiktoken_cache() / name).read_bytes()
        if hashlib.sha256(data).hexdigest() != content:
            return None
        encoding = importlib.import_module("tiktoken").get_encoding(vocabulary)
    except Exception:
        return None
    counter: Callable[[str], list[int]] = encoding.encode_ordinary
    return counter


def _tiktoken_cache() -> Path:
    """Where tiktoken keeps what it has downloaded."""
    for variable in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        if variable in os.environ:
            # Set to nothing it means: keep nothing; then there is nothing to find.
            return Path(os.environ[variable] or os.devnull)
    return Path(tempfile.gettempdir()) / "data-gym-cache"


def _count(data: bytes, kind: bytes) -> int:
    return len(data) - len(data.translate(None, kind))
