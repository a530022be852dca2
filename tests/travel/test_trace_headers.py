"""Headers in and out: whatever comes in is read without an error, and whatever goes out is in the form of W3C."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tokentrace_core import Tracer
from tokentrace_core.ids import new_run_id, new_span_id
from tokentrace_core.trace_headers import Origin, Place, read_headers, write_headers

RUN, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{RUN}-{SPAN}-01"

#: The grammar of W3C Trace Context (§3.2.2, §3.3.1), written down a second time.
TRACEPARENT = re.compile(r"00-(?=.*[1-9a-f].*-.{16}-)[0-9a-f]{32}-(?=.*[1-9a-f].*-)[0-9a-f]{16}-[0-9a-f]{2}")
STATE_KEY = re.compile(r"[a-z0-9][a-z0-9_*/-]{0,255}(@[a-z][a-z0-9_*/-]{0,13})?")
STATE_VALUE = re.compile(r"[ -+\--<>-~]{0,255}[!-+\--<>-~]")

names = st.sampled_from(
    ["traceparent", "Traceparent", "tracestate", "X-Agent-Session-Id", "x-agent-run-id", "HTTP_TRACEPARENT"]
)
hex_like = st.text("0123456789abcdefABCDEFg-", max_size=60)
nearly = st.builds(
    "-".join, st.lists(st.one_of(hex_like, st.sampled_from([RUN, SPAN, "00", "01", "ff"])), max_size=6)
)
values = st.one_of(st.binary(), st.text(), nearly, nearly.map(str.encode), st.none(), st.integers())
pairs = st.lists(st.tuples(st.one_of(names, names.map(str.encode), st.text(), st.binary()), values))
anything = st.one_of(
    pairs,
    st.dictionaries(names, values),
    st.binary(),
    st.text(),
    st.none(),
    st.integers(),
    st.lists(st.lists(values)),
)


class Treacherous:
    def items(self) -> Any:
        raise RuntimeError("no headers today")


def check(headers: dict[str, str]) -> None:
    """What must hold of everything that goes out."""
    assert TRACEPARENT.fullmatch(headers["traceparent"])
    for name, value in headers.items():
        assert re.fullmatch(r"[A-Za-z-]+", name)
        assert re.fullmatch(r"[ -~]+", value), "a header is visible ASCII on one line"
    if "tracestate" in headers:
        members = headers["tracestate"].split(",")
        assert len(members) <= 32
        keys = [member.partition("=")[0] for member in members]
        assert len(set(keys)) == len(keys)
        assert all(STATE_KEY.fullmatch(key) for key in keys)
        assert all(STATE_VALUE.fullmatch(member.partition("=")[2]) for member in members)


@given(anything)
def test_whatever_comes_in_is_read_without_an_error_and_what_is_passed_on_is_in_form(headers: Any) -> None:
    origin = read_headers(headers)
    if origin.run_id is not None:
        place = Place(origin.run_id, origin.span_id, 1, origin.session_id or "", origin.state)
        check(write_headers(place))


@pytest.fixture(scope="module")
def one_tracer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracer]:
    """One for all examples."""
    with Tracer(tmp_path_factory.mktemp("headers") / "traces.db") as tracer:
        yield tracer


@given(headers=anything)
def test_a_block_with_any_headers_records_and_never_raises(one_tracer: Tracer, headers: Any) -> None:
    with one_tracer.continue_from(headers) as run:
        check(one_tracer.headers())
        assert one_tracer.headers()["X-Agent-Run-Id"] == run.id


@example(session="100%41 \ud800", step=1, state="")
@given(session=st.text(min_size=1), step=st.integers(0, 10**6), state=st.text())
def test_a_session_of_any_name_travels_and_cannot_begin_a_header(session: str, step: int, state: str) -> None:
    parsed = read_headers({"traceparent": PARENT, "tracestate": state}).state
    headers = write_headers(Place(new_run_id(), new_span_id(), step, session, parsed))
    check(headers)
    if "X-Agent-Session-Id" in headers:
        assert read_headers(headers).session_id == session
    else:
        assert len(session.encode("utf-8", "surrogatepass")) > 300


def test_what_goes_out_comes_back_in() -> None:
    place = Place(new_run_id(), new_span_id(), 7, "ticket 4711", "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7")
    assert read_headers(write_headers(place)) == Origin(
        place.run_id, place.span_id, place.state, place.session_id
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"traceparent": PARENT},
        {"TraceParent": PARENT},
        [(b"traceparent", PARENT.encode())],
        {"HTTP_TRACEPARENT": PARENT, "wsgi.url_scheme": "http"},
        {b"traceparent": PARENT.encode()},
        {"traceparent": f" {PARENT}\t"},
    ],
    ids=["dict", "any case", "ASGI", "WSGI", "bytes", "padded"],
)
def test_headers_are_found_in_whatever_form_a_server_has_them(headers: Any) -> None:
    assert read_headers(headers)[:2] == (RUN, SPAN)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "00",
        f"ff-{RUN}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{RUN}-{'0' * 16}-01",
        f"00-{RUN.upper()}-{SPAN}-01",
        f"00-{RUN[:-1]}-{SPAN}-01",
        f"00-{RUN}-{SPAN}-1",
        f"00-{RUN}-{SPAN}-01-more",
        f"00-{RUN}-{SPAN}-01.",
        f"cc-{RUN}-{SPAN}-01.more",
        f"00-{RUN}-{SPAN}-0x",
        f"00-{RUN}-3-01",  # the seed's own: a step is no span
        f"00-{RUN[:-1]}\u0661-{SPAN}-01",
    ],
)
def test_a_traceparent_that_is_not_in_the_form_is_none(value: str) -> None:
    assert read_headers({"traceparent": value}).run_id is None


@pytest.mark.parametrize("version", ["01", "cc", "fe"])
def test_of_a_later_version_the_part_that_is_known_is_read(version: str) -> None:
    assert read_headers({"traceparent": f"{version}-{RUN}-{SPAN}-01"})[:2] == (RUN, SPAN)
    assert read_headers({"traceparent": f"{version}-{RUN}-{SPAN}-01-what-the-future-brings"})[:2] == (
        RUN,
        SPAN,
    )


def test_two_traceparents_are_none() -> None:
    assert read_headers([("traceparent", PARENT), ("Traceparent", PARENT)]).run_id is None


@pytest.mark.parametrize(
    ("given", "passed_on"),
    [
        ("congo=t61rcWkgMzE", "congo=t61rcWkgMzE"),
        ("rojo=1 , congo=2", "rojo=1,congo=2"),
        ("fw529a3039@dt=FfSS", "fw529a3039@dt=FfSS"),
        ("a=1,,b=2", "a=1,b=2"),
        ("a=1,a=2", ""),
        ("A=1", ""),
        ("a", ""),
        ("a=b=c", ""),
        ("a=é", ""),
        ("a=1\r\nSet-Cookie: x", ""),
        (",".join(f"k{n}=1" for n in range(33)), ""),
    ],
)
def test_tracestate_is_passed_on_as_it_came_or_not_at_all(given: str, passed_on: str) -> None:
    assert read_headers({"traceparent": PARENT, "tracestate": given}).state == passed_on
    assert read_headers({"tracestate": given}).state == "", "without a traceparent it says nothing"


def test_a_long_tracestate_loses_its_longest_and_its_oldest_entries() -> None:
    entries = [f"k{n}={'v' * 40}" for n in range(20)]
    passed_on = read_headers(
        {"traceparent": PARENT, "tracestate": ",".join([f"long={'x' * 200}", *entries])}
    ).state
    assert 400 < len(passed_on) <= 512
    assert passed_on.split(",") == entries[: len(passed_on.split(","))]


def test_a_tracestate_in_two_headers_is_one() -> None:
    headers = [("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")]
    assert read_headers(headers).state == "a=1,b=2"


def test_headers_that_cannot_be_read_are_none() -> None:
    assert read_headers(Treacherous()) == Origin()
