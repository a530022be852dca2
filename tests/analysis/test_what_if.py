"""A saving that is promised and does not come is worse than none: each is computed a second way, from the raw rows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.analysis import weeks
from tests.analysis.weeks import Clock
from tokentrace_core import ModelPrice, PriceBook, Tracer
from tokentrace_core.analysis import Scope
from tokentrace_core.analysis.what_if import (
    CachePrefix,
    Change,
    Model,
    NoPreamble,
    RetryCap,
    TruncateResults,
    WhatIf,
    what_if,
)
from tokentrace_core.cli import main
from tokentrace_core.cli.demo.month import Planted, write_month
from tokentrace_core.errors import TokentraceError
from tokentrace_core.usage import Usage

CLAUDE = "claude-sonnet-4-5"
#: Nano-dollars per token of it: new, read from the cache, written to it, generated.
NEW, READ, WRITE, OUT = 3_000, 300, 3_750, 15_000

Messages = list[dict[str, Any]]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return weeks.freeze(monkeypatch)


def say(role: str, size: int, mark: str = "x", **more: Any) -> dict[str, Any]:
    """A message whose canonical JSON has just so many bytes."""
    empty = len(json.dumps({"role": role, "content": "", **more}, separators=(",", ":")))
    return {"role": role, "content": (mark * size)[: size - empty], **more}


def ask(run: Any, messages: Messages, *, model: str = CLAUDE, answer: Any = None, **counters: int) -> None:
    """A call that is paid in full for a quarter of its bytes, unless told otherwise."""
    with run.step("think") as step, step.llm(model, messages=list(messages)) as call:
        size = sum(len(json.dumps(message, separators=(",", ":"))) for message in messages)
        usage = {"input_uncached_tokens": size // 4, "output_tokens": 50} | counters
        call.done(answer, usage=Usage(**usage))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Planted]:
    path = tmp_path_factory.mktemp("month") / "traces.db"
    return path, write_month(path)


def saved(found: WhatIf) -> list[int]:
    return [saving.saved_nano_usd for saving in found.savings]


# ── what was planted comes back ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("change", "kind", "within"),
    [(RetryCap(2), "retry_storm", 0), (CachePrefix(), "refetch", 0.01), (NoPreamble(), "preamble", 0.01)],
    ids=["retries", "caching", "filler"],
)
def test_the_waste_of_a_month_is_what_the_change_saves(
    month: tuple[Path, Planted], change: Change, kind: str, within: float
) -> None:
    path, planted = month
    found = what_if(path, [change])
    assert found.recorded_nano_usd == planted.total_nano_usd
    assert found.together.saved_nano_usd == pytest.approx(planted.places[kind].nano_usd, rel=within)


def test_what_a_month_saves_together_is_less_than_the_sum_by_what_overlaps(
    month: tuple[Path, Planted],
) -> None:
    found = what_if(month[0], [RetryCap(2), Model("gpt-4o", "gpt-4o-mini")])
    overlap = found.overlaps[0]
    assert overlap.names == ("at most 2 retries", "gpt-4o-mini for gpt-4o")
    assert found.together.saved_nano_usd == sum(saved(found)) - overlap.nano_usd
    assert overlap.nano_usd > 0


# ── another model ────────────────────────────────────────────────────────────────────────────────────────


def test_another_model_costs_what_its_price_makes_of_the_same_tokens(month: tuple[Path, Planted]) -> None:
    """Call by call through the price book, without our rates."""
    path, book = month[0], PriceBook()
    columns = (
        "input_uncached_tokens",
        "cache_read_tokens",
        "cache_write_5m_tokens",
        "cache_write_1h_tokens",
        "output_tokens",
    )
    with sqlite3.connect(path) as file:
        rows = file.execute(
            f"select cost_nano_usd, started_at, {', '.join(columns)} from llm_calls where model = ? and output_tokens is not null",
            [CLAUDE],
        ).fetchall()
    expected = 0
    for cost, at, *counters in rows:
        usage = Usage(**dict(zip(columns, counters, strict=True)))
        expected += cost - (
            book.price("gpt-4.1-mini", usage, at=datetime.fromtimestamp(at / 1e6, UTC)).nano_usd or 0
        )
    found = what_if(path, [Model(CLAUDE, "gpt-4.1-mini")])
    assert len(rows) > 100
    assert found.together.calls == len(rows)
    assert abs(found.together.saved_nano_usd - expected) <= len(rows)


@pytest.mark.parametrize("of", ["think", "chat", "gpt-4o"], ids=["a step", "an agent", "a model"])
def test_a_model_is_changed_for_a_step_an_agent_or_a_model(tracer: Tracer, db: Path, of: str) -> None:
    with tracer.run("chat") as run:
        ask(run, [say("user", 4_000)], model="gpt-4o")
    with tracer.run("other") as run, run.step("other") as step, step.llm(CLAUDE, messages="x") as call:
        call.done(None, usage=Usage(input_uncached_tokens=1_000))
    tracer.flush(10)
    found = what_if(db, [Model(of, "gpt-4o-mini")])
    assert saved(found) == [1_000 * (2_500 - 150) + 50 * (10_000 - 600)]


def test_a_dearer_model_saves_less_than_nothing(tracer: Tracer, db: Path) -> None:
    with tracer.run("chat") as run:
        ask(run, [say("user", 4_000)], model="gpt-4o-mini")
    tracer.flush(10)
    assert saved(what_if(db, [Model("gpt-4o-mini", "gpt-4o")])) == [-(1_000 * 2_350 + 50 * 9_400)]


# ── a cache ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("calls", [1, 2, 5])
def test_a_shared_prefix_is_written_once_and_then_read(
    tracer: Tracer, clock: Clock, db: Path, calls: int
) -> None:
    system = say("system", 8_000)
    for number in range(calls):
        with tracer.run("chat") as run:
            ask(run, [system, say("user", 4_000, str(number))])
        clock.ns += 60 * 10**9
    tracer.flush(10)
    expected = (calls - 1) * 2_000 * (NEW - READ) - (calls > 1) * 2_000 * (WRITE - NEW)
    assert saved(what_if(db, [CachePrefix()])) == [expected]


def test_a_conversation_pays_for_writing_what_each_turn_adds(tracer: Tracer, db: Path) -> None:
    messages = [say("system", 8_000)]
    with tracer.run("chat") as run:
        for turn in range(4):
            messages += [say("user", 400, str(turn))]
            ask(run, messages)
            messages += [say("assistant", 400, str(turn))]
    tracer.flush(10)
    sent = [2_000 + 100 + turn * 200 for turn in range(4)]
    reads, writes = sum(sent[:-1]), sent[0] + 200 + 200
    assert saved(what_if(db, [CachePrefix()])) == [reads * (NEW - READ) - writes * (WRITE - NEW)]


@pytest.mark.parametrize(
    ("size", "pause_s", "model"),
    [(4_000, 1, CLAUDE), (8_000, 301, CLAUDE), (8_000, 1, "claude-haiku-4-5"), (4_000, 1, "gpt-4o")],
    ids=["below the least", "too late", "below this model's least", "an automatic cache below its least"],
)
def test_what_no_cache_takes_saves_nothing(
    tracer: Tracer, clock: Clock, db: Path, size: int, pause_s: int, model: str
) -> None:
    with tracer.run("chat") as run:
        for number in range(2):
            ask(run, [say("system", size), say("user", 4_000, str(number))], model=model)
            clock.ns += pause_s * 10**9
    tracer.flush(10)
    found = what_if(db, [CachePrefix()])
    assert saved(found) == [0]
    assert found.together.calls == 0


def test_what_was_cached_already_is_not_saved_again(tracer: Tracer, db: Path) -> None:
    messages = [say("system", 8_000), say("user", 400)]
    with tracer.run("chat") as run:
        ask(run, messages, input_uncached_tokens=100, cache_write_5m_tokens=2_000)
        ask(run, [*messages, say("user", 400)], input_uncached_tokens=200, cache_read_tokens=2_000)
    tracer.flush(10)
    # Of the second call the first user message, too, could have been read; the first would have had to write it.
    assert saved(what_if(db, [CachePrefix()])) == [100 * (NEW - READ) - 100 * (WRITE - NEW)]


def test_a_cache_that_works_by_itself_asks_nothing_for_writing(db: Path) -> None:
    """Whatever a price of your own would have writing cost."""
    book = PriceBook({"gpt-4o": ModelPrice(input=3, output=10, cache_read=1, cache_write_5m=9)})
    with Tracer(db, prices=book) as tracer, tracer.run("chat") as run:
        for number in range(3):
            ask(run, [say("system", 8_000), say("user", 4_000, str(number))], model="gpt-4o")
    in_steps_of_128 = 2_000 // 128 * 128
    assert saved(what_if(db, [CachePrefix()], prices=book)) == [2 * in_steps_of_128 * (3_000 - 1_000)]


# ── less to send ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_result_that_is_cut_is_cut_in_every_prompt_that_carries_it(tracer: Tracer, db: Path) -> None:
    messages = [say("user", 4_000)]
    with tracer.run("chat") as run:
        for turn in range(3):
            ask(run, messages)
            messages += [say("assistant", 400), say("tool", 12_000 if turn == 0 else 2_000, tool_call_id="c")]
        ask(run, messages)
    tracer.flush(10)
    found = what_if(db, [TruncateResults(1_000)])
    assert saved(found) == [3 * (3_000 - 1_000) * NEW]  # the small ones, of 500 tokens, stay
    assert found.together.calls == 3
    assert saved(what_if(db, [TruncateResults(3_000)])) == [0]


def test_filler_is_not_paid_again_in_later_prompts(tracer: Tracer, db: Path) -> None:
    text = "You're absolutely right! Great question. Order 4711 ships on Monday."
    answer = {"role": "assistant", "content": text}
    with tracer.run("chat") as run:
        ask(run, [say("user", 4_000)], answer=text, output_tokens=1_000)
        ask(run, [say("user", 4_000), answer], output_tokens=10)
    tracer.flush(10)
    with sqlite3.connect(db) as file:
        (ppm,) = next(file.execute("select filler_ppm from llm_calls where filler_ppm > 0"))
        (size,) = next(file.execute("select bytes from messages where role = 'assistant'"))
    generated = 1_000 * ppm // 1_000_000
    prompt = (4_000 + size) // 4
    resent = (prompt - prompt * 4_000 // (4_000 + size)) * ppm // 1_000_000
    assert generated > 300
    assert resent > 3
    assert saved(what_if(db, [NoPreamble()])) == [generated * OUT + resent * NEW]


def record_storm(tracer: Tracer, attempts: int, *, succeeds: bool) -> None:
    """An agent that asks for the same tool again and again and keeps all of it in its history."""
    messages = [say("user", 4_000)]
    with tracer.run("chat") as run:
        for attempt in range(attempts):
            last = attempt == attempts - 1
            asked = {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": f"c{attempt}", "name": "look", "arguments": {}}],
            }
            with run.step("look") as step:
                with step.llm(CLAUDE, messages=list(messages)) as call:
                    call.done(
                        asked, usage=Usage(input_uncached_tokens=1_000 * (attempt + 1), output_tokens=10)
                    )
                try:
                    with step.tool("look", {}, tool_call_id=f"c{attempt}") as tool:
                        if not (succeeds and last):
                            raise ConnectionError("gone")
                        tool.done("found")
                except ConnectionError:
                    pass
            messages += [asked, say("tool", 3_900, tool_call_id=f"c{attempt}")]
        ask(run, messages, input_uncached_tokens=1_000 * (attempts + 1))


@pytest.mark.parametrize("succeeds", [True, False], ids=["the last succeeds", "all fail"])
def test_attempts_that_are_not_made_leave_nothing_in_later_prompts(
    tracer: Tracer, db: Path, succeeds: bool
) -> None:
    record_storm(tracer, 6, succeeds=succeeds)
    tracer.flush(10)
    with sqlite3.connect(db) as file:
        sizes = [size for (size,) in file.execute(
            "with recursive up(id, parent_id, message_id, depth) as ("
            "  select p.id, p.parent_id, p.message_id, p.depth from prompts p where p.depth = (select max(depth) from prompts)"
            "  union all select p.id, p.parent_id, p.message_id, p.depth from prompts p join up on p.id = up.parent_id)"
            " select m.bytes from up join messages m on m.id = up.message_id order by up.depth"
        )]  # fmt: skip
    gone = sum(sizes[7:11] if succeeds else sizes[7:13])  # attempts 4 and 5, and 6 if it failed, too
    not_made = sum(1_000 * attempt * NEW + 10 * OUT for attempt in (4, 5, 6))
    found = what_if(db, [RetryCap(2)])
    left_out = found.together.saved_nano_usd - not_made
    assert left_out == pytest.approx(7_000 * gone / sum(sizes) * NEW, abs=4 * NEW)
    assert found.together.calls == 4
    assert saved(what_if(db, [RetryCap(5)])) == [0]


def test_a_call_that_is_not_made_needs_no_cache_and_none_is_counted_twice(tracer: Tracer, db: Path) -> None:
    record_storm(tracer, 9, succeeds=False)
    tracer.flush(10)
    changes = [RetryCap(2), CachePrefix(), TruncateResults(500)]
    found = what_if(db, changes)
    assert max(saved(found)) < found.together.saved_nano_usd < sum(saved(found))
    assert found.together.saved_nano_usd <= found.recorded_nano_usd
    pairs = {overlap.names: overlap.nano_usd for overlap in found.overlaps}
    alone = dict(zip(changes, saved(found), strict=True))
    for one, other in [(changes[0], changes[1]), (changes[0], changes[2]), (changes[1], changes[2])]:
        both = what_if(db, [one, other]).together.saved_nano_usd
        assert pairs.get((one.name, other.name), 0) == pytest.approx(
            alone[one] + alone[other] - both, abs=found.recorded_nano_usd / 1_000
        )


# ── what cannot be said ──────────────────────────────────────────────────────────────────────────────────


def test_what_has_no_price_stays_as_it_is_and_is_told(tracer: Tracer, db: Path) -> None:
    with tracer.run("chat") as run:
        ask(run, [say("user", 8_000)], model="foo-9")
        ask(run, [say("user", 8_000)], model="foo-9")
    tracer.flush(10)
    found = what_if(db, [CachePrefix()])
    assert (found.unpriced_calls, found.recorded_nano_usd, saved(found)) == (2, 0, [0])


def test_prompts_that_are_gone_change_nothing_and_are_told(tracer: Tracer, db: Path) -> None:
    with tracer.run("chat") as run:
        for number in range(2):
            ask(run, [say("system", 8_000), say("user", 400, str(number))])
    tracer.flush(10)
    tracer.close()
    with sqlite3.connect(db) as file:
        file.execute("delete from prompts")
    found = what_if(db, [CachePrefix(), Model(CLAUDE, "gpt-4o")])
    assert found.unreadable_calls == 2
    assert saved(found)[0] == 0 < saved(found)[1]


def test_your_own_prices_make_the_saving(db: Path) -> None:
    book = PriceBook({"ours": ModelPrice(input=8, output=8, cache_read=1, cache_write_5m=10)})
    with Tracer(db, prices=book) as tracer:
        for number in range(2):
            with tracer.run("chat") as run:
                ask(run, [say("system", 8_000), say("user", 400, str(number))], model="ours")
    assert saved(what_if(db, [CachePrefix()], prices=book)) == [2_000 * 7_000 - 2_000 * 2_000]
    assert what_if(db, [CachePrefix()], prices=PriceBook()).unpriced_calls == 2


def test_a_change_of_nothing_is_refused_with_a_sentence(month: tuple[Path, Planted]) -> None:
    for changes, sentence in (
        ([], "name a change"),
        ([Model("no-such-step", "gpt-4o")], "no step, agent or model is called 'no-such-step'"),
        ([Model("gpt-4o", "foo-9")], "nobody knows what foo-9 costs"),
    ):
        with pytest.raises(TokentraceError, match=sentence):
            what_if(month[0], changes)


# ── the command ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def command(month: tuple[Path, Planted]) -> Callable[..., Result]:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["what-if", *arguments], env={"TOKENTRACE_DB": str(month[0])})

    return run


def test_the_command_shows_each_change_and_all_together(
    command: Callable[..., Result], month: tuple[Path, Planted]
) -> None:
    result = command("--cache-prefix", "--retry-cap", "2", "--model", "gpt-4o=gpt-4o-mini")
    assert result.exit_code == 0, result.output
    for said in (
        "at most 2 retries",
        "prefixes cached",
        "gpt-4o-mini for gpt-4o",
        "together",
        "less together than apart",
        "≈",
    ):
        assert said in result.output


def test_json_has_it_exactly_and_in_the_scope(
    command: Callable[..., Result], month: tuple[Path, Planted]
) -> None:
    told = json.loads(command("--retry-cap", "2", "--project", "payments", "--json").output)
    scope = Scope(where={"project": ("payments",)})
    assert told == what_if(month[0], [RetryCap(2)], scope).document()
    assert told["recorded_nano_usd"] < month[1].total_nano_usd


def test_without_a_change_the_usual_ones_are_tried(command: Callable[..., Result]) -> None:
    told = json.loads(command("--json").output)
    assert [saving["name"] for saving in told["savings"]] == [
        "at most 2 retries",
        "tool results cut at 2,000 tokens",
        "prefixes cached",
        "no filler before answers",
    ]


def test_wrong_changes_are_refused(command: Callable[..., Result], tmp_path: Path) -> None:
    assert "is not STEP=MODEL" in command("--model", "gpt-4o").output
    assert command("--retry-cap", "-1").exit_code == 2
    result = command("--model", "nobody=gpt-4o")
    assert (result.exit_code, "no step, agent or model" in result.output) == (1, True)
    Tracer(tmp_path / "empty.db").close()
    empty = CliRunner().invoke(main, ["what-if", "--db", str(tmp_path / "empty.db")])
    assert (empty.exit_code, "No model call" in empty.output) == (0, True)
