"""Run the campaigns and print their figures: `python -m tests.reliability [--full] [WORDS FOR -k]`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.reliability.conftest import FIGURES, FULL


def main(arguments: list[str]) -> int:
    os.environ[FIGURES] = "yes"
    if "--full" in arguments:
        os.environ[FULL] = "yes"
    options = [word for word in arguments if word.startswith("-") and word != "--full"]
    words = [word for word in arguments if not word.startswith("-")]
    chosen = ["-k", " ".join(words)] if words else []
    return int(pytest.main([str(Path(__file__).parent), "-q", "--durations=8", *options, *chosen]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
