"""What others build on: the names exist, say what they are, and cost nothing to import."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import tokentrace_core
from tokentrace_core import signals
from tokentrace_core.blocks import ContinuedBlock, RunBlock, SessionBlock, StepBlock
from tokentrace_core.call_blocks import LLMBlock, ToolBlock

FRAMEWORKS = {"langchain", "langchain_core", "langgraph", "llama_index", "crewai", "openai", "anthropic"}
#: A third of a second each, or only needed by the command line.
HEAVY = {"genai_prices", "rich", "pydantic", "httpx", "requests", "pandas", "opentelemetry"}
#: What recording needs, and what sqlite-utils brings along (numpy only where it is installed).
LOADED = {"blinker", "msgspec", "sqlite_utils", "sqlite_fts4", "click", "dateutil", "pluggy", "six", "numpy"}

PUBLIC = [(name, getattr(tokentrace_core, name)) for name in tokentrace_core.__all__ if name != "signals"]
#: What a tracer's methods give back is as public as the tracer.
BLOCKS = (RunBlock, ContinuedBlock, StepBlock, LLMBlock, ToolBlock, SessionBlock)
CLASSES = [*(value for _, value in PUBLIC if inspect.isclass(value)), *BLOCKS]


def public_methods(of: type) -> Iterator[tuple[str, str]]:
    """Each method and property of our own with what it says of itself, be it in a class that it comes from."""
    ours = [base for base in of.__mro__ if base.__module__.startswith("tokentrace_core")]
    members = {name: member for base in reversed(ours) for name, member in vars(base).items()}
    for name, member in members.items():
        if not name.startswith("_") and (inspect.isroutine(member) or isinstance(member, property)):
            said = (vars(base)[name].__doc__ for base in ours if name in vars(base))
            yield f"{of.__name__}.{name}", next(filter(None, said), "")


METHODS = [method for value in CLASSES for method in public_methods(value)]


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    """The modules a fresh interpreter holds after `import tokentrace_core`."""
    script = "import sys; import tokentrace_core; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(("name", "value"), PUBLIC)
def test_every_public_name_exists_and_says_what_it_is(name: str, value: Any) -> None:
    assert value.__doc__, name
    assert value.__module__.startswith("tokentrace_core")


@pytest.mark.parametrize(("name", "said"), METHODS, ids=[name for name, _ in METHODS])
def test_a_public_method_or_property_that_says_nothing_leaves_its_user_guessing(name: str, said: str) -> None:
    obvious = {"ModelPrice.dollars", "Usage.total_tokens"}
    assert said or name in obvious


def test_the_methods_of_the_blocks_are_among_those_looked_at() -> None:
    names = {name for name, _ in METHODS}
    assert names >= {
        "RunBlock.cost_usd",
        "RunBlock.score",
        "SessionBlock.id",
        "StepBlock.llm",
        "LLMBlock.chunk",
    }


def test_the_list_of_public_names_is_sorted_and_complete() -> None:
    assert tokentrace_core.__all__ == sorted(tokentrace_core.__all__)
    visible = {
        name
        for name, value in vars(tokentrace_core).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert visible == set(tokentrace_core.__all__) - {"signals"}


@pytest.mark.parametrize("name", signals.__all__)
def test_every_signal_says_what_it_tells_and_to_whom(name: str) -> None:
    signal = getattr(signals, name)
    assert signal.name == name.replace("_", "-")
    assert (signal.__doc__ or "").startswith("receiver(recorder, ")


def test_importing_loads_no_framework_and_nothing_heavy(loaded: set[str]) -> None:
    assert "tokentrace_core.tracer" in loaded
    assert not loaded & FRAMEWORKS
    assert not loaded & HEAVY
    assert not {
        name for name in loaded if name.startswith(("tokentrace_core.cli", "tokentrace_core.store.reader"))
    }


def test_importing_loads_of_other_projects_only_what_recording_needs(loaded: set[str]) -> None:
    known = {*sys.stdlib_module_names, "tokentrace_core", *LOADED}
    others = {name.partition(".")[0] for name in loaded} - known
    assert {name for name in others if not name.startswith(("_", "sitecustomize"))} <= {"typing_extensions"}
