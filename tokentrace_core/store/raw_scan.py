"""Do these bytes stand anywhere in these files? Asked of the raw files, free pages, logs and all.

In a process of its own: whoever opens a SQLite file beside SQLite, and closes it, takes away the locks of all
connections that its process has. What is sought comes over stdin, as names are nothing for a command line.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path

_CHUNK = 8 << 20
_MOST_GROUPS = 24

Hits = dict[str, dict[str, int]]
"""By file: how often each kind of needle was found."""


def scan(
    files: Iterable[Path],
    needles: Mapping[str, Iterable[str]],
    tell: Callable[[int, int], None] = lambda *_: None,
) -> Hits:
    """How often the `needles`, by their kind, stand in the files that are there, in each spelling that a file may have."""
    asked = {
        "files": [str(file) for file in files],
        "needles": {kind: list(some) for kind, some in needles.items()},
    }
    with subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(asked))
        process.stdin.close()
        hits: Hits | None = None
        for line in process.stdout:
            said = json.loads(line)
            if "done" in said:
                tell(said["done"], said["of"])
            else:
                hits = said["hits"]
    if hits is None:
        raise RuntimeError("the raw files could not be looked through")
    return hits


def spellings(text: str) -> set[bytes]:
    """The bytes in which a text may stand in a file. UTF-16 without its outer zero, so that either end first is found."""
    as_json = {json.dumps(text, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    found = {said.encode("utf-8", "surrogatepass") for said in {text, *as_json}}
    wide = text.encode("utf-16-le", "surrogatepass")
    return {
        *found,
        wide[:-1] if wide.endswith(b"\0") else wide,
        text.encode("utf-16-be", "surrogatepass").lstrip(b"\0"),
    }


def _main() -> None:
    asked = json.load(sys.stdin)
    files = [Path(file) for file in asked["files"] if Path(file).exists()]
    kinds = {
        said: kind for kind, texts in asked["needles"].items() for text in texts for said in spellings(text)
    }
    of = sum(file.stat().st_size for file in files)
    done = 0
    hits: Hits = {}
    for file in files:
        found: Counter[str] = Counter()
        for length, needle in _found(file, kinds):
            done += length
            if needle is None:
                _say({"done": done, "of": of})
            else:
                found[kinds[needle]] += 1
        hits[str(file)] = dict(found)
    _say({"hits": hits})


def _say(answer: dict[str, object]) -> None:
    sys.stdout.write(f"{json.dumps(answer)}\n")
    sys.stdout.flush()


def _found(file: Path, needles: Mapping[bytes, str]) -> Iterator[tuple[int, bytes | None]]:
    """Each needle found; and (bytes read, None) after each chunk."""
    if not needles:
        return
    patterns = [re.compile(_trie(group), re.DOTALL) for group in _groups(sorted(needles))]
    overlap = max(map(len, needles)) - 1
    with file.open("rb") as raw:
        before = b""
        while chunk := raw.read(_CHUNK):
            text = before + chunk
            for match in chain.from_iterable(pattern.finditer(text) for pattern in patterns):
                if match.end() > len(before):  # else it was found in the chunk before
                    yield 0, match[0]
            before = text[-overlap:] if overlap else b""
            yield len(chunk), None


def _groups(sorted_needles: list[bytes]) -> Iterable[list[bytes]]:
    """By how they begin: to look for one beginning is ten times faster than to look for one of several."""
    for length in (4, 1):
        groups: dict[bytes, list[bytes]] = {}
        for needle in sorted_needles:
            groups.setdefault(needle[:length], []).append(needle)
        if len(groups) <= _MOST_GROUPS:
            return groups.values()
    return [sorted_needles]


def _trie(sorted_needles: list[bytes]) -> bytes:
    """A pattern for any of these, in which what several begin with stands once: tried one by one they would take hours."""
    if len(sorted_needles) == 1:
        return re.escape(sorted_needles[0])
    first, last = sorted_needles[0], sorted_needles[-1]
    shared = 0
    while shared < min(len(first), len(last)) and first[shared] == last[shared]:
        shared += 1
    groups: dict[bytes, list[bytes]] = {}
    for needle in sorted_needles:
        groups.setdefault(needle[shared : shared + 1], []).append(needle[shared:])
    ends = groups.pop(b"", None)  # one of them is the beginning of the others: that one is enough
    if ends is not None or not groups:
        return re.escape(first[:shared])
    return re.escape(first[:shared]) + b"(?:" + b"|".join(_trie(group) for group in groups.values()) + b")"


if __name__ == "__main__":
    _main()
