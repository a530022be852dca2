"""The README is true: every block of code in it is run, and its picture is what the demo prints."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from langchain.agents import create_agent

import tokentrace_langchain
from tests.loopback import LoopbackServer, Turn
from tests.loopback.clients import openai_client
from tokentrace_core import Tracer, default_tracer
from tokentrace_core.pricing import show_usd, to_usd
from tokentrace_core.store.reader import Reader
from tokentrace_langchain.demo import ScriptedChatModel

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()

#: Commands that .ci/run tries in fresh environments, and those that never end by themselves.
_TRIED_ELSEWHERE = re.compile(r"^pip install ")
_SERVES_FOR_EVER = {"datasette traces.db": "datasette traces.db --get /traces/run_costs.json?_shape=objects"}
#: What a command of the README says -> what must be in its answer after the demo.
_ANSWERS = {
    "tokentrace demo --month": r"47% of the tokens are wasted, in four places:",
    "tokentrace demo": r"⛔ refused",
    "tokentrace runs": r"(?:\n.* librarian .*){3}",
    "tokentrace show last --messages": r"(?s)total  .*── call 1 .*→ list_files",
    "tokentrace cost --by model,user": r"gpt-4o-mini +demo +3 .*\$0\.0\d+ ",
    "tokentrace doctor": r"✓ quick check +ok",
    "cost_usd from run_costs order by": r"librarian +failure +\d+ +0\.00\d+(?s:.*)librarian +success",
    "avg(cost_usd)": r"\n *\d+(\.\d+)? +0\.00\d+",
    "from tool_usage": r"read_file +\d+ +1\b",
    "datasette traces.db": r'"name": ?"librarian"',
    "my_agent.py": r"^done\n",
    "tokentrace audit-log": r" purge +user (?s:.*) backup ",
    "tokentrace audit --db month.db": r"4[678] % of .* is avoidable",
    "tokentrace audit": r"is avoidable: |No waste found in ",
    "tokentrace why": r"(?s)number of runs .*together ",
    "tokentrace what-if": r"(?s)at most 2 retries .*prefixes cached .*together ",
    "tokentrace metrics": r"code-reviewer +\d+ +9\d\.\d%",
    "cost users": r"The dearest tenth, 6 of 60 users, spent ",
    "cost success": r"cost per success",
    "tokentrace report": r"Written: month\.html",
    "tokentrace retention": r"payloads +48h",
    "tokentrace backup": r"copy\.db: .*, checked\.",
    "tokentrace purge": r"runs 6, .*\n2 raw files searched .*: none of it is left\.",
}
#: A program of the reader's own.
_MY_AGENT = """
import tokentrace_langchain
from langchain.agents import create_agent
from tokentrace_langchain.demo import ScriptedChatModel

tokentrace_langchain.instrument()
model = ScriptedChatModel(answer=lambda _: {"content": "done", "usage": {"input": 50, "output": 5}})
print(create_agent(model, []).invoke({"messages": [("user", "Where is my order?")]})["messages"][-1].content)
"""


class Block(NamedTuple):
    language: str
    code: str


BLOCKS = [Block(*found) for found in re.findall(r"^```(\w+)\n(.*?)^```$", README, re.S | re.M)]


def of(language: str) -> list[Any]:
    return [
        pytest.param(block.code, id=block.code.strip().splitlines()[0][:60])
        for block in BLOCKS
        if block.language == language
    ]


def answer_to(command: str, folder: Path) -> str:
    """What a command says in this folder, with this environment's programs and a narrow terminal's width."""
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env=os.environ
        | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


class Demo(NamedTuple):
    folder: Path
    """Where it recorded; to be copied."""
    shown: str


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo, run once in an empty folder."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TOKENTRACE_DB", raising=False)
        return Demo(folder, answer_to("tokentrace demo", folder))


@pytest.fixture
def shell(tmp_path: Path) -> Callable[[str], str]:
    """Runs a command in an empty folder."""
    return lambda command: answer_to(command, tmp_path)


def test_every_block_has_a_language_that_is_tried() -> None:
    assert {block.language for block in BLOCKS} == {"bash", "python", "text"}


def answered(_: Any) -> dict[str, Any]:
    """What the reader's own model answers."""
    return {"content": "done", "usage": {"input": 50, "output": 5}}


@pytest.fixture
def agent() -> Any:
    """The reader's own agent, as the others are the reader's own, too."""
    return create_agent(ScriptedChatModel(answer=answered), [])


@pytest.fixture
def engine() -> Iterator[Any]:
    from llama_index.core import Document, SummaryIndex

    import tokentrace_llama_index
    from tokentrace_llama_index.demo import ScriptedModel

    index = SummaryIndex.from_documents([Document(text="Order 4711 is on its way.")])
    yield index.as_query_engine(llm=ScriptedModel(answer=answered))
    tokentrace_llama_index.uninstrument()


@pytest.fixture
def crew() -> Iterator[Any]:
    import tests.integrations.crewai.quiet  # noqa: F401, I001  before CrewAI
    from crewai import Agent, Crew, Task

    import tokentrace_crewai
    from tokentrace_crewai.demo import ScriptedLLM

    llm = ScriptedLLM(model="gpt-4o-mini", answer=answered)
    clerk = Agent(role="clerk", goal="Help.", backstory="Old.", llm=llm)
    yield Crew(agents=[clerk], tasks=[Task(description="Find it.", expected_output="it", agent=clerk)])
    tokentrace_crewai.uninstrument()


@pytest.mark.parametrize("code", of("python"))
def test_a_python_block_runs_as_it_stands_and_records_what_it_says(
    code: str,
    request: pytest.FixtureRequest,
    agent: Any,
    tmp_path: Path,
    server: LoopbackServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    server.script_loop(Turn(text="plan: look it up"))
    given = {
        "agent": agent,
        "tokentrace_langchain": tokentrace_langchain,
        "question": {"messages": [("user", "Where is my order?")]},
        "messages": [{"role": "user", "content": "Where is my order?"}],
        "client": openai_client(server),
        "orders": {4711: "on its way"},
    }
    given |= {name: request.getfixturevalue(name) for name in ("engine", "crew") if f"{name}." in code}
    default_tracer().close()  # that of another test; the next one is made in this folder
    try:
        exec(compile(code, "README.md", "exec"), given)
        _use_what_it_set_up(code, given)
    finally:
        tokentrace_langchain.uninstrument()
        for value in (*given.values(), default_tracer()):
            if isinstance(value, Tracer):
                assert value.close()
                assert not value.losses
    with Reader(tmp_path / "traces.db") as reader:
        (run,) = reader.runs()
        (call,) = reader.llm_calls(run["id"])
        tools = [(tool["name"], tool["status"]) for tool in reader.tool_calls(run["id"])]
    assert (run["status"], call["status"]) == ("success", "success")
    assert run["cost_nano_usd"] == call["cost_nano_usd"] > 0
    printed = capsys.readouterr().out
    if 'user_id": "ada"' in code:
        assert run["user_id"] == "ada"
    if 'session_id": "ticket-4711"' in code:
        assert run["session_id"] == "ticket-4711"
    if 'tracer.run("triage")' in code:
        assert (run["name"], run["session_id"], run["user_id"]) == ("triage", "ticket-4711", "ada")
        assert tools == [("lookup", "success")]
        assert printed.split() == [f"{to_usd(run['cost_nano_usd'])}", f"{run['steps']}"]
    if ".connect" not in code:
        assert call["usage_source"] == "reported"
    else:
        assert printed == "gpt-4o took 11 s\n"


def _use_what_it_set_up(code: str, given: dict[str, Any]) -> None:
    """Some blocks only prepare what the reader's own code does then."""
    if "tokentrace_langchain.instrument()" in code:
        given["agent"].invoke(given["question"])
    if ".connect" in code:
        with Tracer("traces.db") as tracer, tracer.run("slow"), tracer.llm("gpt-4o", messages="x") as call:
            call.done("at last")
            assert call.span
            call.span.started_at -= 11_000_000


@pytest.mark.parametrize("code", of("bash"))
def test_a_shell_block_answers_what_it_asks_of_the_demos_runs(
    code: str, demo: Demo, shell: Callable[[str], str], tmp_path: Path
) -> None:
    shutil.copytree(demo.folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "my_agent.py").write_text(_MY_AGENT)
    for command in code.strip().splitlines():
        if not _TRIED_ELSEWHERE.match(command):
            answer = next(answer for asked, answer in _ANSWERS.items() if asked in command)
            assert re.search(answer, shell(_SERVES_FOR_EVER.get(command, command))), command


def test_the_command_the_readme_begins_with_is_the_demo(demo: Demo) -> None:
    first = next(block.code for block in BLOCKS if block.language == "bash").strip()
    assert first.endswith(" && tokentrace demo")
    assert re.search(_ANSWERS["tokentrace demo"], demo.shown)


def test_the_picture_is_what_the_demo_prints(demo: Demo) -> None:
    picture = next(block.code for block in BLOCKS if block.language == "text")
    second_run = demo.shown.split("2. a tool that fails")[1].split("3. a loop")[0]
    tree = second_run[second_run.index("librarian ·") :]
    assert _without_figures(picture) == _without_figures(tree)


def test_the_audit_in_the_picture_is_that_of_the_demos_month(shell: Callable[[str], str]) -> None:
    picture = [block.code for block in BLOCKS if block.language == "text"][1]
    shell("tokentrace demo --month")
    shown = shell("tokentrace audit").split("\n\n1. ")[0]
    # The last 30 days begin at this hour: a share of 9.9 % may be one of 10.0 %, and a column wider.
    assert _without_figures(" ".join(picture.split())) == _without_figures(" ".join(shown.split()))


def test_the_figures_in_the_picture_agree_with_each_other() -> None:
    heading, *lines = next(block.code for block in BLOCKS if block.language == "text").strip().splitlines()
    steps, calls, total = (
        [line for line in lines if found in line] for found in ("─ step ", "─ llm ", "total ")
    )
    assert heading.endswith(f" · {len(steps)} steps")
    assert [_dollars(step) for step in steps] == [_dollars(call) for call in calls]
    assert _usd(heading) == _usd(total[0]) == show_usd(sum(map(_dollars, steps)))
    tokens = [re.search(r"([\d,]+) in → ([\d,]+) out", call) for call in calls]
    sent, got = (sum(int(found[place].replace(",", "")) for found in tokens if found) for place in (1, 2))
    assert total[0].startswith(f"total  {sent:,} tokens in (0 cached), {got:,} out")
    assert sum(map(_milliseconds, steps)) <= _milliseconds(heading)


def test_the_runs_id_in_the_picture_was_made_when_it_began() -> None:
    picture = next(block.code for block in BLOCKS if block.language == "text")
    found = re.search(r"run ([0-9a-f]{32}) · (.*) UTC", picture)
    assert found
    began = datetime.fromtimestamp(int(found[1][:12], 16) / 1000, UTC)
    assert abs(began - datetime.fromisoformat(f"{found[2]}+00:00")) < timedelta(seconds=2)


def _usd(line: str) -> str:
    return re.findall(r"\$[\d.]+", line)[-1]


def _dollars(line: str) -> int:
    """In nano-dollars."""
    return int(Decimal(_usd(line).removeprefix("$")) * 10**9)


def _milliseconds(line: str) -> int:
    found = re.search(r" (\d+)ms", line)
    assert found, line
    return int(found[1])


def _without_figures(shown: str) -> str:
    """Ids, times, sizes and costs differ from run to run and as the package grows; all else must be equal."""
    shown = re.sub(r"\b[0-9a-f]{32}\b", "ID", shown)
    shown = re.sub(r"\d[\d,.:-]*( ?(ms|s|B|kB)\b)?", "N", shown)
    return re.sub(r"N( N)+", "N", shown).strip()
