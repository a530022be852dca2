"""Your own terms: a price that you negotiated must be the one you are charged, from its day on, and nowhere else."""

from __future__ import annotations

import sqlite3
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokentrace_core import Budget, BudgetExceeded, Discount, ModelPrice, PriceBook, Tracer, Usage
from tokentrace_core.errors import TokentraceError
from tokentrace_core.rates import pick

USAGE = Usage(
    input_uncached_tokens=1_000,
    cache_read_tokens=1_000,
    cache_write_5m_tokens=1_000,
    cache_write_1h_tokens=1_000,
    output_tokens=1_000,
)
THOUSAND = Usage(input_uncached_tokens=1_000)


def on(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC)


# ── prices of your own ───────────────────────────────────────────────────────────────────────────────────


def test_your_own_price_goes_before_the_list_and_is_marked_as_yours() -> None:
    book = PriceBook({"GPT-4o": ModelPrice(input=1, output="2.5"), "local": ModelPrice(input=0, output=0)})
    own = book.price("gpt-4O", USAGE)
    assert (own.status, own.usd) == ("override", Decimal("0.001") * Decimal("6.85"))
    assert (book.price("local", USAGE).status, book.price("local", USAGE).nano_usd) == ("free", 0)
    assert book.price("gpt-4o-mini", USAGE).status == "priced"


def test_your_own_cache_prices_are_used_where_you_name_them() -> None:
    price = ModelPrice(input=1, output=1, cache_read="0.5", cache_write_5m=0, cache_write_1h=3)
    usage = Usage(cache_read_tokens=10, cache_write_5m_tokens=10, cache_write_1h_tokens=10)
    assert PriceBook({"m": price}).cost("m", usage) == Decimal("0.000035")


def test_sound_and_searches_can_have_your_own_price_too() -> None:
    price = ModelPrice(input=1, output=2, input_audio=10, output_audio=20, search="0.005")
    usage = Usage(
        input_uncached_tokens=100,
        input_audio_tokens=40,
        output_tokens=10,
        output_audio_tokens=5,
        web_searches=2,
    )
    assert (
        PriceBook({"m": price}).cost("m", usage) == Decimal("0.01") + Decimal(60 + 400 + 10 + 100) / 1_000_000
    )


@pytest.mark.parametrize("name", ["gpt-4o", "openai/gpt-4o", "gpt-4o-2024-08-06", "azure/gpt-4o"])
def test_a_price_for_a_model_holds_for_all_writings_of_its_name(name: str) -> None:
    """A provider answers with a dated name: the price of the plain one would be forgotten at the first reply."""
    assert PriceBook({"gpt-4o": ModelPrice(input=1, output=1)}).price(name, THOUSAND).status == "override"


def test_a_price_for_one_seller_of_a_model_does_not_hold_for_another() -> None:
    book = PriceBook({"azure/gpt-4o": ModelPrice(input=1, output=1)})
    assert book.cost("gpt-4o", THOUSAND, provider="azure") == Decimal("0.001")
    assert book.cost("gpt-4o", THOUSAND, provider="openai") == Decimal("0.0025")


def test_a_float_means_what_it_shows() -> None:
    assert PriceBook({"m": ModelPrice(input=0.1, output=0)}).cost("m", THOUSAND) == Decimal("0.0001")


def test_a_new_price_holds_from_its_day_on() -> None:
    prices = [
        ModelPrice(input=2, output=2, since="2026-07-01"),
        ModelPrice(input=1, output=1, since=date(2026, 9, 1)),
        ModelPrice(input=3, output=3),
    ]
    book = PriceBook({"m": prices})
    costs = [
        book.cost("m", THOUSAND, at=on(day))
        for day in ("2020-01-01", "2026-07-01", "2026-08-31", "2026-09-01")
    ]
    assert costs == [Decimal("0.003"), Decimal("0.002"), Decimal("0.002"), Decimal("0.001")]
    assert book.price("m", THOUSAND, at=on("2026-07-02")).version == "override m since 2026-07-01"


def test_before_your_first_price_the_list_holds() -> None:
    book = PriceBook({"gpt-4o": ModelPrice(input=1, output=1, since="2026-07-01T12:00:00+02:00")})
    before, after = datetime(2026, 7, 1, 9, 59, tzinfo=UTC), datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert (
        book.price("gpt-4o", THOUSAND, at=before).status,
        book.price("gpt-4o", THOUSAND, at=after).status,
    ) == (
        "priced",
        "override",
    )


def test_a_long_prompt_pays_your_long_price_for_everything() -> None:
    price = ModelPrice(input=3, output=15, above={200_000: ModelPrice(input=6, output="22.5")})
    book = PriceBook({"m": price})
    assert book.cost("m", Usage(input_uncached_tokens=200_000, output_tokens=1_000)) == Decimal("0.615")
    assert book.cost("m", Usage(input_uncached_tokens=200_001, output_tokens=1_000)) == Decimal("1.222506")
    split = Usage(input_uncached_tokens=100_000, cache_read_tokens=100_001)
    assert book.cost("m", split) == Decimal("0.6") + Decimal("0.0600006")


def test_your_own_price_can_have_tiers_of_service() -> None:
    book = PriceBook({"m": ModelPrice(input=2, output=4, tiers={"batch": "0.5", "priority": 2})})
    costs = [book.cost("m", THOUSAND, tier=tier) for tier in (None, "batch", "priority", "flex")]
    assert costs == [Decimal("0.002"), Decimal("0.001"), Decimal("0.004"), Decimal("0.002")]
    assert book.price("m", THOUSAND, tier="batch").version == "override m batch"


@pytest.mark.parametrize("amount", [-1, float("nan"), float("inf"), "dear", True, "1e-30"])
def test_a_price_that_is_none_is_refused_when_it_is_given(amount: Any) -> None:
    """And not a month later, when the bill is wrong."""
    with pytest.raises(ValueError, match=r"\d|dear|nan|inf|True"):
        ModelPrice(input=amount, output=1)
    with pytest.raises(ValueError, match="m"):
        ModelPrice(input=1, output=1, since="some day")


@given(
    st.decimals(0, 1_000, places=6),
    st.decimals(0, 1_000, places=6),
    *[st.integers(0, 10**6)] * 5,
)  # fmt: skip
def test_your_price_is_charged_to_the_nano_dollar(
    prompt: Decimal, reply: Decimal, fresh: int, read: int, five_minutes: int, hour: int, output: int
) -> None:
    price = ModelPrice(input=prompt, output=reply)
    usage = Usage(
        input_uncached_tokens=fresh,
        cache_read_tokens=read,
        cache_write_5m_tokens=five_minutes,
        cache_write_1h_tokens=hour,
        output_tokens=output,
    )
    rates = pick(price.rates(), usage)
    assert rates is not None
    assert Decimal(rates.nano(usage)) == (price.dollars(usage) * 10**9).to_integral_value()


# ── other names, and no price at all ─────────────────────────────────────────────────────────────────────


def test_a_deployment_costs_what_the_model_behind_it_costs() -> None:
    book = PriceBook(aliases={"Our-Deployment": "gpt-4o", "azure/eu": "our-deployment"})
    known = book.price("our-deployment", THOUSAND, provider="azure")
    assert known.usd == book.cost("eu", THOUSAND, provider="azure") == Decimal("0.0025")
    assert known.version is not None
    assert known.version.endswith("azure:gpt-4o as our-deployment")
    assert book.price("eu", THOUSAND).status == "unpriced"


def test_names_that_only_mean_each_other_have_no_price() -> None:
    book = PriceBook(aliases={"a": "b", "b": "a"})
    assert book.price("a", THOUSAND).status == "unpriced"


def test_models_of_your_own_hardware_are_free_and_others_are_not() -> None:
    book = PriceBook(free=["ollama", "my-*"])
    assert [book.price(*asked).status for asked in (("llama3.2:3b", THOUSAND), ("My-Model", THOUSAND))] == [
        "unpriced",
        "free",
    ]
    local = book.price("llama3.2:3b", THOUSAND, provider="ollama")
    assert (local.nano_usd, local.status, local.version) == (0, "free", "free llama3.2:3b")


# ── discounts ────────────────────────────────────────────────────────────────────────────────────────────


def test_what_you_negotiated_is_taken_off_the_list_and_not_off_your_own_prices() -> None:
    book = PriceBook(
        {"own": ModelPrice(input=1, output=1)}, discounts={"openai": "0.15", "claude-opus-4-5": 0.2}
    )
    assert book.cost("gpt-4o", THOUSAND) == Decimal("0.0025") * Decimal("0.85")
    assert book.cost("claude-opus-4-5", THOUSAND) == Decimal("0.004")
    assert book.cost("claude-haiku-4-5", THOUSAND) == Decimal("0.001")
    assert book.cost("own", THOUSAND) == Decimal("0.001")
    version = book.price("gpt-4o", THOUSAND).version
    assert version is not None
    assert version.endswith("openai:gpt-4o less 0.15")


def test_a_model_s_discount_goes_before_its_provider_s_and_that_before_everybody_s() -> None:
    book = PriceBook(discounts={"*": "0.1", "openai": "0.2", "gpt-4o": "0.5"})
    costs = [book.cost(model, THOUSAND) for model in ("gpt-4o", "gpt-4.1", "claude-haiku-4-5")]
    assert costs == [Decimal("0.00125"), Decimal("0.0016"), Decimal("0.0009")]


def test_a_discount_begins_on_its_day_and_applies_to_every_tier() -> None:
    book = PriceBook(discounts={"openai": [Discount(off="0.5", since="2026-10-20")]})
    assert book.cost("gpt-5", THOUSAND, at=on("2026-10-19")) == Decimal("0.00125")
    assert book.cost("gpt-5", THOUSAND, at=on("2026-10-20")) == Decimal("0.000625")
    assert book.cost("gpt-5", THOUSAND, at=on("2026-10-20"), tier="flex") == Decimal("0.000312500")


@pytest.mark.parametrize("off", [1, -0.1, "15 %", 15])
def test_a_discount_that_can_be_none_is_refused(off: Any) -> None:
    """Whoever writes 15 for 15 % would pay nothing, or less."""
    with pytest.raises(ValueError, match=r"1|15|0\.1"):
        PriceBook(discounts={"openai": off})


# ── the file ─────────────────────────────────────────────────────────────────────────────────────────────

TOML = """
free = ["ollama", "my-own-*"]

[models."gpt-4o"]
input = 2.25
output = 9
since = 2026-07-01

[[models.claude]]
input = 3
output = 15
above.200000 = { input = 6, output = 22.5 }
[[models.claude]]
input = 2
output = 10
since = 2026-09-01T00:00:00Z

[aliases]
"our-deployment" = "gpt-4o"

[discounts]
anthropic = 0.15
mistral = { off = 0.1, since = 2026-08-01 }

[tools]
web_search = 0.01
"""
AT = on("2026-11-01")


def in_file(tmp_path: Path, text: str, name: str = "prices.toml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_file_says_all_that_code_can(tmp_path: Path) -> None:
    book = PriceBook.from_file(in_file(tmp_path, TOML))
    assert book.cost("our-deployment", THOUSAND, at=AT) == Decimal("0.00225")
    assert book.cost("claude", Usage(input_uncached_tokens=200_001), at=on("2026-08-01")) == Decimal(
        "1.200006"
    )
    assert book.cost("claude", THOUSAND, at=AT) == Decimal("0.002")
    assert book.cost("claude-haiku-4-5", THOUSAND, at=AT) == Decimal("0.00085")
    assert book.cost("my-own-model", THOUSAND, at=AT) == 0
    assert book.tool_nano("web_search") == 10_000_000
    assert book.tool_nano("other") is None


def test_json_will_do_as_well(tmp_path: Path) -> None:
    path = in_file(tmp_path, '{"models": {"m": {"input": 0.1, "output": 1}}}', "prices.json")
    assert PriceBook.from_file(path).cost("m", THOUSAND) == Decimal("0.0001")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("input = ", "neither TOML nor JSON"),
        ("[model.x]", "'model' is unknown"),
        ("[models.m]\ninptu = 1\noutput = 1", "'inptu' is unknown"),
        ("[models.m]\ninput = 1", "'output' is missing"),
        ("[models]\nm = 3", "3 is no price"),
        ("[models.m]\ninput = -1\noutput = 1", "-1"),
        ("[models.m]\ninput = 1\noutput = 1\nsince = 'soon'", "soon"),
        ("[discounts]\nopenai = 15", "15"),
        ("[aliases]\nm = 3", "3 is no model's name"),
        ("free = 'ollama'", "free must be a list"),
        ("[tools]\nm = {a = 1}", "number of dollars"),
        ("[tools]\nm = true", "True is no price"),
        ("models = 3", "models must be a table"),
    ],
)
def test_a_file_with_a_mistake_is_refused_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    """Else a misspelt price is no price, and nobody notices."""
    path = in_file(tmp_path, text)
    with pytest.raises(TokentraceError, match=says) as refused:
        PriceBook.from_file(path)
    assert str(path) in str(refused.value)


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(TokentraceError, match="No such file"):
        PriceBook.from_file(tmp_path / "none.toml")


def test_whoever_gives_no_book_gets_the_one_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TOKENTRACE_PRICES", str(in_file(tmp_path, TOML)))
    assert PriceBook.default().tool_nano("web_search") == 10_000_000
    assert PriceBook().tool_nano("web_search") is None
    monkeypatch.setenv("TOKENTRACE_PRICES", str(tmp_path / "none.toml"))
    assert PriceBook.default().cost("gpt-4o", THOUSAND) == Decimal("0.0025")
    assert "TOKENTRACE_PRICES" in caplog.text


# ── in a trace ───────────────────────────────────────────────────────────────────────────────────────────


def test_the_price_of_the_name_you_ask_by_holds_whatever_name_the_answer_has(tmp_path: Path) -> None:
    """An Azure deployment answers with the model behind it, whose list price is not what you agreed on."""
    book = PriceBook({"our-deployment": ModelPrice(input=1, output=1)}, free=["local"])
    with Tracer(tmp_path / "t.db", prices=book) as tracer, tracer.run("r") as run:
        for model in ("our-deployment", "local"):
            with tracer.llm(model) as call:
                call.done(
                    {
                        "model": "gpt-4o",
                        "choices": [],
                        "usage": {"prompt_tokens": 1_000, "completion_tokens": 0},
                    }
                )
    assert run.cost_usd == Decimal("0.001")


def test_p9_a_call_is_priced_by_the_tier_that_its_reply_names(tmp_path: Path) -> None:
    with Tracer(tmp_path / "t.db") as tracer, tracer.run("r") as run:
        with tracer.llm("gpt-5", service_tier="auto") as call:
            usage = {"prompt_tokens": 1_000, "completion_tokens": 0}
            call.done({"choices": [], "service_tier": "flex", "usage": usage})
        with tracer.llm("gpt-5", service_tier="flex") as call:
            call.done({"choices": [], "service_tier": "default", "usage": usage})
    assert run.cost_usd == Decimal("0.000625") + Decimal("0.00125")


def test_s52_a_tool_that_costs_money_is_on_the_bill_of_its_run_and_in_its_budget(tmp_path: Path) -> None:
    """Whoever writes the tool rarely says what the service behind it charges; whoever pays for it knows."""
    book = PriceBook(tools={"web_search": 0.01, "lookup": "0.002"})
    budget = Budget(run_usd="0.025")
    with Tracer(tmp_path / "t.db", prices=book, budget=budget) as tracer, tracer.run("r") as run:
        for name, told in (("web_search", None), ("lookup", "0.005"), ("free", None), ("web_search", None)):
            with tracer.tool(name) as call:
                call.done("found", cost_usd=told)
        assert run.cost_usd == Decimal("0.025")
        with pytest.raises(BudgetExceeded, match="run_usd"), tracer.llm("gpt-4o"):
            pass
    with sqlite3.connect(tmp_path / "t.db") as file:
        costs = file.execute("select name, cost_nano_usd from tool_calls order by started_at").fetchall()
    assert costs == [
        ("web_search", 10_000_000),
        ("lookup", 5_000_000),
        ("free", None),
        ("web_search", 10_000_000),
    ]
