"""What leaves the redactor must not hold a secret; what is no secret must leave it unchanged."""

from __future__ import annotations

import re
from collections import OrderedDict
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokentrace_core import Tracer, redaction_labels, redaction_search
from tokentrace_core.redact import DEFAULT_RULES, Redactor, Rule

SECRETS = {
    "123-45-6789": "[SSN_REDACTED]",
    "123 45 6789": "[SSN_REDACTED]",
    "joe.doe+x@example.com": "[EMAIL_REDACTED]",
    "jörg@exämple.de": "[EMAIL_REDACTED]",
    '"john"@x.com': "[EMAIL_REDACTED]",
    "joe%40x.com": "[EMAIL_REDACTED]",
    "user@localhost": "[EMAIL_REDACTED]",
    "(555) 123-4567": "[PHONE_REDACTED]",
    "555-123-4567": "[PHONE_REDACTED]",
    "123.456.7890": "[PHONE_REDACTED]",
    "1-800-555-1234": "[PHONE_REDACTED]",
    "+1 555 123 4567": "[PHONE_REDACTED]",
    "+15551234567": "[PHONE_REDACTED]",
    "+44 20 7946 0958": "[PHONE_REDACTED]",
    "+49 (0)30 901820": "[PHONE_REDACTED]",
    "4111111111111111": "[CC_REDACTED]",
    "4111 1111 1111 1111": "[CC_REDACTED]",
    "4111-1111-1111-1111": "[CC_REDACTED]",
    "378282246310005": "[CC_REDACTED]",
    "3782 822463 10005": "[CC_REDACTED]",
    "10.0.0.1": "[IP_REDACTED]",
    "2001:db8::1": "[IP_REDACTED]",
    "2001:0db8:85a3:0000:0000:8a2e:0370:7334": "[IP_REDACTED]",
    "::ffff:1.2.3.4": "[IP_REDACTED]",
}

HARMLESS = [
    "order 5551234567",
    "unix 1760000000 ts",
    "1760000000123",
    "1760000000123456",
    "1760000000123456789",
    "999.999.999.999",
    "version 1.2.3.4",
    "v1.2.3.4",
    '{"version": "1.2.3.4"}',
    "foo==1.2.3.4",
    "1.2.3.4.5",
    "123456789",
    "000-12-3456",
    "666-12-3456",
    "550e8400-e29b-41d4-a716-446655440000",
    "12345678-1234-1234-1234-123456789012",
    "d41d8cd98f00b204e9800998ecf8427e",
    "deadbeef4111111111111111deadbeef",
    "2026-11-20T22:30:00.123456+00:00",
    "2026-11-20 22:30:00",
    "12:30:45",
    "3.14159265358979",
    "40.7128, -74.0060",
    "40.7128 -74.0060",
    "100,000,000",
    "1 2 3 4 5 6 7 8 9",
    "std::vector<int>",
    "x[1::2]",
    "00:1b:44:11:3a:b7",
    "16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48",
    "react@18.2.0",
    '@app.route("/x")',
    "a @ b.T",
    "4111111111111112",
]

redactor = Redactor()
fragments = st.one_of(
    st.sampled_from(
        [*SECRETS, *HARMLESS, "[SSN_REDACTED]", "ssn: 123456789", "\u200b", "\uff14\uff11\uff11\uff11"]
    ),
    st.text(alphabet='a1 .-:@+()[]"\\n,x_%', max_size=12),
    st.text(max_size=6),
)
glued = st.lists(fragments, max_size=12).map("".join)


@pytest.mark.parametrize(("secret", "placeholder"), SECRETS.items())
def test_a_secret_of_each_kind_goes_completely(secret: str, placeholder: str) -> None:
    assert redactor.redact(secret) == placeholder
    assert redactor.redact(f"please use {secret}, thanks") == f"please use {placeholder}, thanks"
    assert redactor.redact(f'{{"k":"{secret}"}}') == f'{{"k":"{placeholder}"}}'


@pytest.mark.parametrize("text", HARMLESS)
def test_numbers_and_names_that_look_private_are_not_lost(text: str) -> None:
    assert redactor.redact(text) == text
    assert redactor.redact(f"see {text} there") == f"see {text} there"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SSN123-45-6789x", "SSN[SSN_REDACTED]x"),
        ("ssn: 123456789", "ssn: [SSN_REDACTED]"),
        ("server 10.0.0.1:8080.", "server [IP_REDACTED]:8080."),
        ("order 1234 4111 1111 1111 1111", "order 1234 [CC_REDACTED]"),
        ("5555555555554444 123", "[CC_REDACTED] 123"),
        (r"\njoe@x.com", r"\n[EMAIL_REDACTED]"),
        (r"\n+15551234567", r"\n[PHONE_REDACTED]"),
        ("mail joe@x.com.", "mail [EMAIL_REDACTED]."),
        (
            "\uff14\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11\uff11",
            "[CC_REDACTED]",
        ),
        ("123\u200b-45-67\u200d89", "[SSN_REDACTED]"),
        ("123\u201145\u20116789", "[SSN_REDACTED]"),
        ("joe\uff20x\uff0ecom", "[EMAIL_REDACTED]"),
    ],
)
def test_what_stands_around_a_secret_neither_hides_it_nor_goes_with_it(text: str, expected: str) -> None:
    assert redactor.redact(text) == expected


@settings(max_examples=500)
@given(glued)
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redactor.redact(text)
    assert Redactor().redact(once) == once


@given(st.lists(fragments, max_size=8).map("".join))
def test_a_greedy_rule_of_the_users_neither_loops_nor_eats_placeholders(text: str) -> None:
    greedy = Redactor({"WORD": r"\w+", "ANY": r"x.*", "CAPS": "REDACTED", "NOTHING": ""})
    once = greedy.redact(text)
    assert greedy.redact(once) == once
    assert "FAILED" not in once


@settings(max_examples=400)
@given(
    st.lists(
        st.one_of(st.sampled_from(list(SECRETS)), st.text(alphabet="abc ,.\n1-", max_size=20)), max_size=10
    ),
    st.sampled_from([" ", ", ", "; see ", "\n"]),
    st.lists(st.integers(0, 300), max_size=12),
)
def test_a_secret_split_over_stream_chunks_is_still_caught(
    parts: list[str], glue: str, cuts: list[int]
) -> None:
    text = glue.join(parts)
    assert _streamed(redactor, text, cuts) == redactor.redact(text)


@settings(max_examples=400)
@given(glued, st.lists(st.integers(0, 200), max_size=12))
def test_streams_say_the_same_as_the_whole_text_however_odd_it_is(text: str, cuts: list[int]) -> None:
    assert _streamed(redactor, text, cuts) == redactor.redact(text)


@pytest.mark.parametrize("secret", SECRETS)
def test_a_stream_of_single_characters_leaks_nothing(secret: str) -> None:
    text = f"well, use {secret} for {secret} please"
    assert _streamed(redactor, text, list(range(len(text)))) == redactor.redact(text)
    assert secret not in redactor.redact(text)


def test_a_stream_without_blanks_leaks_nothing_and_does_not_grow() -> None:
    stream = redactor.stream()
    out = []
    for _ in range(2_000):
        out.append(stream.feed("x" * 13 + ".4111111111111111."))
        assert len(stream._held) < 6_000
    assert "41111" not in "".join(out) + stream.close()


def test_a_users_rule_reaches_over_words_in_a_stream_too() -> None:
    own = Redactor({"CODEWORD": r"open sesame now"})
    text = "first say open sesame now and go " * 30
    for size in (1, 3, 7, 64):
        assert _streamed(own, text, list(range(0, len(text), size))) == own.redact(text)


@given(glued, st.lists(st.integers(0, 200), max_size=5))
def test_no_planted_secret_survives_in_running_text(noise: str, cuts: list[int]) -> None:
    for secret in ("123-45-6789", "joe@example.com", "4111 1111 1111 1111"):
        text = f"{noise.replace(secret, '')} , say {secret} , {noise.replace(secret, '')}"
        assert secret not in redactor.redact(text)
        assert secret not in _streamed(redactor, text, cuts)


def test_a_broken_rule_hides_the_text_instead_of_passing_it() -> None:
    def explode(text: str, start: int, end: int) -> bool:
        raise RuntimeError(text)

    broken = Redactor([Rule("X", "[X_REDACTED]", re.compile("canary"), accept=explode)])
    assert broken.redact("a canary sings") == "[REDACTION_FAILED len=14]"
    assert broken.redact("nothing here") == "nothing here"
    assert broken.redact_value({"k": ["canary"]}) == {"k": ["[REDACTION_FAILED len=6]"]}
    stream = broken.stream()
    assert "canary" not in stream.feed("my canary ") + stream.feed("sings loud") + stream.close()
    assert broken.failures >= 3


def test_a_pattern_of_the_users_that_takes_exponential_time_drops_long_texts_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    own = Redactor({"RUNAWAY": r"(?:a+)+\."})
    assert "RUNAWAY" in caplog.text
    assert own.redact("a" * 1000) == "[REDACTION_FAILED len=1000]"
    assert own.redact("a.") == "[RUNAWAY_REDACTED]"
    assert own.failures == 1


def test_a_rule_that_takes_longer_than_anybody_waits_drops_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(redaction_search, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    slow = Redactor()
    assert slow.redact("mail joe@example.com") == "[REDACTION_FAILED len=20]"
    assert slow.redact_value({"k": "mail joe@example.com"}) == {"k": "[REDACTION_FAILED len=20]"}
    stream = slow.stream()
    assert stream.feed("mail joe@example.com") + stream.close() == "[REDACTION_FAILED len=20]"
    assert slow.failures == 3


def test_text_built_to_uncover_secrets_pass_after_pass_fails_closed() -> None:
    nested = Redactor(
        [Rule("X", "[X_REDACTED]", re.compile(r"(?<![a-z])[a-z](?![a-z])"), accept=_only_before_end)]
    )
    text = "-".join("abcdefghijklmnopqrstuvwxyz")
    once = nested.redact(text)
    assert nested.redact(once) == once


def test_an_unusable_pattern_is_named_when_the_redactor_is_built() -> None:
    with pytest.raises(ValueError, match="EMPLOYEE"):
        Redactor({"EMPLOYEE": "("})


def test_extra_patterns_come_after_the_seeds_and_name_their_placeholder() -> None:
    own = Redactor({"EMPLOYEE": r"E[0-9]{6}", "[GONE]": "gone"})
    assert own.redact("E123456 is gone, 123-45-6789") == "[EMPLOYEE_REDACTED] is [GONE], [SSN_REDACTED]"


def test_a_rule_may_replace_only_its_secret_group() -> None:
    own = Redactor([Rule("PIN", "[PIN_REDACTED]", re.compile(r"pin (?P<secret>[0-9]{4})"))])
    assert own.redact("pin 1234") == "pin [PIN_REDACTED]"


def test_overlapping_finds_leave_no_rest() -> None:
    assert redactor.redact("x 10.0.0.1@example.com") == "x [EMAIL_REDACTED]"


def test_structures_keep_their_types_and_lose_their_secrets_keys_included() -> None:
    value = {
        "n": 1, "f": 1.5, "b": True, "none": None, "list": ["joe@x.com", 2], "tuple": ("10.0.0.1",),
        "joe@x.com": "k", "bytes": b"joe@x.com \xff", "set": {"123-45-6789"},
    }  # fmt: skip
    assert redactor.redact_value(value) == {
        "n": 1, "f": 1.5, "b": True, "none": None, "list": ["[EMAIL_REDACTED]", 2], "tuple": ("[IP_REDACTED]",),
        "[EMAIL_REDACTED]": "k", "bytes": b"[EMAIL_REDACTED] \xff", "set": {"[SSN_REDACTED]"},
    }  # fmt: skip
    assert type(redactor.redact_value(True)) is bool


@pytest.mark.parametrize(
    "key", ["password", "API_KEY", "X-Api-Key", "apiKey", "access_token", "Authorization", "token"]
)
def test_the_value_under_a_telling_key_goes_as_a_whole(key: str) -> None:
    assert redactor.redact_value({key: "hunter2"}) == {key: "[SECRET_REDACTED]"}
    assert redactor.redact_value({key: {"deep": ["hunter2"]}}) == {key: "[SECRET_REDACTED]"}
    assert redactor.redact_value({key: None}) == {key: None}


@pytest.mark.parametrize(
    "key", ["max_tokens", "prompt_tokens", "token_count", "tokens", "secretary", "cookie_count"]
)
def test_figures_under_keys_that_only_look_telling_are_kept(key: str) -> None:
    assert redactor.redact_value({key: 256}) == {key: 256}


def test_a_card_number_stored_as_a_number_is_a_leak_and_an_epoch_is_not() -> None:
    assert redactor.redact_value([4111111111111111, -4111111111111111]) == ["[CC_REDACTED]"] * 2
    assert redactor.redact_value(4111111111111111.0) == "[CC_REDACTED]"
    kept = [1760000000123, 1760000000123456789, 2**70, 1e300, float("inf"), 5551234567]
    assert redactor.redact_value(kept) == kept


def test_two_secret_keys_do_not_overwrite_each_other() -> None:
    out = redactor.redact_value({"a@x.com": 1, "b@x.com": 2, "c@x.com": 3})
    assert out == {"[EMAIL_REDACTED]": 1, "[EMAIL_REDACTED]#2": 2, "[EMAIL_REDACTED]#3": 3}
    assert redactor.redact_value(out) == out


def test_cycles_depth_and_unknown_objects_are_hidden_without_an_exception() -> None:
    loop: list[Any] = ["joe@x.com"]
    loop.append(loop)
    assert redactor.redact_value(loop) == ["[EMAIL_REDACTED]", "[REDACTION_FAILED len=0]"]
    deep: Any = "joe@x.com"
    for _ in range(5_000):
        deep = [deep]
    assert "joe@x.com" not in repr(redactor.redact_value(deep))
    assert redactor.redact_value(OrderedDict(a=["joe@x.com"])) == {"a": ["[EMAIL_REDACTED]"]}
    assert redactor.stream().feed(b"joe@x.com") == "[REDACTION_FAILED len=0]"  # type: ignore[arg-type]
    assert redactor.redact_value({"o": object()}) == {"o": "[REDACTION_FAILED len=0]"}
    shared: list[Any] = ["x"]
    for _ in range(60):
        shared = [shared, shared]
    assert redactor.redact_value(shared)


def test_the_memo_keeps_no_secret_and_stays_small() -> None:
    own = Redactor()
    for number in range(10_000):
        own.redact_value({f"name-{number}": f"user{number}@example.com"})
    assert len(own._clean) <= 4096
    assert not any("@" in text for text in own._clean)


def test_what_stands_under_a_telling_name_is_not_remembered_as_a_name_would_be() -> None:
    """A cache of values would be one more place where a password lies."""
    before = redaction_labels._remembered.cache_info().currsize
    for number in range(50):
        redactor.redact(f'password="hunter-{number}-x", token: tr0ub4dor-{number}')
    assert redaction_labels._remembered.cache_info().currsize <= before + 2


def test_a_document_is_redacted_by_its_names_and_keeps_the_rest() -> None:
    text = (
        '{"password": "a b", "rows": ["x", 5551234567, {"token": 7}], "inner": "{\\"api_key\\": \\"q w\\"}"}'
    )
    assert redactor.redact(text) == (
        '{"password": "[SECRET_REDACTED]", "rows": ["x", 5551234567, {"token": "[SECRET_REDACTED]"}], '
        '"inner": "{\\"api_key\\": \\"[SECRET_REDACTED]\\"}"}'
    )


def test_placeholders_say_only_the_kind() -> None:
    assert {rule.placeholder for rule in DEFAULT_RULES} == {
        "[SSN_REDACTED]", "[EMAIL_REDACTED]", "[PHONE_REDACTED]", "[CC_REDACTED]", "[IP_REDACTED]",
        "[IBAN_REDACTED]", "[API_KEY_REDACTED]", "[JWT_REDACTED]", "[PRIVATE_KEY_REDACTED]",
        "[PASSWORD_REDACTED]", "[SECRET_REDACTED]",
    }  # fmt: skip


def _streamed(by: Redactor, text: str, cuts: list[int]) -> str:
    stream = by.stream()
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    return "".join(stream.feed(text[a:b]) for a, b in pairwise(edges)) + stream.close()


def _only_before_end(text: str, start: int, end: int) -> bool:
    return not re.search("[a-z]", text[end:])


@pytest.mark.parametrize("value", ["MysEaTcylyvWfFk4", "your7Fa03kdQ", "charA8f3kd92", "auth0x9d83j2"])
def test_a_password_that_begins_like_a_stand_in_is_a_password(value: str) -> None:
    redacted = Redactor().redact(f"password: {value}")
    assert redacted == "password: [SECRET_REDACTED]"


@pytest.mark.parametrize(
    "value", ["your-password", "my_secret", "VARCHAR2(64)", "char(12)", "authentication"]
)
def test_a_stand_in_for_a_password_is_none(value: str) -> None:
    assert Redactor().redact(f"password: {value}") == f"password: {value}"


def test_a_name_without_an_end_is_cut_and_says_so(tracer: Tracer) -> None:
    with tracer.run("x" * 1_000_000, tags=["y" * 1_000_000]) as run:
        pass
    assert run.span is not None
    for kept in (run.span.name, *run.span.tags):
        assert len(kept) < 3_000
        assert kept.endswith("truncated, original 1000000 characters]")
