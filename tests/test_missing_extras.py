"""Who has not installed a framework is told so in one sentence, with the line that installs it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points, requires
from pathlib import Path

import pytest

#: Integration, the package it records, that package's module, and the extra.
INTEGRATIONS = [
    ("tokentrace_crewai", "crewai", "crewai", "crewai"),
    ("tokentrace_langchain", "langchain-core", "langchain_core", "langchain"),
    ("tokentrace_llama_index", "llama-index-core", "llama_index.core", "llama-index"),
]
FRAMEWORKS = [module for _, _, module, _ in INTEGRATIONS]


def without(modules: list[str], code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code where these modules cannot be imported, as if they had never been installed."""
    blocked = "".join(f"sys.modules[{name!r}] = None\n" for name in modules)
    return subprocess.run(
        [sys.executable, "-c", f"import sys\n{blocked}{code}"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def demo_without(modules: list[str], folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    code = f"from tokentrace_core.cli import main\nmain(['demo', *{list(options)}])"
    return without(modules, code, folder)


def sentence(who: str, package: str, extra: str) -> str:
    return f"{who} needs {package}, which is not installed. Run: pip install 'tokentrace[{extra}]'"


@pytest.mark.parametrize(("integration", "package", "module", "extra"), INTEGRATIONS)
def test_an_integration_without_its_framework_says_what_to_install(
    tmp_path: Path, integration: str, package: str, module: str, extra: str
) -> None:
    """Else the reader has to find out from a traceback which of a dozen packages is meant."""
    done = without([module], f"import {integration}", tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(f"MissingExtra: {sentence(integration, package, extra)}")


@pytest.mark.parametrize(("integration", "package", "module", "extra"), INTEGRATIONS)
def test_a_program_may_ask_for_an_integration_and_do_without(
    tmp_path: Path, integration: str, package: str, module: str, extra: str
) -> None:
    """Else tracing that is optional in a program has to know our exceptions."""
    done = without(
        [module], f"try:\n    import {integration}\nexcept ImportError:\n    print('fine')", tmp_path
    )
    assert (done.stdout, done.stderr) == ("fine\n", "")


@pytest.mark.parametrize(("integration", "package", "module", "extra"), INTEGRATIONS)
def test_the_line_installs_what_is_missing_and_names_the_demo(
    integration: str, package: str, module: str, extra: str
) -> None:
    """Else the user runs it, and is told the same again."""
    installed = [line for line in requires("tokentrace") or () if f"extra == '{extra}'" in line]
    assert any(line.startswith(package) for line in installed)
    [demo] = entry_points(group="tokentrace.demos", name=extra)
    assert demo.module == f"{integration}.demo"


@pytest.mark.parametrize(("integration", "package", "module", "extra"), INTEGRATIONS)
def test_the_demo_of_a_framework_that_is_not_there_says_what_to_install(
    tmp_path: Path, integration: str, package: str, module: str, extra: str
) -> None:
    done = demo_without([module], tmp_path, "--framework", extra)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Error: {sentence(integration, package, extra)}\n"


def test_langchains_demo_needs_more_than_recording_langchain_does(tmp_path: Path) -> None:
    done = demo_without(["langchain"], tmp_path, "--framework", "langchain")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Error: {sentence('tokentrace_langchain.demo', 'langchain', 'demo')}\n"


@pytest.mark.parametrize("absent", [["langchain_core"], ["langchain"]], ids="".join)
def test_without_a_choice_the_demo_takes_what_is_there(tmp_path: Path, absent: list[str]) -> None:
    """Else who uses LlamaIndex has to install LangChain to see what this is."""
    done = demo_without([*absent, "crewai"], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("framework llama-index") == 3


def test_without_any_framework_the_demo_says_what_to_install(tmp_path: Path) -> None:
    done = demo_without(FRAMEWORKS, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Error: {sentence('the demo', 'a framework', 'demo')}\n"
