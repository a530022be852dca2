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
from tokentrace_core.cli.tree import plain_tree
from tokentrace_core.pricing import show_usd
from tokentrace_core.store.reader import Reader, Row

FRAMEWORKS = ("langchain", "llama-index", "crewai")
#: Put before the demo in its process: any connection that leaves this machine, from any of its threads, ends it.
_OFFLINE = """
import atexit, json, os, socket
def refuse(what):
    os.write(2, f"the demo wanted to {what}".encode())
    os._exit(1)
def connected(self, address, *rest):
    if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1"):
        refuse(f"connect to {address}")
    return connect(self, address, *rest)
connect, socket.socket.connect = socket.socket.connect, connected
def look_up(host, *rest, **options):
    if host != "127.0.0.1":
        refuse(f"look up {host}")
    return find(host, *rest, **options)
find, socket.getaddrinfo = socket.getaddrinfo, look_up
before = dict(os.environ)
def note_environment():
    changed = {name: os.environ.get(name) for name in {*before, *os.environ} if before.get(name) != os.environ.get(name)}
    json.dump(changed, open("environment", "w"))
atexit.register(note_environment)
from tokentrace_core.cli import main
main()
"""
#: What CrewAI would use the network for.
_CREWAI_OFF = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
}
FIGURES = re.compile(r" (input|cache_read|output|cost)=[\d.]+| \w+Error$", re.M)


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The demo in each framework, run once without a key and without a network; where they recorded."""
    folders = {name: tmp_path_factory.mktemp(name) for name in FRAMEWORKS}
    return {name: run_demo(folder, "--framework", name) for name, folder in folders.items()}


@pytest.fixture(params=FRAMEWORKS)
def demo(request: pytest.FixtureRequest, demos: dict[str, Path]) -> Path:
    """The test runs once for each framework."""
    return demos[request.param]


def run_demo(folder: Path, *options: str, **environment: str) -> Path:
    """As somebody who is new to it: without keys, and without what other tests have set for CrewAI."""
    ours = re.compile(r".*_API_KEY|CREWAI_.*")
    new = {name: value for name, value in os.environ.items() if not ours.fullmatch(name)}
    done = subprocess.run(
        [sys.executable, "-c", _OFFLINE, "demo", *options],
        cwd=folder,
        env=new | {"COLUMNS": "80", "HOME": str(folder)} | environment,
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
    shown = printed(demo)
    assert "said:" in shown
    assert "⛔ refused" in shown
    assert shown.rstrip().splitlines()[-3:] == [
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


def test_the_three_demos_do_the_same_and_show_the_same(demos: dict[str, Path]) -> None:
    """A tool's failure has the type that the framework gives it; figures are compared below."""
    trees = {name: [FIGURES.sub("", tree) for tree in plain_trees(folder)] for name, folder in demos.items()}
    assert trees["crewai"] == trees["llama-index"] == trees["langchain"]
    said = {
        name: re.findall(r"^said:  ((?:.+\n)+?)\w+ · ", printed(demos[name]), re.M) for name in FRAMEWORKS
    }
    answers = {name: [" ".join(text.split()) for text in texts[:2]] for name, texts in said.items()}
    assert answers["crewai"] == answers["llama-index"] == answers["langchain"]


def test_the_three_demos_cost_the_same_as_far_as_the_frameworks_send_the_same(demos: dict[str, Path]) -> None:
    """LangChain and LlamaIndex do. CrewAI adds the agent's role and goal to the prompt, and so tokens to each call."""
    assert figures(demos["llama-index"]) == figures(demos["langchain"])
    crewai, langchain = calls_of(demos["crewai"]), calls_of(demos["langchain"])
    assert [call["output_tokens"] for call in crewai] == [call["output_tokens"] for call in langchain]
    added = [tokens_in(ours) - tokens_in(theirs) for ours, theirs in zip(crewai, langchain, strict=True)]
    assert 0 < min(added) <= max(added) < 100


def test_what_the_demo_changes_in_its_environment_is_what_its_module_says(demos: dict[str, Path]) -> None:
    changed = {name: json.loads((demos[name] / "environment").read_text()) for name in FRAMEWORKS}
    changed["crewai"].pop("TOKENIZERS_PARALLELISM", None)  # CrewAI's own doing, at times
    assert changed == {"langchain": {}, "llama-index": {}, "crewai": _CREWAI_OFF}


def test_without_a_choice_the_demo_is_langchains(tmp_path: Path) -> None:
    with Reader(run_demo(tmp_path) / "traces.db") as reader:
        assert {run["framework"] for run in reader.runs()} == {"langchain"}


def test_a_framework_that_nobody_announced_is_wrong_usage_and_the_others_are_named(tmp_path: Path) -> None:
    done = tried(tmp_path, "--framework", "nobody")
    assert (done.returncode, done.stdout) == (2, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Error: Invalid value for '--framework': 'nobody' is not one of ")
    assert all(f"'{name}'" in last for name in FRAMEWORKS)


def test_the_budget_the_demo_speaks_of_is_the_one_that_stops_its_loop(demo: Path) -> None:
    title, loop = re.search(r"^3\. (.*)\n((?:.*\n)*)", printed(demo), re.M).groups()  # type: ignore[union-attr]
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
    document = json.loads(printed(run_demo(tmp_path, "--json")))
    assert [run["status"] for run in document] == ["success", "success", "failure"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_unknown_model_is_a_sentence_not_a_traceback(tmp_path: Path, framework: str) -> None:
    done = tried(tmp_path, "--framework", framework, "--model", "nobody:nothing")
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(r"Error: --model nobody:nothing cannot be used: .*\n", done.stderr)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_with_a_key_the_demo_asks_a_real_model_and_records_what_it_reports(
    tmp_path: Path, server: LoopbackServer, framework: str
) -> None:
    server.answer_with(_looks_and_reports)
    run_demo(
        *(tmp_path, "--framework", framework, "--model", "openai:gpt-4o-mini"),
        OPENAI_API_KEY="test",
        OPENAI_BASE_URL=server.openai_url,
        OPENAI_API_BASE=server.openai_url,
    )
    shown = printed(tmp_path)
    assert shown.count("said:  All is well.") == 3
    assert "stopped" not in shown  # nothing was
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


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_key_that_is_refused_leaves_only_the_reason(
    tmp_path: Path, server: LoopbackServer, framework: str
) -> None:
    server.script_loop(Turn(status=401, error_message="Incorrect API key provided"))
    urls = dict.fromkeys(("OPENAI_BASE_URL", "OPENAI_API_BASE"), server.openai_url)
    done = tried(
        *(tmp_path, "--framework", framework, "--model", "openai:gpt-4o-mini"), OPENAI_API_KEY="test", **urls
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "Incorrect API key provided" in done.stderr
    assert "Traceback" not in done.stderr


def tried(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The demo, whatever comes of it."""
    return subprocess.run(
        [sys.executable, "-m", "tokentrace_core.cli", "demo", *options],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def printed(folder: Path) -> str:
    return (folder / "printed").read_text()


def plain_trees(folder: Path) -> list[str]:
    """Of the three runs, in their order."""
    with Reader(folder / "traces.db") as reader:
        return [plain_tree(reader, run["id"]) for run in reversed(reader.runs())]


def calls_of(folder: Path) -> list[Row]:
    """The answered model calls of the three runs, in their order."""
    with Reader(folder / "traces.db") as reader:
        calls = [call for run in reversed(reader.runs()) for call in reader.llm_calls(run["id"])]
    return [call for call in calls if call["status"] == "success"]


def figures(folder: Path) -> list[tuple[int, int, int, int]]:
    return [
        (tokens_in(call), call["cache_read_tokens"], call["output_tokens"], call["cost_nano_usd"])
        for call in calls_of(folder)
    ]


def tokens_in(call: Row) -> int:
    return int((call["input_uncached_tokens"] or 0) + (call["cache_read_tokens"] or 0))
