"""What agents carry may be huge, endless, binary or private: none of it harms them, and none of it leaks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool

from tests.integrations.langchain.agents import GO, add, agent
from tests.integrations.langchain.driving import Driver
from tests.loopback import LoopbackServer, ToolCall, Turn
from tests.loopback.clients import chat_anthropic, chat_openai
from tokentrace_core import Tracer
from tokentrace_core.store.reader import Reader

MEGABYTE = 1_000_000


def test_p21_a_prompt_of_ten_megabytes_is_cut_in_the_record_and_not_on_the_way(
    call: Driver, server: LoopbackServer, config: Any, stored: Callable[[], Reader]
) -> None:
    server.script(Turn("long"))
    call(agent(server, add), {"messages": [("user", "x" * 10 * MEGABYTE)]}, config)
    assert len(server.requests[0].body["messages"][0]["content"]) == 10 * MEGABYTE
    reader = stored()
    run = reader.run("last")
    [row] = reader.llm_calls(run["id"])
    [message] = reader.messages(row["prompt_id"])
    assert (run["status"], row["usage_source"]) == ("success", "reported")
    assert len(json.dumps(message["body"])) < 2 * MEGABYTE
    assert "truncated, original 10000000 characters" in json.dumps(message["body"])


class Explosive:
    """Fails whatever one asks of it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("do not touch")

    def __repr__(self) -> str:
        raise RuntimeError("do not print")


def endless() -> dict[str, Any]:
    """Contains itself."""
    value: dict[str, Any] = {"deeper": []}
    value["deeper"].append(value)
    return value


@pytest.mark.parametrize(
    "artifact",
    [
        endless(),
        {"here": Explosive()},
        b"\xff" * MEGABYTE,
        "x" * MEGABYTE,
        {7: {None: {1, 2}}},
        list(range(10**5)),
    ],
    ids=["cyclic", "exploding", "binary", "long", "odd keys", "many"],
)
def test_p21_whatever_a_tool_returns_the_agent_gets_it_and_a_row_is_stored(
    call: Driver, server: LoopbackServer, config: Any, stored: Callable[[], Reader], artifact: Any
) -> None:
    @tool(response_format="content_and_artifact")
    def fetch(what: str) -> tuple[str, Any]:
        """Fetch something."""
        return "fetched", artifact

    call(fetch, {"what": "it"}, config)
    server.script(Turn(tool_calls=(ToolCall("fetch", {"what": "it"}),)), Turn("done"))
    call(agent(server, fetch), GO, config)
    reader = stored()
    rows = list(reader.query("select * from tool_calls"))
    assert [row["status"] for row in rows] == ["success"] * 2
    assert server.requests[-1].body["messages"][-1]["content"] == "fetched"
    assert {run["status"] for run in reader.runs()} == {"success"}


@pytest.mark.parametrize("result", [endless(), {"here": Explosive()}], ids=["cyclic", "exploding"])
def test_p21_a_tool_called_by_hand_may_return_anything(
    call: Driver, config: Any, stored: Callable[[], Reader], result: Any
) -> None:
    @tool
    def fetch(what: str) -> Any:
        """Fetch something."""
        return result

    call(RunnableLambda(lambda what: fetch.invoke({"what": what}) is result), "it", config)
    [run] = stored().runs()
    [row] = stored().tool_calls(run["id"])
    assert (run["status"], run["output"]) == ("success", "true")
    assert (row["status"], row["result"] is None) == ("success", False)


def test_p21_a_long_tool_result_is_cut_and_its_size_is_kept(
    call: Driver, server: LoopbackServer, config: Any, stored: Callable[[], Reader]
) -> None:
    @tool
    def read_file(path: str) -> str:
        """Read a file."""
        return "line\n" * 100_000

    server.script(Turn(tool_calls=(ToolCall("read_file", {"path": "a"}),)), Turn("done"))
    call(agent(server, read_file), GO, config)
    reader = stored()
    [row] = reader.tool_calls(reader.run("last")["id"])
    assert row["result_bytes"] >= 500_000
    assert len(row["result"]) < 5_000
    assert len(server.requests[-1].body["messages"][-1]["content"]) == 500_000


def test_p21_an_image_is_kept_as_its_size_and_hash(
    call: Driver, server: LoopbackServer, config: Any, db: Path, stored: Callable[[], Reader]
) -> None:
    image = "iVBORw0KGgo" + "QUJD" * 50_000
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}},
    ]
    server.script(Turn("a cat"))
    call(chat_openai(server, stream_usage=True), [("user", content)], config)
    assert image in json.dumps(server.requests[0].body)
    reader = stored()
    [row] = reader.llm_calls(reader.run("last")["id"])
    [message] = reader.messages(row["prompt_id"])
    assert "What is this?" in json.dumps(message["body"])
    assert "$blob" in json.dumps(message["body"])
    assert b"QUJDQUJDQUJDQUJD" not in b"".join(file.read_bytes() for file in db.parent.iterdir())


# ── private data ─────────────────────────────────────────────────────────────────────────────────────────

SECRETS = ("219-09-9999", "ada.lovelace@example.org", "4111 1111 1111 1111")
PRIVATE = "SSN {}, mail {}, card {}".format(*SECRETS)


@tool
def look_up(who: str) -> str:
    """Look somebody up."""
    return f"found {PRIVATE}"


@tool
def fail(why: str) -> str:
    """Fail."""
    raise ValueError(f"cannot handle {PRIVATE}")


@pytest.mark.parametrize("make", [chat_openai, chat_anthropic])
def test_p22_no_path_into_the_file_is_without_the_redactor(
    call: Driver,
    server: LoopbackServer,
    tracer: Tracer,
    config: Any,
    db: Path,
    stored: Callable[[], Reader],
    make: Callable[..., Any],
) -> None:
    private = agent_for(make(server))
    labels = {
        "run_name": f"run of {PRIVATE}",
        "tags": [PRIVATE, "prod"],
        "metadata": {"note": PRIVATE, "task_type": PRIVATE, PRIVATE: "key", "nested": {"deep": [PRIVATE]}},
    }
    said = Turn(f"I see {PRIVATE}", tool_calls=(ToolCall("look_up", {"who": PRIVATE}),))
    server.script(said, Turn(tool_calls=(ToolCall("fail", {"why": PRIVATE}),)))
    with pytest.raises(ValueError, match="cannot handle"):
        call(private, {"messages": [("user", f"I am {PRIVATE}")]}, config | labels)
    server.script(Turn(status=400, error_message=f"bad request of {PRIVATE}"))
    with pytest.raises(Exception, match="bad request"):
        call(make(server, stop=[PRIVATE]), f"And me? {PRIVATE}", config | labels)
    reader = stored()
    assert [run["status"] for run in reader.runs()] == ["failure"] * 2
    assert PRIVATE in json.dumps(server.requests[0].body)
    files = b"".join(file.read_bytes() for file in db.parent.glob("traces.db*"))
    for secret in SECRETS:
        assert secret.encode() not in files
    for placeholder in (b"[SSN_REDACTED]", b"[EMAIL_REDACTED]", b"[CC_REDACTED]"):
        assert files.count(placeholder) > 10


def agent_for(model: Any) -> Any:
    return create_agent(model, [look_up, fail], system_prompt=f"You help {PRIVATE}.", name="clerk")


def test_p22_a_streamed_secret_cut_in_pieces_is_found(
    server: LoopbackServer, config: Any, db: Path, stored: Callable[[], Reader]
) -> None:
    server.script(Turn(PRIVATE))
    assert len(list(chat_openai(server).stream("go", config))) > 2
    assert stored().run("last")["status"] == "success"
    files = b"".join(file.read_bytes() for file in db.parent.glob("traces.db*"))
    assert not any(secret.encode() in files for secret in SECRETS)
