"""What integrations/README.md says of adding a framework is true of those that are there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.sizes import ROOT, integrations, markdown
from tokentrace_core.integration import Recorder

GUIDE = (ROOT / "integrations" / "README.md").read_text()
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS: list[dict[str, Any]] = PROJECT["tool"]["importlinter"]["contracts"]
FOLDERS = integrations()
NAMES = [folder.name for folder in FOLDERS]


@pytest.fixture(params=FOLDERS, ids=NAMES)
def folder(request: pytest.FixtureRequest) -> Path:
    """The test runs once for each integration."""
    return Path(request.param)


def test_the_sizes_in_the_guide_are_those_of_the_files() -> None:
    """Else who thinks of adding a framework reckons with the effort of some other day."""
    assert markdown() in GUIDE, (
        f"integrations/README.md: put this in the place of its table\n\n{markdown()}\n"
    )


def test_the_guide_names_every_verb_that_a_handler_says() -> None:
    """Else a new handler misses what the others had to find out."""
    section = GUIDE.split("**2. A handler**")[1].split("**3. A gate.**")[0]
    rows = re.findall(r"^\| (`.*?) \|", section, re.M)
    named = {verb for row in rows for verb in re.findall(r"`(\w+)`", row)}
    code = "".join(module.read_text() for folder in FOLDERS for module in folder.glob("*.py"))
    assert {*re.findall(r"\brecorder\.(\w+)\(", code)} <= named
    assert [verb for verb in named if not callable(getattr(Recorder, verb, None))] == []


def test_the_modules_that_the_guide_tells_of_are_there(folder: Path) -> None:
    """Else the next one is laid out in a way of its own."""
    for module in ("__init__", "handler", "mapping", "place", "demo"):
        assert (folder / f"{module}.py").is_file()


def test_every_integration_is_held_to_the_suite(folder: Path) -> None:
    """Else a framework may be recorded differently, and nobody notices."""
    name = folder.name.removeprefix("tokentrace_")
    assert (ROOT / f"tests/conformance/{name}_driver.py").is_file()
    assert "HandlerSuite" in (ROOT / f"tests/conformance/test_{name}.py").read_text()


def test_every_integration_has_its_lines_in_the_project_file(folder: Path) -> None:
    """Else it is not installed, not found, or not kept apart."""
    extra = folder.name.removeprefix("tokentrace_").replace("_", "-")
    extras = PROJECT["project"]["optional-dependencies"]
    assert extra in extras
    assert re.search(rf"\b{extra}\b", "".join(extras["all"]))
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert f"integrations/{folder.name}" in wheel
    demos = PROJECT["project"]["entry-points"]["tokentrace.demos"]
    assert demos[extra] == f"{folder.name}.demo:run_agent"


def test_every_integration_stands_in_the_contracts_of_import_linter(folder: Path) -> None:
    """Else one that imports another, or the core's inside, is found by a user."""
    assert folder.name in PROJECT["tool"]["importlinter"]["root_packages"]
    of_core, of_integrations = CONTRACTS[:2]
    assert folder.name in of_core["forbidden_modules"]
    assert folder.name in of_integrations["source_modules"]
    assert any(
        contract["type"] == "independence" and folder.name in contract["modules"] for contract in CONTRACTS
    )
    assert any(contract.get("source_modules") == [folder.name] for contract in CONTRACTS)
