"""`tokentrace demo` is the first thing a new user sees: it works with nothing but the installation."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.loopback import LoopbackServer, ToolCall, Turn, TurnUsage
from tokentrace_core.pricing import show_usd
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
    if host != "127.0.0.1":
        raise SystemExit(f"the demo looked up {host}")
    return find(host, *rest, **options)
find, socket.getaddrinfo = socket.getaddrinfo, look_up
from tokentrace_core.cli import main
main()
"""


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """The demo run once without a key and without a network; where it recorded."""
    return run_demo(tmp_path)


def run_demo(folder: Path, *options: str, **environment: str) -> Path:
    keyless = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    done = subprocess.run(
        [sys.executable, "-c", _OFFLINE, "demo", *options],
        cwd=folder,
        env=keyless | {"COLUMNS": "80"} | environment,
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


def test_the_budget_the_demo_speaks_of_is_the_one_that_stops_its_loop(demo: Path) -> None:
    printed = (demo / "printed").read_text()
    title, loop = re.search(r"^3\. (.*)\n((?:.*\n)*)", printed, re.M).groups()  # type: ignore[union-attr]
    assert title == "a loop with a budget of $0.01"
    with Reader(demo / "traces.db") as reader:
        run = reader.runs(1)[0]
    said = f"budget exceeded: spent {show_usd(run['cost_nano_usd'])} of $0.0100; estimated cost $0.00"
    assert said in run["error"]
    assert said in " ".join(loop.split())
    assert run["cost_nano_usd"] > 5_000_000  # it was stopped near its limit, not before it began


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
    assert done.stdout == ""
    assert re.fullmatch(r"Error: --model nobody:nothing cannot be used: .*\n", done.stderr)


def test_with_a_key_the_demo_asks_a_real_model_and_records_what_it_reports(
    tmp_path: Path, server: LoopbackServer
) -> None:
    server.answer_with(_looks_and_reports)
    run_demo(
        *(tmp_path, "--model", "openai:gpt-4o-mini"),
        OPENAI_API_KEY="test",
        OPENAI_BASE_URL=server.openai_url,
    )
    printed = (tmp_path / "printed").read_text()
    assert printed.count("said:  All is well.") == 3
    assert "stopped" not in printed  # nothing was
    with Reader(tmp_path / "traces.db") as reader:
        runs = reader.runs()
        calls = [call for run in runs for call in reader.llm_calls(run["id"])]
        tools = [call["name"] for call in reader.tool_calls(runs[0]["id"])]
    assert [run["status"] for run in runs] == ["success"] * 3
    assert tools == ["list_files", "search"]
    assert server.count == len(calls) == 9
    assert {call["usage_source"] for call in calls} == {"reported"}
    assert {call["model"] for call in calls} == {"gpt-4o-mini"}
    assert sum(run["input_tokens"] for run in runs) == server.reported.input == 9 * 300
    assert sum(run["output_tokens"] for run in runs) == server.reported.output == 9 * 30
    assert sum(run["cost_nano_usd"] for run in runs) == 9 * (300 * 150 + 30 * 600)


def _looks_and_reports(body: dict[str, Any]) -> Turn:
    """Two tool calls, one after the other, then an answer."""
    usage = TurnUsage(input=300, output=30)
    looked = sum(message["role"] == "tool" for message in body["messages"])
    wanted = [ToolCall("list_files"), ToolCall("search", {"text": "class "})][looked : looked + 1]
    return Turn(text="" if wanted else "All is well.", tool_calls=tuple(wanted), usage=usage)


def test_a_key_that_is_refused_leaves_only_the_reason(tmp_path: Path, server: LoopbackServer) -> None:
    server.script_loop(Turn(status=401, error_message="Incorrect API key provided"))
    done = subprocess.run(
        [sys.executable, "-m", "tokentrace_core.cli", "demo", "--model", "openai:gpt-4o-mini"],
        cwd=tmp_path,
        env=os.environ | {"OPENAI_API_KEY": "test", "OPENAI_BASE_URL": server.openai_url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "Incorrect API key provided" in done.stderr
    assert "Traceback" not in done.stderr
