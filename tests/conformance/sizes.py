"""How many lines each framework takes: what it costs to add one.

python -m tests.conformance.sizes        prints the Markdown table of integrations/README.md
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Column -> the modules in it; the seam is all that is in no other column.
_COLUMNS = {"handler": ("handler",), "mapping": ("mapping",), "seam": (), "demo": ("demo",)}
_NAMED = {"__init__", *(module for modules in _COLUMNS.values() for module in modules)}


def integrations() -> list[Path]:
    """The folder of each integration, by name."""
    return sorted((ROOT / "integrations").glob("tokentrace_*/"))


def markdown() -> str:
    """A row per framework, as `wc -l` counts."""
    rows = [["lines", *_COLUMNS, "conformance driver"], ["---", *["--:"] * (len(_COLUMNS) + 1)]]
    return "\n".join(f"| {' | '.join(row)} |" for row in [*rows, *map(_row, integrations())])


def _row(folder: Path) -> list[str]:
    name = folder.name.removeprefix("tokentrace_")
    modules = {module.stem: module for module in folder.glob("*.py")}
    columns = [wanted or sorted({*modules} - _NAMED) for wanted in _COLUMNS.values()]
    counts = [sum(_lines(modules[module]) for module in wanted) for wanted in columns]
    return [name, *map(str, [*counts, _lines(ROOT / f"tests/conformance/{name}_driver.py")])]


def _lines(module: Path) -> int:
    return module.read_bytes().count(b"\n")


if __name__ == "__main__":
    print(markdown())
