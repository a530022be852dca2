"""Virtual environments for the peers: one each, because they want different versions of the same things.

All get the LangChain of the environment that this runs in, so that the same code is measured.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.peers import PEERS

_SHARED = ("langchain", "langchain-core", "langgraph")


def install(folder: Path, names: Sequence[str] = ()) -> None:
    """Make the environments of these peers, or of all."""
    for name in names or PEERS:
        said = "installed" if _install(folder / name, PEERS[name].packages) else "could not be installed"
        print(f"{PEERS[name].title}: {said}", flush=True)


def _install(environment: Path, packages: Sequence[str]) -> bool:
    pins = [f"{package}=={version(package)}" for package in _SHARED]
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=False)
    if made.returncode:
        return False
    pip: list[str | Path] = [environment / "bin" / "python", "-m", "pip", "install", "--quiet"]
    return subprocess.run([*pip, *pins, *packages], check=False).returncode == 0
