"""The demo agent's tools: they list, search and read the real files of one folder, and nothing outside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

_MOST_MATCHES = 40
_MOST_LINES = 120
_TEXT = frozenset({".py", ".md", ".toml", ".txt", ".json", ".yaml", ".yml", ".cfg", ".ini", ".rst", ".html"})


class Workspace:
    """A folder to look around in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    def tools(self) -> list[Callable[..., str]]:
        """The tools, as plain functions: their names, signatures and docstrings are what a model sees."""
        return [self.list_files, self.search, self.read_file]

    def list_files(self) -> str:
        """List the text files of the folder, largest first, with their number of lines."""
        sizes = {path: len(self._lines(path)) for path in self._files()}
        listed = sorted(sizes, key=lambda path: (-sizes[path], path))
        return (
            "\n".join(f"{sizes[path]:6} {path.relative_to(self.folder)}" for path in listed) or "(no files)"
        )

    def search(self, text: str) -> str:
        """Find lines that contain a text, as path:line: content."""
        found = [
            f"{path.relative_to(self.folder)}:{number}: {line.strip()}"
            for path in self._files()
            for number, line in enumerate(self._lines(path), start=1)
            if text in line
        ]
        rest = [f"... and {len(found) - _MOST_MATCHES} more"] if len(found) > _MOST_MATCHES else []
        return "\n".join(found[:_MOST_MATCHES] + rest) or f"nothing contains {text!r}"

    def read_file(self, path: str) -> str:
        """Read the first lines of one file of the folder."""
        wanted = (self.folder / path).resolve()
        if not wanted.is_relative_to(self.folder):
            raise PermissionError(f"{path} is outside {self.folder.name}/")
        if not wanted.is_file():
            raise FileNotFoundError(f"no file {path} in {self.folder.name}/")
        return "\n".join(self._lines(wanted)[:_MOST_LINES])

    def _files(self) -> list[Path]:
        return [
            path
            for path in sorted(self.folder.rglob("*"))
            if path.suffix in _TEXT and path.is_file() and "__pycache__" not in path.parts
        ]

    def _lines(self, path: Path) -> list[str]:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
