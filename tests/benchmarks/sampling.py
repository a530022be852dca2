"""Samples: each a process of its own, those of the compared variants in turn, so that the machine's moods hit all.

A process has its background threads, its peak of memory and its last flush to itself; so they are in its figures.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from tests.benchmarks.peers import PEERS
from tests.benchmarks.sink import Sink

ROOT = Path(__file__).parent.parent.parent
_TOO_LONG_S = 900

#: Nothing reports home, and nothing is recorded but by the recorder that is measured.
_QUIET = {
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "OPIK_SENTRY_ENABLE": "false",
    "OTEL_METRICS_EXPORTER": "none",
    "TRACELOOP_TELEMETRY": "false",
    "LANGSMITH_TRACING": "false",
    "TOKENIZERS_PARALLELISM": "false",
}

Facts = dict[str, Any]


class Variant(NamedTuple):
    """One of the things compared: a recorder, and the Python that has it."""

    name: str
    title: str
    python: str = sys.executable
    is_peer: bool = False


NOTHING = Variant("nothing", "nothing")
NO_OP = Variant("no-op", "no-op handler")
TOKENTRACE = Variant("tokentrace", "**tokentrace**, everything on")


class Options(NamedTuple):
    """How much to measure. `quick`: just enough to see that it works; the figures mean nothing."""

    quick: bool = False
    peers: Path | None = None
    rounds: int | None = None
    file: Path | None = None
    """A file of `big_month`, so that nobody need wait for a new one."""

    def repeat(self, rounds: int) -> int:
        return 1 if self.quick else self.rounds or rounds

    def installed_peers(self) -> list[Variant]:
        if self.peers is None:
            return []
        found = [(name, peer.title, self.peers / name / "bin" / "python") for name, peer in PEERS.items()]
        return [Variant(name, title, str(python), True) for name, title, python in found if python.exists()]


class Sample(NamedTuple):
    """What a process measured, and what it delivered to the sink."""

    figures: Facts
    delivered: int
    delivered_bytes: int

    @property
    def arrived(self) -> int:
        """Spans at the sink, or in the recorder's own file."""
        stored: int | None = self.figures.get("stored")
        return self.delivered if stored is None else stored


def interleaved(
    variants: Sequence[Variant], rounds: int, measure: str, facts: Mapping[str, Any]
) -> dict[Variant, list[Sample]]:
    """`rounds` samples of each variant, one of each in turn, every round beginning with another one."""
    samples: dict[Variant, list[Sample]] = {variant: [] for variant in variants}
    with Sink() as sink:
        for round_ in range(rounds):
            shift = round_ % len(variants)
            for variant in (*variants[shift:], *variants[:shift]):
                try:
                    samples[variant].append(_sample(measure, variant.name, facts, sink, variant.python))
                except (subprocess.SubprocessError, ValueError) as error:
                    if not variant.is_peer:
                        raise
                    print(f"{variant.title}: no sample of {measure}: {error}", file=sys.stderr)
                    sink.take()
    return samples


def sample(measure: str, facts: Mapping[str, Any]) -> Facts:
    """One sample that compares things inside its process."""
    with Sink() as sink:
        figures = _sample(measure, None, facts, sink, sys.executable).figures
    return {name: figure for name, figure in figures.items() if name != "ending"}


def _sample(measure: str, recorder: str | None, facts: Mapping[str, Any], sink: Sink, python: str) -> Sample:
    """The process prints one line of JSON when it has measured, and ends. What it leaves in its folder is removed."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        place = {"recorder": recorder, "folder": folder, "sink": sink.url}
        done = subprocess.run(
            [python, "-m", "tests.benchmarks.samples", measure, json.dumps(place), json.dumps(facts)],
            cwd=folder,
            env=os.environ | _QUIET | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
            capture_output=True,
            text=True,
            timeout=_TOO_LONG_S,
            check=False,
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise ValueError(f"exit code {done.returncode}\n{done.stderr[-2_000:]}")
    return Sample(json.loads(lines[-1]), *sink.take())
