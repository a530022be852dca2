"""`tokentrace demo` is the first thing a new user sees: it works with nothing but the installation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tokentrace_core.store.reader import Reader

#: Put before the demo in its process: any connection that leaves this machine ends it.
_OFFLINE = """
import socket
def refuse(self, address, *rest):
    if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1"):
        raise SystemExit(f"the demo wanted to connect to {address}")
    return connect(self, address, *rest)
connect, socket.socket.connect = socket.socket.connect, refuse
def look_up(host, *rest, **options):
    raise SystemExit(f"the demo looked up {host}")
socket.getaddrinfo = look_up
from tokentrace_core.cli import main
main()
"""


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """The demo run once without a key and without a network; where it recorded."""
    return run_demo(tmp_path)


def run_demo(folder: Path, *options: str) -> Path:
    keyless = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    done = subprocess.run(
        [sys.executable, "-c", _OFFLINE, "demo", *options],
        cwd=folder,
        env=keyless | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    (folder / "printed").write_text(done.stdout)
    return folder


def test_the_demo_runs_without_a_key_and_without_a_network(demo: Path) -> None:
    printed = (demo / "printed").read_text()
    assert "said:" in printed
    assert "⛔ refused" in printed
    assert printed.rstrip().splitlines()[-3:] == [
        "  tokentrace show last --messages",
        "  tokentrace cost --by model,step-name",
        "  tokentrace runs",
    ]


def test_the_demo_records_a_normal_run_a_failing_tool_and_a_budget_stop(demo: Path) -> None:
    with Reader(demo / "traces.db") as reader:
        loop, failing, normal = reader.runs()
        assert (normal["status"], normal["error_type"]) == ("success", None)
        assert failing["status"] == "success"
        assert [call["status"] for call in reader.tool_calls(failing["id"])] == ["failure", "success"]
        assert (loop["status"], loop["error_type"], loop["refused_calls"]) == (
            "failure",
            "budget_exceeded",
            1,
        )
        assert loop["cost_nano_usd"] <= 10_000_000


def test_the_demo_agent_reports_what_is_really_in_the_folder(tmp_path: Path) -> None:
    work = tmp_path / "notes"
    work.mkdir()
    (work / "long.md").write_text("Tides rise twice a day. More.\n" * 9)
    (work / "short.md").write_text("Nothing here.\n")
    run_demo(tmp_path, "--folder", str(work), "--db", "here.db")
    with Reader(tmp_path / "here.db") as reader:
        answer = reader.runs()[-1]["output"]
    assert "2 text files" in answer
    assert "long.md: Tides rise twice a day." in answer


def test_the_demo_as_json_is_one_document(tmp_path: Path) -> None:
    printed = json.loads((run_demo(tmp_path, "--json") / "printed").read_text())
    assert [run["status"] for run in printed] == ["success", "success", "failure"]


def test_an_unknown_model_is_a_sentence_not_a_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tokentrace_core.cli", "demo", "--model", "nobody:nothing"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "nobody:nothing" in done.stderr
